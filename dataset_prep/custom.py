"""Prepare your own images and labels: check every file, list the splits, write LMDBs, and a contact sheet to look at.

DIR holds
images/NAME.jpg (or .jpeg .png .bmp .tif .tiff .ppm .webp)    8 bits a channel, no alpha, no EXIF tag that turns them
labels/NAME.png                 index PNGs, grey or palette: ids 0 to N-1, 255 to ignore; or RGB, in the colours of the classes
train.txt, val.txt, test.txt    names, one a line; images of test need no labels

Without train.txt a share of the images, --val-fraction, picked by --seed, is val and the rest train; a single image is train.
--size scales each image to that size, one of another shape to what fits into it. The mean to subtract is measured over the
training images. Classes, colours and mean are kept in OUT/dataset.json. What --classes understands: class_lists.py.
"""

import argparse
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

from dataset_prep import statistics
from dataset_prep.class_lists import read_classes
from dataset_prep.command import add_shared_arguments, command_parser, size, write
from dataset_prep.datasets import Dataset, keep_own
from dataset_prep.image_files import IMAGE_SUFFIXES, UPRIGHT, image_size, is_coloured_picture, orientation
from dataset_prep.lists import by_id, check_pairs, read_ids, with_suffix
from dataset_prep.order import shuffled
from dataset_prep.parallel import in_order
from dataset_prep.records import Record
from prototxt.experiments import STAGES
from prototxt.names import make_train
from tools.support.errors import Fault, UserError, attempt, end_with_faults, run_command
from tools.support.paths import DATA

CROP_SIZES = (500,)
VAL_FRACTION = 0.1
IMAGES, LABELS = 'images', 'labels'
TRAIN, VAL, TEST = 'train', 'val', 'test'
NEXT = (  # what is trained on own data: for whom, the stages by their crops, and make's other variables
    ('a narrow net on a CPU', ('toy-front',), ()),
    ('VGG-16 frozen, on a CPU', ('camvid-cpu-joint',), ('CHAIN=1',)),
    ("the paper's front end on a GPU", ('camvid-front', 'voc-front'), ('GPU=0',)),
)
Item = TypeVar('Item')
Size = tuple[int, int]
NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]*')


def find_splits(data: Path, name: str, val_fraction: float, seed: int, size_wh: Size | None = None) -> dict[str, list[Record]]:
    """The records of each split in the folder `data`, of the data set `name`.

    Raises UserError when a file of a pair is missing, two have one name, a list names what is not there, or an image has a tag
    that turns it.
    """
    if not data.is_dir():
        raise UserError(f'no folder {data}; give the one that holds {IMAGES}/ and {LABELS}/: DATA=FOLDER')
    images, labels = _files(data / IMAGES, IMAGE_SUFFIXES), _files(data / LABELS, ('.png',))
    lists = _lists(data, images) or _shares(images, labels, data, val_fraction, seed)
    for split, names in lists.items():
        if lacking := [one for one in names if one not in labels and split != TEST]:
            faults = [Fault(f'no file at {data / LABELS / one}.png') for one in lacking]
            end_with_faults(faults, len(names), f'images of {split}', 'each needs its label')
    _check_upright([images[one] for names in lists.values() for one in names])
    sizes = _sizes({images[one]: one for names in lists.values() for one in names}, size_wh) if size_wh else {}
    coloured = {path for path, found in _each(is_coloured_picture, labels.values()) if found is True}
    return {
        split: [
            Record(
                one, images[one], label := labels.get(one), name, 'colours' if label in coloured else 'ids', sizes.get(one)
            )
            for one in ids
        ]
        for split, ids in lists.items()
    }  # fmt: skip


def _each(function: Callable[[Path], Item], paths: Iterable[Path]) -> list[tuple[Path, Item | Fault]]:
    """Each path with what `function` makes of it, or its Fault: a file that cannot be read is named later."""
    paths = list(paths)
    return list(zip(paths, in_order(partial(attempt, function), paths), strict=True))


