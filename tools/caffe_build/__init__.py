"""Builds the reference framework, BVLC Caffe, and installs it into `.venv` (`make caffe`). Only Python's own library is imported."""
