"""Android devices over ADB: the user's `benchmark_model` is pushed there, run, and what it prints is read."""
