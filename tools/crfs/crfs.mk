# Included by the Makefile.
##@ Dense CRF
PYTHON := .venv/bin/python

# The dense CRF in C++, where it compiles (Python before 3.13). Where it is not installed, tools/crfs/mean_field.py computes the same.
.PHONY: crf-packages
crf-packages: caffe
	@$(PYTHON) -m tools.caffe_build.extra_packages crf

.PHONY: deeplab-crf
deeplab-crf: crf-packages ## Table 2's DeepLab and DeepLab-Msc with a dense CRF, tested on VOC's val
	$(PYTHON) -m tools.recipes.crf_recipe deeplab_pascal_voc deeplab_msc_pascal_voc

crf-%: crf-packages ## crf-NET: the dense CRF's parameters by grid search on val, then test
	$(PYTHON) -m tools.recipes.crf_recipe $(call quoted,*)
