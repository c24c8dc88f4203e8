# Structured prediction. Included by the Makefile.
PYTHON := .venv/bin/python

.PHONY: crf-packages
crf-packages: caffe ## the Python packages that dense CRF and CRF-RNN need beyond the others (numba, pydensecrf2)
	@$(PYTHON) -m tools.caffe_build.test_packages crf

$(addprefix train-,$(filter %-crfrnn,$(ALL_STAGES))): crf-packages

.PHONY: deeplab-crf
deeplab-crf: crf-packages ## DeepLab-LargeFOV and -MSc-LargeFOV with a dense CRF found by grid search on VOC's val, tested
	$(PYTHON) -m tools.structured.recipe deeplab-largefov deeplab-msc-largefov

crf-%: crf-packages ## the same of any network: scores of val, grid search of the dense CRF's parameters, test with the best
	$(PYTHON) -m tools.structured.recipe $*

.PHONY: bench-crf
bench-crf: crf-packages ## dense CRF and CRF-RNN: time and memory, the grid search's images a second (ARGS=--image FILE)
	$(PYTHON) -m tools.structured.bench $(ARGS)
