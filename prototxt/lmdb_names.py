"""Where a stage's LMDBs lie; nothing heavy is imported here."""

from dataset_prep.datasets import dataset
from prototxt.experiments import NETS, Stage


def train_split(stage: Stage) -> str:
    """The split that a stage trains on: that of its row, or the training split of its data set."""
    return stage.split or dataset(NETS[stage.net].dataset).train


def lmdb_of(stage: Stage, split: str | None = None) -> str:
    """The LMDB of a split, by default the one that the stage trains on, relative to data/.

    camvid/train_628, pascal_voc/train_aug_500, toy/train_final_toy-front.
    """
    folder, split = NETS[stage.net].folder, split or train_split(stage)
    if stage.start == 'data':
        return f'{folder}/{split}_{stage.crop_size}'
    stride1 = '_stride1' if stage.stored_label_stride == 1 else ''
    return f'{folder}/{split}_{stage.start}_{stage.features_from}{stride1}'


def whole_images_of(split: str) -> str:
    """The LMDB of the images of a split as they are, beside that of their maps."""
    return f'{split}_whole'


def val_lmdb_of(stage: Stage) -> str:
    """The LMDB that a stage is measured on: camvid/val_628."""
    return lmdb_of(stage, dataset(NETS[stage.net].dataset).val)
