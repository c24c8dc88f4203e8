# `make help` lists the targets. Those that need Caffe make it first; the second time that costs nothing.
# A heading of that list is a line `##@ ...`, free text in it a line `## ...`, a target what follows `##` in its own line.

PYTHON := .venv/bin/python
SYSTEM_PYTHON ?= /usr/bin/python3
ifeq ($(shell command -v '$(SYSTEM_PYTHON)' 2> /dev/null),)
$(error there is no $(SYSTEM_PYTHON), which every target needs; run: sudo apt-get install python3 (on another system: Python 3.11 or newer, make SYSTEM_PYTHON=/path/to/python3))
endif
TRAININGS := $(shell $(SYSTEM_PYTHON) -E -m prototxt.listing trainings)

# What the shell says to Python is meant for another one, and may keep ours from starting. More such variables are left out where
# the commands begin: tools/support/bootstrap.py. `make doctor` names them.
OF_OTHER_PYTHONS := PYTHONHOME PYTHONPATH PYTHONPLATLIBDIR _PYTHON_SYSCONFIGDATA_NAME
unexport $(OF_OTHER_PYTHONS)

# Options of a command from make's variables. $(call options,--iters=ITERS --restart:RESTART) is `--iters '5' --restart` with
# ITERS=5 RESTART=1, and without RESTART `--iters '5'`. $(call quoted,X) is what X holds as one word of the shell, whatever is in
# it; $(call each,X) is each of its words so. Both take it as it was typed: a $ in it is no variable of make's.
parts = $(subst =, ,$(subst :, ,$(1)))
variable = $(lastword $(call parts,$(1)))
given = $(strip $(foreach pair,$(1),$(if $(value $(call variable,$(pair))),$(pair)$(call say_shell,$(call variable,$(pair))))))
quoted = '$(subst ','\'',$(value $(1)))'
each = $(foreach word,$(value $(1)),'$(subst ','\'',$(word))')
argument = $(if $(findstring =,$(1)), $(call quoted,$(call variable,$(1))))
options = $(foreach pair,$(call given,$(1)),$(firstword $(call parts,$(pair)))$(call argument,$(pair)))

# A variable that the user's shell holds is taken (DATA=FOLDER make lmdb-camvid), and said: it may be there for something else.
# NAME is not: WSL sets it, to the name of the machine.
say_shell = $(if $(filter environment,$(origin $(1))),$(info note: $(1)=$(value $(1)) comes from the environment))
ifeq ($(origin NAME),environment)
NAME :=
endif

##@ Start here
.PHONY: help demo doctor stages nets
help: ## this list
	@sed -nE 's/^##@ /\n/p; s/^## /  /p; s/^([a-z][^: ]*):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 25 | tail -n +2

demo: caffe ## the paper's idea, trained on drawn scenes: demo/report.html (DEMO_FLAGS=)
	$(PYTHON) tools/demo.py $(DEMO_FLAGS)

doctor: ## what is there, what the next step needs, what is optional
	@LEFT_OUT='$(strip $(foreach name,$(OF_OTHER_PYTHONS),$(if $(value $(name)),$(name))))' $(SYSTEM_PYTHON) tools/doctor.py

stages: ## the table of training stages: data, start, iterations
	@$(SYSTEM_PYTHON) -m prototxt.listing stages

nets: ## the table of networks
	@$(SYSTEM_PYTHON) -m prototxt.listing nets

##@ Data sets and weights (DATA=the folder that you have, OUT=the folder to write)
LMDB_OPTIONS := --encoding=ENCODING --val-lmdb:VAL_LMDB --whole:WHOLE
VOC_OPTIONS := --data=DATA --out=OUT --sbd=SBD --annotations=ANNOTATIONS
CUSTOM_OPTIONS := --data=DATA --classes=CLASSES --name=NAME --out=OUT --size=SIZE --leave-out=LEAVE_OUT --lists-only:LISTS_ONLY
LMDB_FOUND := --allow-partial:PARTIAL --lists-only:LISTS_ONLY $(LMDB_OPTIONS)
CROPS = $(if $(CROP_SIZE), --crop-size $(call each,CROP_SIZE))

.PHONY: lmdb-camvid lmdb-voc lmdb-voc-coco lmdb-kitti lmdb-cityscapes lmdb-custom lmdb-toy weights-vgg16 weights-vgg16_128 weights-vgg16_20M
lmdb-camvid: caffe ## CamVid (SIZE=WxH; all of these: CROP_SIZE= ENCODING= VAL_LMDB=1 WHOLE=1)
	$(PYTHON) -m dataset_prep.camvid $(call options,--data=DATA --out=OUT --size=SIZE $(LMDB_FOUND))$(CROPS)

lmdb-voc: caffe ## PASCAL VOC 2012 with SBD (SBD=folder ANNOTATIONS= PARTIAL=1 LISTS_ONLY=1)
	$(PYTHON) -m dataset_prep.voc $(call options,$(VOC_OPTIONS) $(LMDB_FOUND))$(CROPS)

lmdb-voc-coco: caffe ## VOC, SBD and COCO 2014 as one (and COCO=folder OTHER_OBJECTS=)
	$(PYTHON) -m dataset_prep.voc_coco $(call options,$(VOC_OPTIONS) --coco=COCO --other-objects=OTHER_OBJECTS $(LMDB_FOUND))$(CROPS)

lmdb-kitti: caffe ## KITTI of Ros et al.
	$(PYTHON) -m dataset_prep.kitti $(call options,--data=DATA --out=OUT $(LMDB_FOUND))$(CROPS)

lmdb-cityscapes: caffe ## Cityscapes
	$(PYTHON) -m dataset_prep.cityscapes $(call options,--data=DATA --out=OUT $(LMDB_FOUND))$(CROPS)

