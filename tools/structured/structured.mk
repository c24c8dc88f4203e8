# Included by the Makefile.
##@ Structured prediction
PYTHON := .venv/bin/python

# The Python packages that dense CRF and CRF-RNN need beyond the others.
.PHONY: crf-packages
crf-packages: caffe
	@$(PYTHON) -m tools.caffe_build.test_packages crf

$(addprefix train-,$(filter %-crfrnn,$(ALL_STAGES))): crf-packages

.PHONY: deeplab-crf
deeplab-crf: crf-packages ## Table 2's DeepLab and DeepLab-Msc with a dense CRF, tested on VOC's val
	$(PYTHON) -m tools.structured.recipe deeplab deeplab-msc

crf-%: crf-packages ## crf-NET: the dense CRF's parameters by grid search on val, then test
	$(PYTHON) -m tools.structured.recipe $(call quoted,*)

.PHONY: bench-crf
bench-crf: crf-packages ## dense CRF and CRF-RNN: time and memory (ARGS=--image FILE)
	$(PYTHON) -m tools.structured.bench $(ARGS)
