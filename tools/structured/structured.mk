# Structured prediction. Included by the Makefile.
PYTHON := .venv/bin/python

.PHONY: crf-packages
crf-packages: caffe ## the Python packages that dense CRF and CRF-RNN need beyond the others (numba, pydensecrf2)
	@$(PYTHON) -m tools.caffe_build.test_packages crf

$(addprefix train-,$(filter %-crfrnn,$(STAGES))): crf-packages

.PHONY: bench-crf
bench-crf: crf-packages ## dense CRF and CRF-RNN: time and memory, the grid search's images a second (ARGS=--image FILE)
	$(PYTHON) -m tools.structured.bench $(ARGS)