lmdb-custom: caffe ## your own images and labels (CLASSES=file or number; NAME= SIZE= LEAVE_OUT=)
	$(PYTHON) -m dataset_prep.custom $(call options,$(CUSTOM_OPTIONS) $(LMDB_OPTIONS))$(CROPS)

lmdb-toy: caffe ## the drawn scenes of make demo
	$(PYTHON) -m dataset_prep.toy $(call options,--out=OUT $(LMDB_OPTIONS))$(CROPS)

weights-vgg16: caffe ## VGG-16 for the front end (FROM=file of any framework; INPUT=)
	$(PYTHON) -m pretrained.vgg16 $(if $(value FROM),$(call quoted,FROM)) $(call options,--input=INPUT)

weights-vgg16_128: ## VGG-16 thinned, DeepLab's start; -vgg16_20M, LargeFOV's (FROM= INPUT=)
weights-vgg16_128 weights-vgg16_20M: weights-%: caffe
	$(PYTHON) -m pretrained.thinned $* $(if $(value FROM),$(call quoted,FROM)) $(call options,--input=INPUT)

weights-%: caffe ## weights-NAME: fetch a file of pretrained/weights.py, or convert FROM=FILE
	$(PYTHON) -m pretrained.fetch $(call quoted,*) $(call options,--from=FROM)

##@ Train
## train-STAGE            one of `make stages`, to runs/STAGE (CHAIN=1: first what it starts from)
## train-CHAIN            all stages of a data set: voc voc-fyu camvid kitti cityscapes toy
## ITERS= BATCH= CROP_SIZE= BASE_LR= SEED= in place of the row's; SNAPSHOT=N apart, KEEP=2
## GPU=0 (0,1 or all), BATCH_PER_PASS=images that fit into memory, DATASET=NAME of your own data
## WEIGHTS=file to start from, FRESH=final (layers that start anew), RANDOM_FC=1, RESTART=1
## CLASS_WEIGHTS=median, or a file with a class and its weight a line: rare classes count more
## MAX_LOSS=, TENSORBOARD=1, UPSAMPLE_LOSS=1 labels of all pixels
## VAL_EVERY= VAL_SPLIT= VAL_LIMIT= mean IoU while training
TRAIN_OPTIONS = $(shell $(SYSTEM_PYTHON) -E -m tools.training.options)

.PHONY: $(TRAININGS:%=train-%)
$(TRAININGS:%=train-%): train-%: caffe
	$(PYTHON) tools/train.py $*$(if $(value DATASET),@$(call quoted,DATASET)) $(call options,$(TRAIN_OPTIONS))

# Any other name; the rule above, which lists its targets, goes before it.
train-%:
	@$(SYSTEM_PYTHON) -m prototxt.listing unknown $(call quoted,*)

##@ Results and recipes
.PHONY: tables camvid-cpu camvid-cpu-structured camvid-night table2-mini
tables: caffe ## the paper's tables beside what was measured here, to out/tables/report.html
	$(PYTHON) tools/tables.py

camvid-cpu: caffe ## CamVid with a frozen VGG-16 trunk, for a CPU (DATA=folder of CamVid)
	$(PYTHON) tools/recipe.py $@ $(call options,--data=DATA)

camvid-cpu-structured: caffe crf-packages ## Table 3 in miniature on CamVid, with dense CRF and CRF-RNN (DATA=)
	$(PYTHON) tools/recipe.py $@ $(call options,--data=DATA)

camvid-night: caffe ## Table 5 on CamVid, what a CPU trains in a night (DATA=)
	$(PYTHON) tools/recipe.py $@ $(call options,--data=DATA)

table2-mini: caffe ## Table 2 in miniature on CamVid, on a CPU (DATA=)
	$(PYTHON) tools/recipe.py $@ $(call options,--data=DATA)

##@ Work on the toolkit
.PHONY: test lint prototxt rehearse bench
# Each process of tests computes with one thread and takes up to 3 GB of memory.
AT_ONCE = -n logical --maxprocesses 4 --dist loadfile
test: caffe crf-packages ## all tests, on real Caffe (TESTS=tests/test_x.py, PYTEST_FLAGS=)
	@$(PYTHON) -m tools.caffe_build.extra_packages
	$(PYTHON) -m pytest $(PYTEST_FLAGS) $(if $(value TESTS),$(call each,TESTS),$(AT_ONCE) tests)

lint: caffe ## ruff, mypy and the import rule
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check --quiet .
	$(PYTHON) -m mypy
	$(PYTHON) .venv/bin/lint-imports --no-cache

prototxt: caffe ## the paper's nets anew; or NET= (CLASSES=N or DATASET=, CROP_SIZE=, OUT=)
	$(PYTHON) -m prototxt.generate $(call options,--net=NET --out=OUT --classes=CLASSES --dataset=DATASET --crop-size=CROP_SIZE --upsample-loss:UPSAMPLE_LOSS)

rehearse: caffe ## does every stage fit and run here? (STAGES= ITERS=2 BATCH_PER_PASS=1 GPU=)
	$(PYTHON) tools/rehearse.py$(if $(value STAGES), $(call each,STAGES)) $(call options,--iters=ITERS --batch-per-pass=BATCH_PER_PASS --gpu=GPU --out=OUT)

bench: caffe ## speed and memory, beside others; all parts, or PARTS=cold (BENCH_FLAGS=)
	$(PYTHON) -m tools.bench $(call each,PARTS) $(BENCH_FLAGS)

bench-%: ## bench-PART: one part of it
	@$(MAKE) --no-print-directory bench PARTS=$(call quoted,*)

include tools/caffe_build/caffe.mk
include tools/crfs/crfs.mk
