"""GPUs that are none, for programs made by nvcc: see build.py."""
