# Structured prediction. Included by the Makefile.
PYTHON := .venv/bin/python

.PHONY: crf-packages
crf-packages: caffe ## the Python packages that dense CRF and CRF-RNN need beyond the others (numba, pydensecrf2)
	@$(PYTHON) -m tools.caffe_build.extra_packages crf

$(addprefix train-,$(filter %-crfrnn,$(STAGES))): crf-packages
