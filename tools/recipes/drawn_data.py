"""Draws pictures in the sizes of a data set's images, and writes lists and LMDBs from them as for the data set itself."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from dataset_prep.cityscapes import HALVES, halves
from dataset_prep.datasets import dataset
from dataset_prep.photographs import draw
from dataset_prep.prepare import prepare
from dataset_prep.records import Record
from prototxt.experiments import NETS, Stage


def prepare_data(stages: Iterable[Stage], data: Path) -> None:
    """Draw what `stages` train on into `data`/<data set>, and write the lists and LMDBs; what is there is kept."""
    for name, crop_sizes in crops_of(stages).items():
        splits = {split: draw_split(data / name / 'drawn', name, split) for split in crop_sizes}
        prepare(data / name, dataset(name), splits, crop_sizes, None, 1)


def crops_of(stages: Iterable[Stage]) -> dict[str, dict[str, list[int]]]:
    """Sides of training crops by data set and split; an empty list if the stages train on the maps of whole images."""
    found: dict[str, dict[str, list[int]]] = {}
    for stage in stages:
        facts = dataset(NETS[stage.net].dataset)
        sides = found.setdefault(facts.name, {}).setdefault(stage.split or facts.train, [])
        if stage.crop_size and stage.crop_size not in sides:
            sides.append(stage.crop_size)
    return found


def draw_split(folder: Path, name: str, split: str) -> list[Record]:
    """The records of one split: a picture of each size, or its halves if the split consists of halves."""
    drawn, facts = [], dataset(name)
    for seed, size_wh in enumerate(facts.sizes_wh):
        (record,) = draw(folder / f'{split}_{seed}', 1, size_wh, facts.suffix, name, seed)
        drawn.append(replace(record, id=f'{split}_{seed}'))
    return [half for record in drawn for half in halves(record)] if split == HALVES else drawn
