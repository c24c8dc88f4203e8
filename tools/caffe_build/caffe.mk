# The reference framework. Included by the Makefile; every target that needs Caffe names `caffe` as a prerequisite.
SYSTEM_PYTHON ?= /usr/bin/python3
PYTHON := .venv/bin/python

.PHONY: caffe
caffe: ## real BVLC Caffe into .venv (CAFFE_ROOT=/path: use that one instead; CUDA=1: for GPUs, CUDA_ARCH=80,90; BLAS=system: the system's OpenBLAS)
	@$(SYSTEM_PYTHON) -m tools.caffe_build

.PHONY: check-cuda
check-cuda: ## the CUDA build, with a GPU or without: compile it in full, look at it, run it on pretended GPUs and on those that are here
	@CUDA=aside $(SYSTEM_PYTHON) -m tools.caffe_build
	$(PYTHON) -m pytest -rs tests/cuda/check_*.py

.PHONY: on-pretended-gpus
on-pretended-gpus: caffe ## a command on GPUs that are none: does all of it run, what does it take? (RUN='make rehearse GPU=0', ARGS='--gpus 2 --memory 12G')
	PYTHONPATH=tests/cuda:. $(PYTHON) -m pretended_gpu $(ARGS) '$(RUN)'

.PHONY: caffe-runtest
caffe-runtest: caffe ## Caffe's own tests, C++ and Python, on the Caffe in use (ARGS=--gtest_filter='Conv*')
	$(PYTHON) -m tools.caffe_build.runtest $(ARGS)

.PHONY: bench-im2col
bench-im2col: caffe ## the build as released beside ours: same bits? memory, time (ARGS=--repeat 3)
	@IM2COL=as-released $(SYSTEM_PYTHON) -m tools.caffe_build
	$(PYTHON) -m tools.caffe_build.compare_builds $(ARGS)

.PHONY: caffe-bundle
caffe-bundle: caffe ## the program caffe with its libraries as one archive, for a machine where nothing can be installed (OUT=caffe.tar.xz)
	$(PYTHON) -m tools.caffe_build.bundle $(or $(OUT),out/caffe.tar.xz) $(ARGS)

.PHONY: bench-gpu
bench-gpu: caffe ## on a GPU: Caffe and PyTorch, forward passes and training steps, time and memory (GPU=0, ARGS=--rehearse: on the CPU)
	$(PYTHON) tools/bench_gpu.py $(if $(GPU),--gpu $(GPU)) $(ARGS)

.PHONY: doctor
doctor: ## what is there, what is missing, and what to do about it
	@$(SYSTEM_PYTHON) tools/doctor.py
