# Every target that needs Caffe makes it first; the second time that costs nothing.
#   make demo                              the whole way of the data on drawn scenes, ends in demo/report.html
#   make test                              all tests, on real Caffe
#   make help                              everything else

PYTHON := .venv/bin/python
CHAINS := $(shell sed -n "s/^    '\(.*\)': ('.*),$$/\1/p" prototxt/chains.py)
ALL_STAGES := $(shell sed -n "/^STAGES = /,/^}/s/^    '\([^']*\)': .*/\1/p" prototxt/experiments.py)

.PHONY: help demo test lint prototxt lmdb-camvid lmdb-voc lmdb-voc-coco lmdb-kitti lmdb-cityscapes lmdb-custom lmdb-toy weights-vgg16 camvid-cpu camvid-cpu-structured bench-lmdb bench-memory $(ALL_STAGES:%=train-%) $(CHAINS:%=train-%)

help: ## this list
	@grep -hE '^[a-z][a-zA-Z0-9_%-]*:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-zA-Z0-9_%-]+):.*## /\1\t/' | expand -t 22
	@printf '%s\n' '' 'train-STAGE, with ITERS= BATCH= BATCH_PER_PASS= CROP_SIZE= BASE_LR= SNAPSHOT= GPU= WEIGHTS= RANDOM_FC=1 RESTART=1' \
	  'KEEP= MAX_LOSS= VAL_EVERY= VAL_SPLIT= VAL_LIMIT= (mean IoU of snapshots while training) TENSORBOARD=1' \
	  'UPSAMPLE_LOSS=1 (labels of all pixels), DATASET=NAME (your own data in data/NAME; make lmdb-custom); STAGE is one of these,' \
	  ' iterations and batch as the paper has them where nothing else is said; CHAIN=1 trains what it starts from first.' \
	  'train-NAME: a whole chain; NAME is one of $(CHAINS)'
	@python3 -m prototxt.listing

include tools/caffe_build/caffe.mk
include tools/structured/structured.mk

demo: caffe ## draw scenes, train front end, Basic and Large on them, test; ends in demo/report.html (DEMO_FLAGS=)
	$(PYTHON) tools/demo.py $(DEMO_FLAGS)

test: caffe crf-packages ## all tests, on real Caffe (TESTS=tests/test_x.py, PYTEST_FLAGS=)
	@$(PYTHON) -m tools.caffe_build.test_packages
	$(PYTHON) -m pytest $(PYTEST_FLAGS) $(or $(TESTS),tests)

.PHONY: bench rehearse tables
tables: caffe ## the paper's tables beside what was measured here; ends in out/tables/report.html
	$(PYTHON) tools/tables.py

rehearse: caffe crf-packages ## every full-size stage of the paper for ITERS=2 iterations on drawn data: does it fit, does it run? (STAGES=, BATCH_PER_PASS=1, GPU=)
	$(PYTHON) tools/rehearse.py $(STAGES) $(if $(ITERS),--iters $(ITERS)) $(if $(BATCH_PER_PASS),--batch-per-pass $(BATCH_PER_PASS)) \
	  $(if $(GPU),--gpu $(GPU)) $(if $(OUT),--out '$(OUT)')

bench: caffe ## prediction and scoring beside the authors' procedure, PyTorch and Cityscapes' evaluator (PARTS=cold, BENCH_FLAGS=)
	@IM2COL=as-released $(SYSTEM_PYTHON) -m tools.caffe_build
	$(PYTHON) -m tools.caffe_build.test_packages bench
	$(PYTHON) -m tools.bench $(PARTS) $(BENCH_FLAGS)

lint: caffe ## ruff and mypy
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check --quiet .
	$(PYTHON) -m mypy

prototxt: caffe ## generate the checked-in networks again; or for your own data: NET= CLASSES=N (or DATASET=NAME) OUT=DIR CROP_SIZE=
	$(PYTHON) -m prototxt.generate $(if $(NET),--net $(NET)) $(if $(OUT),--out '$(OUT)') $(if $(CLASSES),--classes $(CLASSES)) \
	  $(if $(DATASET),--dataset $(DATASET)) $(if $(CROP_SIZE),--crop-size $(CROP_SIZE)) $(if $(UPSAMPLE_LOSS),--upsample-loss)

LMDB_DATA = $(if $(DATA),--data '$(DATA)')
LMDB_FLAGS = $(if $(PARTIAL),--allow-partial) $(if $(LISTS_ONLY),--lists-only) $(LMDB_OPTIONS)
LMDB_OPTIONS = $(if $(CROP_SIZE),--crop-size $(CROP_SIZE)) $(if $(ENCODING),--encoding $(ENCODING)) $(if $(VAL_LMDB),--val-lmdb) $(if $(WHOLE),--whole)

lmdb-camvid: caffe ## CamVid to LMDB: DATA=folder of CamVid, OUT=data/camvid, SIZE=WxH
	$(PYTHON) -m dataset_prep.camvid $(if $(DATA),--data '$(DATA)') --out '$(or $(OUT),data/camvid)' $(if $(SIZE),--size $(SIZE)) $(LMDB_FLAGS)

lmdb-voc: caffe ## PASCAL VOC 2012 with SBD to LMDB: DATA=folder of both (or SBD=), unpacked or as archives, OUT=data/pascal_voc, PARTIAL=1
	$(PYTHON) -m dataset_prep.voc $(LMDB_DATA) --out '$(or $(OUT),data/pascal_voc)' $(if $(SBD),--sbd '$(SBD)') $(LMDB_FLAGS)

