"""Training, whatever for: the loop, what each output is trained towards, and what training must keep."""
