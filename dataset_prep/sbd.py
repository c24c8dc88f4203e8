"""SBD, the annotations of Hariharan et al. (2011): lists and records.

Layout (pytorch/vision, torchvision/datasets/sbd.py): img/ID.jpg, cls/ID.mat, train.txt, val.txt in benchmark_RELEASE/dataset.
"""

from pathlib import Path

from dataset_prep.lists import read_ids
from dataset_prep.records import Record
from dataset_prep.trees import Tree

TREE = Tree(
    'SBD',
    ('img', 'cls', 'train.txt', 'val.txt'),
    {'benchmark.tgz': '82b4d87ceb2ed10f6038a1cba92111cb'},  # md5; torchvision/datasets/sbd.py
)
COUNTS = {'train': 8498, 'val': 2857}  # 8,498: shelhamer, data/pascal/README.md; 11,355 in all: sbd.py


def sbd_ids(root: Path) -> dict[str, list[str]]:
    """The ids of SBD's own train and val lists."""
    return {split: read_ids(root / f'{split}.txt') for split in COUNTS}


def sbd_record(root: Path, name: str) -> Record:
    """The record of one annotated image."""
    return Record(name, root / 'img' / f'{name}.jpg', root / 'cls' / f'{name}.mat', 'pascal_voc', 'sbd')