def _sizes(images: Mapping[Path, str], box_wh: Size) -> dict[str, Size]:
    """By name, the size that each image is scaled to: `box_wh`, or for one of another shape the largest in it that keeps that."""
    found = {
        images[path]: fitted(size, box_wh) if isinstance(size, tuple) else box_wh for path, size in _each(image_size, images)
    }
    if others := [name for name, size in found.items() if size != box_wh]:
        width, height = found[others[0]]
        print(
            f'note: {len(others)} of {len(images)} images have another shape than {box_wh[0]}x{box_wh[1]} and keep it: '
            f'the first, {others[0]}, is scaled to {width}x{height}'
        )
    return found


def fitted(size_wh: Size, box_wh: Size) -> Size:
    """The largest size of the shape of `size_wh` that lies in `box_wh`; `box_wh` itself where no side differs by more than 1."""
    scale = min(box / side for box, side in zip(box_wh, size_wh, strict=True))
    width, height = (max(1, round(scale * side)) for side in size_wh)
    return box_wh if max(box_wh[0] - width, box_wh[1] - height) <= 1 else (width, height)


def _check_upright(paths: Sequence[Path]) -> None:
    """Raise UserError naming the images that viewers turn: a label may have been drawn on what they show, or may not."""
    turned = [
        Fault(f'{path} is stored turned or mirrored (EXIF orientation {turn})')
        for path, turn in _each(orientation, paths)
        if isinstance(turn, int) and turn != UPRIGHT
    ]
    end_with_faults(
        turned, len(paths), 'images', 'labels cannot say how an image is turned; save these as they are seen (mogrify '
        '-auto-orient), or, if the labels fit the pixels as they are stored, take the tag out (exiftool -Orientation=)',
    )  # fmt: skip


