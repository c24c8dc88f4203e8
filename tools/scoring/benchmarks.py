"""The rules by which each benchmark scores label maps on disk: which files belong together and which ids count."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from dataset_prep.datasets import DATASETS, IGNORE_LABEL, Dataset, dataset
from dataset_prep.label_encodings import CITYSCAPES_IDS

# The ids of the classes that Cityscapes evaluates: as networks predict them, and in gtFine_labelIds.png.
TRAIN_IDS = {name: number for number, name in enumerate(dataset('cityscapes').classes)}
LABEL_IDS = {name: CITYSCAPES_IDS.index(name) for name in TRAIN_IDS}


@dataclass(frozen=True)
class Benchmark:
    """The rules of one benchmark. `classes` are the evaluated ids by name; label maps may hold ids 0 to `ids` - 1.

    Ground-truth pixels of `ignore`, or of an id that is not evaluated, do not count. A ground-truth file `<id><suffix>` belongs
    to the prediction `<id>.png`; with `loose`, to `<id>*.png` in any folder; with `of_sequences`, `<sequence>/GT/<id><suffix>`
    also belongs to `<sequence>_<id>.png`, as tools/test.py names it. If an image has several files, the suffix that is named
    first counts. `encodings`: the ways in which its files may name classes. `suffixes` has the encoding of a suffix that implies
    one. `other_ids`: what to do with predictions in the data set's other numbering.
    """

    dataset: str
    classes: Mapping[str, int]
    ids: int
    suffixes: Mapping[str, str | None]
    ignore: int | None = IGNORE_LABEL
    categories: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    loose: bool = False
    of_sequences: bool = False
    encodings: tuple[str, ...] = ('ids',)
    other_ids: str = ''


def _of(row: Dataset) -> Benchmark:
    """PASCAL VOC's rules with the classes of a data set."""
    ids = {label: number for number, label in enumerate(row.classes)}
    suffixes: dict[str, str | None] = dict.fromkeys(row.label_suffixes)
    return Benchmark(row.name, ids, len(ids), suffixes, encodings=row.encodings, of_sequences=row.of_sequences)


def _cityscapes(classes: Mapping[str, int], ids: int, suffixes: Mapping[str, str | None], **rules: Any) -> Benchmark:
    """The rules of Cityscapes' evaluator (mcordts/cityscapesScripts, helpers/labels.py) for one of its numberings."""
    categories = dataset('cityscapes').category_ids(classes)
    return Benchmark('cityscapes', classes, ids, suffixes, categories=categories, loose=True, **rules)


OWN_ENCODINGS = ('ids', 'colours')  # of a user's own data
LABEL_ID_FILES: Mapping[str, str | None] = {'_gtFine_labelIds.png': 'ids'}
TRAIN_ID_FILES = {'_gtFine_labelTrainIds.png': 'ids', '_gtFine_labelIds.png': 'cityscapes_ids'}  # the latter are in the archive

BENCHMARKS = {
    **{name: _of(row) for name, row in DATASETS.items()},
    'cityscapes': _cityscapes(
        LABEL_IDS, len(CITYSCAPES_IDS), LABEL_ID_FILES, ignore=None,
        other_ids='if they are the ids that networks predict, 0 (road) to 18 (bicycle): --dataset cityscapes_train_ids',
    ),
    'cityscapes_train_ids': _cityscapes(
        TRAIN_IDS, len(TRAIN_IDS), TRAIN_ID_FILES,
        other_ids='if they are the ids of label files, 7 (road) to 33 (bicycle): --dataset cityscapes',
    ),
}  # fmt: skip


def benchmark(name: str) -> Benchmark:
    """The rules of a data set: one of BENCHMARKS, or for a user's own data PASCAL VOC's rules with its classes."""
    return BENCHMARKS.get(name) or replace(_of(dataset(name)), encodings=OWN_ENCODINGS)
