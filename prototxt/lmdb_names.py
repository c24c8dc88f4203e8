"""Where a stage's LMDBs lie; nothing heavy is imported here."""

from dataset_prep.datasets import dataset
from prototxt.experiments import NETS, Stage


def lmdb_of(stage: Stage) -> str:
    """The LMDB that a stage trains on, relative to data/: camvid/train_628, toy/train_final_toy-front."""
    return _lmdb(stage, stage.split or dataset(NETS[stage.net].dataset).train)


def val_lmdb_of(stage: Stage) -> str:
    """The LMDB that a stage is measured on: camvid/val_628."""
    return _lmdb(stage, dataset(NETS[stage.net].dataset).val)


def _lmdb(stage: Stage, split: str) -> str:
    facts = dataset(NETS[stage.net].dataset)
    if stage.start == 'data':
        return f'{facts.name}/{split}_{stage.crop_size}'
    stride1 = '_stride1' if stage.label_stride == 1 else ''
    return f'{facts.name}/{split}_{stage.start}_{stage.features_from}{stride1}'