lmdb-voc-coco: caffe ## VOC 2012, SBD and COCO 2014 to one LMDB: as lmdb-voc, COCO=folder of COCO if it lies elsewhere
	$(PYTHON) -m dataset_prep.voc_coco $(LMDB_DATA) --out '$(or $(OUT),data/pascal_voc)' $(if $(SBD),--sbd '$(SBD)') \
	  $(if $(COCO),--coco '$(COCO)') $(LMDB_FLAGS)

lmdb-kitti: caffe ## KITTI of Ros et al. to LMDB: DATA=folder, OUT=data/kitti, PARTIAL=1
	$(PYTHON) -m dataset_prep.kitti $(LMDB_DATA) --out '$(or $(OUT),data/kitti)' $(LMDB_FLAGS)

lmdb-cityscapes: caffe ## Cityscapes to LMDB: DATA=folder, unpacked or as archives, OUT=data/cityscapes, PARTIAL=1
	$(PYTHON) -m dataset_prep.cityscapes $(LMDB_DATA) --out '$(or $(OUT),data/cityscapes)' $(LMDB_FLAGS)

lmdb-custom: caffe ## your own images/ and labels/ to LMDB: DATA=folder, CLASSES=file of names or their number, NAME=custom, SIZE=WxH
	$(PYTHON) -m dataset_prep.custom $(LMDB_DATA) $(if $(CLASSES),--classes '$(CLASSES)') $(if $(NAME),--name '$(NAME)') \
	  $(if $(OUT),--out '$(OUT)') $(if $(LISTS_ONLY),--lists-only) $(if $(SIZE),--size $(SIZE)) $(LMDB_OPTIONS)

lmdb-toy: caffe ## the drawn scenes to LMDB: OUT=data/toy
	$(PYTHON) -m dataset_prep.toy --out '$(or $(OUT),data/toy)' $(LMDB_OPTIONS)

bench-lmdb: caffe ## LMDBs written and read: ours, Caffe's convert_imageset, the disk (ARGS=--step: beside a training pass)
	$(PYTHON) -m tools.lmdb_bench $(ARGS)

weights-vgg16: caffe ## VGG-16 for the front end, from what is in pretrained/ or FROM=FILE of Caffe, PyTorch, Keras or ONNX (INPUT= for your own)
	$(PYTHON) -m pretrained.vgg16 $(if $(FROM),'$(FROM)') $(if $(INPUT),--input $(INPUT))

.PHONY: weights-vgg16_20M
weights-vgg16_20M: caffe ## DeepLab's start: its authors' file, else VGG-16 with a thinned fc6 and fc7 (FROM=, INPUT= as above)
	$(PYTHON) -m pretrained.vgg16_20M $(if $(FROM),'$(FROM)') $(if $(INPUT),--input $(INPUT))

bench-memory: caffe ## the memory estimate of nets beside the measured peak (ARGS=CASE...); minutes, up to 6 GB
	$(PYTHON) -m tools.netinfo.bench $(ARGS)

weights-%: caffe ## fetch a weight file by its name in pretrained/weights.py
	$(PYTHON) -m pretrained.fetch $*

camvid-cpu: caffe ## CamVid with a frozen VGG-16 trunk, what a CPU can train: DATA=folder of CamVid
	$(PYTHON) tools/camvid_cpu.py $(if $(DATA),--data '$(DATA)')

camvid-cpu-structured: caffe crf-packages ## Table 3 in miniature on CamVid, with dense CRF and CRF-RNN: DATA=folder of CamVid
	$(PYTHON) tools/camvid_cpu_structured.py $(if $(DATA),--data '$(DATA)')

.PHONY: camvid-night
camvid-night: caffe ## Table 5 on CamVid, what a CPU trains in a night: DATA=folder of CamVid
	$(PYTHON) tools/camvid_night.py $(if $(DATA),--data '$(DATA)')

.PHONY: table2-mini
table2-mini: caffe ## the paper's Table 2 and Sec. 4's ablation in miniature, an hour and a half of 2 cores: DATA=folder of CamVid
	$(PYTHON) tools/table2_mini.py $(if $(DATA),--data '$(DATA)')

$(ALL_STAGES:%=train-%) $(CHAINS:%=train-%): train-%: caffe
	$(PYTHON) tools/train.py $*$(if $(DATASET),@$(DATASET)) $(if $(ITERS),--iters $(ITERS)) $(if $(BATCH),--batch $(BATCH)) \
	  $(if $(BATCH_PER_PASS),--batch-per-pass $(BATCH_PER_PASS)) $(if $(GPU),--gpu $(GPU)) \
	  $(if $(WEIGHTS),--weights $(WEIGHTS)) $(if $(RANDOM_FC),--random-fc) $(if $(RESTART),--restart) \
	  $(if $(BASE_LR),--base-lr $(BASE_LR)) $(if $(CROP_SIZE),--crop-size $(CROP_SIZE)) $(if $(SNAPSHOT),--snapshot $(SNAPSHOT)) \
	  $(if $(UPSAMPLE_LOSS),--upsample-loss) $(if $(KEEP),--keep $(KEEP)) $(if $(MAX_LOSS),--max-loss $(MAX_LOSS)) \
	  $(if $(VAL_EVERY),--val-every $(VAL_EVERY)) $(if $(VAL_SPLIT),--val-split $(VAL_SPLIT)) \
	  $(if $(VAL_LIMIT),--val-limit $(VAL_LIMIT)) $(if $(TENSORBOARD),--tensorboard) $(if $(CHAIN),--chain)

# Any other name; the rule above, which lists its targets, goes before it.
train-%:
	@$(SYSTEM_PYTHON) -m tools.support.unknown '$*' $(ALL_STAGES) $(CHAINS)
