"""The ids of Cityscapes' label files, and what its evaluator makes of them (mcordts/cityscapesScripts, helpers/labels.py)."""

from dataset_prep.datasets import dataset
from dataset_prep.label_encodings import CITYSCAPES_IDS

LABELS = CITYSCAPES_IDS  # every id of a gtFine_labelIds.png; pixels of those in no category below are not evaluated

TRAIN_IDS = {name: number for number, name in enumerate(dataset('cityscapes').classes)}  # the ids that networks predict
LABEL_IDS = {name: LABELS.index(name) for name in TRAIN_IDS}  # the ids of the evaluated classes in label files