def _files(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """The pictures in a folder by name."""
    found = by_id(with_suffix(folder, *suffixes), lambda path: path.stem)
    if not found:
        raise UserError(f'no {folder.name} in {folder} ({" ".join(suffixes)}); see dataset_prep/README.md')
    return found


def _lists(data: Path, images: dict[str, Path]) -> dict[str, list[str]]:
    """The names of each split that is listed. Raises UserError for val or test without train, and for names of no image."""
    lists = {split: read_ids(data / f'{split}.txt') for split in (TRAIN, VAL, TEST) if (data / f'{split}.txt').exists()}
    if lists and TRAIN not in lists:
        raise UserError(f'{data} has {" and ".join(f"{split}.txt" for split in lists)} but no {TRAIN}.txt; list what to train on')
    for split, names in lists.items():
        if unknown := [name for name in names if name not in images]:
            raise UserError(f'{data / split}.txt names {unknown[0]}; there is no such file in {data / IMAGES} (give no suffix)')
    return lists


def _shares(images: dict[str, Path], labels: dict[str, Path], data: Path, val_fraction: float, seed: int) -> dict[str, list[str]]:
    """All images, each of which must have a label, parted into train, which has one at least, and val."""
    check_pairs(images, labels, lambda name: data / IMAGES / f'{name}.*', lambda name: data / LABELS / f'{name}.png')
    if not 0 <= val_fraction < 1:
        raise UserError(f'--val-fraction {val_fraction}: give a share from 0 to less than 1')
    mixed = shuffled(list(images), seed)
    count = min(max(1, round(val_fraction * len(mixed))), len(mixed) - 1) if val_fraction else 0
    splits = {TRAIN: sorted(mixed[count:])}
    if val_fraction and not count:
        print('note: the only image is trained on, and there is no val split; to score it: tools/test.py --split train')
    return splits | {VAL: sorted(mixed[:count])} if count else splits


def measured(row: Dataset, splits: dict[str, list[Record]]) -> tuple[Dataset, statistics.Scan]:
    """The row of the data set with the mean of its training images and its counts; and the scan of these images."""
    keep_own(row)  # so that labels can be read
    scan = statistics.scan(splits[TRAIN], f'reading {TRAIN}')
    found = scan.statistics
    if not found.images:
        end_with_faults(list(scan.faults.values()), len(scan.faults), 'images', 'nothing is written')
    _check_classes(found.pixels_per_class(row))
    counts = {split: len(records) for split, records in splits.items()}
    return keep_own(replace(row, mean_bgr=found.mean_bgr, splits=counts)), scan


def _check_classes(pixels: dict[str, int]) -> None:
    """Print which classes no training image has. Raise UserError if there are not two: masks of 0 and 255 look like that."""
    absent = [name for name, count in pixels.items() if not count]
    if len(pixels) - len(absent) < 2:
        present = ', '.join(name for name in pixels if name not in absent) or 'no class'
        raise UserError(
            f'the labels of {TRAIN} hold {present} and nothing else but 255, which is ignored, so there is nothing to learn; '
            'if they are masks of 0 and 255, write 1 in place of 255'
        )
    if absent:
        print(f'note: no pixel of {TRAIN} is {" or ".join(absent)}')


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = command_parser('custom', __doc__)
    parser.add_argument('--data', type=Path, metavar='DIR', help='your images and labels; must be given')
    parser.add_argument(
        '--classes', metavar='FILE|N', help='names of classes, one a line, perhaps with R G B; or their number; must be given'
    )
    parser.add_argument('--name', default='custom', help='of the data set (default: %(default)s)')
    parser.add_argument('--val-fraction', type=float, default=VAL_FRACTION, metavar='F', help='default: %(default)s')
    parser.add_argument('--size', type=size, metavar='WxH', help='scale to this, keeping the shape (default: as the files are)')
    add_shared_arguments(parser, None, CROP_SIZES)
    return parser.parse_args(argv)


def main(argv: list[str] | None) -> None:
    """Prepare a data set of the user's own."""
    args = parse_args(argv)
    _check_given(args)
    args.out = args.out or DATA / args.name
    names, colours = zip(*read_classes(args.classes), strict=True)
    splits = find_splits(args.data, args.name, args.val_fraction, args.seed, args.size)
    unmeasured = Dataset(args.name, names, colours, (0, 0, 0), {}, f'measured over {len(splits[TRAIN])} images')
    row, found = measured(unmeasured, splits)
    write(args, row, splits, {TRAIN: args.crop_size}, {TRAIN: found})
    if args.out.resolve() != (DATA / args.name).resolve():
        print(f'note: NETWORK@{args.name} and STAGE@{args.name} look for it at {DATA / args.name}: move it or put a link there')
    print('\n'.join(next_commands(args.name, () if args.lists_only or args.whole else args.crop_size)))


def next_commands(name: str, crop_sizes: Sequence[int]) -> list[str]:
    """What to type next for each of NEXT that can be trained: a stage whose crop was written, or one with CROP_SIZE=."""
    lines = []
    for what, stages, options in NEXT:
        crops = [STAGES[stage].crop_size for stage in stages]
        if all(crops) and not crop_sizes:
            continue
        fitting = next((stage for stage, crop in zip(stages, crops, strict=True) if crop in (None, *crop_sizes)), None)
        stage, more = (fitting, options) if fitting else (stages[0], (f'CROP_SIZE={crop_sizes[0]}', *options))
        test = f'python3 tools/test.py --net {STAGES[stage].net}@{name}'
        lines.append(f'next, {what}: {make_train(f"{stage}@{name}", *more)}; then {test}')
    return [*lines, 'which of these, and what it takes: dataset_prep/README.md, "Your own images"']


def _check_given(args: argparse.Namespace) -> None:
    """Raise UserError for what must be given and is not, or a name that is none."""
    for option in ('data', 'classes'):
        if getattr(args, option) is None:
            raise UserError(f'--{option} is not given: make lmdb-custom DATA=FOLDER CLASSES=FILE (or their number)')
    if not NAME.fullmatch(args.name):
        raise UserError(f'--name {args.name}: use letters, digits, _ . and -')


if __name__ == '__main__':
    run_command(main, after_stop='the same command goes on')
