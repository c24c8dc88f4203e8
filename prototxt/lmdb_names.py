"""Paths of a stage's LMDBs. This module imports nothing heavy."""

from dataset_prep.datasets import dataset
from prototxt.experiments import NETS, Stage


def train_split(stage: Stage) -> str:
    """The split that a stage trains on: its row's, or the training split of its data set."""
    return stage.split or dataset(NETS[stage.net].dataset).train


def lmdb_of(stage: Stage, split: str | None = None) -> str:
    """The LMDB of a split, relative to data/; by default the split that the stage trains on.

    camvid/train_628, pascal_voc/train_aug_500, toy/train_final_toy-front.
    """
    folder, split = NETS[stage.net].folder, split or train_split(stage)
    if stage.start == 'data':
        return f'{folder}/{split}_{stage.crop_size}'
    stride1 = '_stride1' if stage.stored_label_stride == 1 else ''
    return f'{folder}/{split}_{stage.start}_{stage.features_from}{stride1}'


def whole_images_of(split: str) -> str:
    """The LMDB with the whole images of a split, beside the LMDB of their maps."""
    return f'{split}_whole'


def val_lmdb_of(stage: Stage) -> str:
    """The LMDB that a stage is evaluated on: camvid/val_628."""
    return lmdb_of(stage, dataset(NETS[stage.net].dataset).val)
