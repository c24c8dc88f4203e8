# The reference framework. Included by the Makefile; every target that needs Caffe names `caffe` as a prerequisite.
PYTHON := .venv/bin/python

##@ The reference framework
.PHONY: caffe
caffe: ## BVLC Caffe into .venv (CUDA=1 CUDA_ARCH=80,90 BLAS=system CAFFE_ROOT=)
	@$(SYSTEM_PYTHON) -m tools.caffe_build

.PHONY: check-cuda
check-cuda: ## the CUDA build: compiled in full, looked at, run on simulated and real GPUs
	@CUDA=aside $(SYSTEM_PYTHON) -m tools.caffe_build
	$(PYTHON) -m pytest -rs tests/cuda/check_*.py

.PHONY: on-pretended-gpus
on-pretended-gpus: ## a command on simulated GPUs (RUN='make rehearse GPU=0', ARGS='--gpus 2')
	@$(SYSTEM_PYTHON) -m tools.caffe_build.cuda_in_use
	@$(SYSTEM_PYTHON) -m tools.caffe_build
	PYTHONPATH=tests/cuda:. $(PYTHON) -m pretended_gpu $(ARGS) $(call quoted,RUN)

.PHONY: caffe-runtest
caffe-runtest: caffe ## Caffe's own tests, C++ and Python (ARGS=--gtest_filter='Conv*')
	$(PYTHON) -m tools.caffe_build.runtest $(ARGS)

.PHONY: caffe-bundle
caffe-bundle: caffe ## the program caffe with its libraries, to take elsewhere (OUT=caffe.tar.xz)
	$(PYTHON) -m tools.caffe_build.bundle $(if $(value OUT),$(call quoted,OUT),out/caffe.tar.xz) $(ARGS)

.PHONY: wheel
wheel: caffe ## Caffe for Python as a wheel with its libraries inside, to dist/ (OUT=)
	@$(PYTHON) -m tools.caffe_build.extra_packages wheel
	$(PYTHON) -m tools.caffe_build.wheel $(call options,--out=OUT)

.PHONY: bench-gpu
bench-gpu: caffe ## time and memory on a GPU, Caffe and PyTorch (GPU=0; ARGS=--rehearse)
	$(PYTHON) tools/bench_gpu.py $(call options,--gpu=GPU) $(ARGS)
