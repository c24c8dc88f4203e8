"""Simulated GPUs for programs made by nvcc: see build.py."""
