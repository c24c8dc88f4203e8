# Structured prediction. Included by the Makefile.
PYTHON := .venv/bin/python

.PHONY: crf-packages
crf-packages: caffe ## the Python packages that dense CRF and CRF-RNN need beyond the others (numba, pydensecrf2)
	@$(PYTHON) -m tools.caffe_build.test_packages crf

$(addprefix train-,$(filter %-crfrnn,$(STAGES))): crf-packages
