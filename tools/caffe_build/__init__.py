"""Builds the reference framework, BVLC Caffe, into `.venv` (`make caffe`), with Python's own library alone."""
