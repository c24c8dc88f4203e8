"""Drawn pictures in the sizes of each data set, prepared as the data set's own are: lists, and the LMDBs that stages read."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from dataset_prep.cityscapes import HALVES, halves
from dataset_prep.datasets import dataset
from dataset_prep.photographs import draw
from dataset_prep.prepare import prepare
from dataset_prep.records import Record
from prototxt.experiments import NETS, Stage

# (width, height) of each picture that is drawn. Two ways round on VOC, as there: maps are then those of the network's tile.
SIZES_WH = {
    'pascal_voc': ((500, 375), (375, 500)),
    'camvid': ((640, 480),),
    'kitti': ((1241, 376),),
    'cityscapes': ((2048, 1024),),
    'toy': ((576, 192),),
}
SUFFIXES = {'pascal_voc': '.jpg'}


def prepare_data(stages: Iterable[Stage], data: Path) -> None:
    """Draw what `stages` train on into `data`/<data set>, and write the lists and LMDBs; what is there is kept."""
    for name, crop_sizes in crops_of(stages).items():
        splits = {split: draw_split(data / name / 'drawn', name, split) for split in crop_sizes}
        prepare(data / name, dataset(name), splits, crop_sizes, None, 1)


def crops_of(stages: Iterable[Stage]) -> dict[str, dict[str, list[int]]]:
    """Sides of training crops by data set and split; none where a stage trains on the maps of whole images."""
    found: dict[str, dict[str, list[int]]] = {}
    for stage in stages:
        facts = dataset(NETS[stage.net].dataset)
        sides = found.setdefault(facts.name, {}).setdefault(stage.split or facts.train, [])
        if stage.crop_size and stage.crop_size not in sides:
            sides.append(stage.crop_size)
    return found


def draw_split(folder: Path, name: str, split: str) -> list[Record]:
    """The records of one split: a picture of each size, or the halves of them."""
    drawn = []
    for seed, size_wh in enumerate(SIZES_WH[name]):
        (record,) = draw(folder / f'{split}_{seed}', 1, size_wh, SUFFIXES.get(name, '.png'), name, seed)
        drawn.append(replace(record, id=f'{split}_{seed}'))
    return [half for record in drawn for half in halves(record)] if split == HALVES else drawn
