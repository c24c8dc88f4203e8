# The reference framework. Included by the Makefile; every target that needs Caffe names `caffe` as a prerequisite.
SYSTEM_PYTHON ?= /usr/bin/python3
PYTHON := .venv/bin/python

.PHONY: caffe
caffe: ## real BVLC Caffe into .venv (CAFFE_ROOT=/path: use that one instead)
	@$(SYSTEM_PYTHON) -m tools.caffe_build
