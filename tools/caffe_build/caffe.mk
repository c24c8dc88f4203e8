# The reference framework. Included by the Makefile; every target that needs Caffe names `caffe` as a prerequisite.
SYSTEM_PYTHON ?= /usr/bin/python3
PYTHON := .venv/bin/python

.PHONY: caffe
caffe: ## real BVLC Caffe into .venv (CAFFE_ROOT=/path: use that one instead; CUDA=1: for GPUs, CUDA_ARCH=80,90)
	@$(SYSTEM_PYTHON) -m tools.caffe_build

.PHONY: check-cuda
check-cuda: ## the CUDA build, with a GPU or without: compile it in full, check its symbols and libraries, train with it
	@CUDA=aside $(SYSTEM_PYTHON) -m tools.caffe_build
	$(PYTHON) -m pytest tests/check_cuda.py
