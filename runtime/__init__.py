"""Open a model file on a target and run it: backends and devices."""
