"""Prepare your own images and labels: check every file, list the splits, write LMDBs, and a contact sheet to look at.

DIR holds
images/NAME.jpg (or .jpeg .png .bmp .tif .tiff .ppm)    8 bits a channel, no alpha, no EXIF tag that turns them
labels/NAME.png                                         index PNGs, grey or palette: ids 0 to N-1, 255 to ignore
train.txt, val.txt, test.txt                            names, one a line; images of test need no labels

Without train.txt a share of the images, --val-fraction, picked by --seed, is val and the rest train. The mean to subtract is
measured over the training images. Classes, colours and mean are kept in OUT/dataset.json.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from dataset_prep import statistics
from dataset_prep.command import add_shared_arguments, command_parser, size, write
from dataset_prep.datasets import Colour, Dataset, keep_own
from dataset_prep.image_files import UPRIGHT, orientation
from dataset_prep.label_encodings import MOST_CLASSES
from dataset_prep.lists import by_id, check_pairs, read_ids
from dataset_prep.order import shuffled
from dataset_prep.parallel import in_order
from dataset_prep.records import Record
from tools.support.errors import Fault, UserError, attempt, end_with_faults, run_command
from tools.support.paths import DATA

CROP_SIZES = (500,)
VAL_FRACTION = 0.1
IMAGES, LABELS = 'images', 'labels'
SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.ppm')
TRAIN, VAL, TEST = 'train', 'val', 'test'
NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]*')
COLOURED_CLASS = re.compile(r'(?P<name>\S.*?)\s+(?P<red>\d{1,3})\s+(?P<green>\d{1,3})\s+(?P<blue>\d{1,3})')


def find_splits(
    data: Path, name: str, val_fraction: float, seed: int, size_wh: tuple[int, int] | None = None
) -> dict[str, list[Record]]:
    """The records of each split in the folder `data`, of the data set `name`.

    Raises UserError when a file of a pair is missing, two have one name, a list names what is not there, or an image has a tag
    that turns it.
    """
    if not data.is_dir():
        raise UserError(f'no folder {data}; give the one that holds {IMAGES}/ and {LABELS}/: DATA=FOLDER')
    images, labels = (_files(data / kind, kind) for kind in (IMAGES, LABELS))
    lists = _lists(data, images) or _shares(images, labels, data, val_fraction, seed)
    for split, names in lists.items():
        if lacking := [one for one in names if one not in labels and split != TEST]:
            faults = [Fault(f'no file at {data / LABELS / one}.png') for one in lacking]
            end_with_faults(faults, len(names), f'images of {split}', 'each needs its label')
    _check_upright([images[one] for names in lists.values() for one in names])
    return {
        split: [Record(one, images[one], labels.get(one), name, size_wh=size_wh) for one in ids] for split, ids in lists.items()
    }


def _check_upright(paths: Sequence[Path]) -> None:
    """Raise UserError naming the images that viewers turn: a label may have been drawn on what they show, or may not."""
    turns = in_order(partial(attempt, orientation), paths)  # one that cannot be read is named later
    turned = [
        Fault(f'{path} is stored turned or mirrored (EXIF orientation {turn})')
        for path, turn in zip(paths, turns, strict=True)
        if isinstance(turn, int) and turn != UPRIGHT
    ]
    end_with_faults(
        turned, len(paths), 'images', 'labels cannot say how an image is turned; save these as they are seen (mogrify '
        '-auto-orient), or, if the labels fit the pixels as they are stored, take the tag out (exiftool -Orientation=)',
    )  # fmt: skip


def _files(folder: Path, kind: str) -> dict[str, Path]:
    """The pictures in a folder by name."""
    suffixes = SUFFIXES if kind == IMAGES else ('.png',)
    paths = folder.iterdir() if folder.is_dir() else ()
    found = by_id((path for path in paths if path.suffix.lower() in suffixes), lambda path: path.stem)
    if not found:
        raise UserError(f'no {kind} in {folder} ({" ".join(suffixes)}); see dataset_prep/README.md')
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
    """All images, each of which must have a label, parted into train and val."""
    check_pairs(images, labels, lambda name: data / IMAGES / f'{name}.*', lambda name: data / LABELS / f'{name}.png')
    if not 0 <= val_fraction < 1:
        raise UserError(f'--val-fraction {val_fraction}: give a share from 0 to less than 1')
    mixed = shuffled(list(images), seed)
    count = max(1, round(val_fraction * len(mixed))) if val_fraction else 0
    splits = {TRAIN: sorted(mixed[count:])}
    return splits | {VAL: sorted(mixed[:count])} if count else splits


def read_classes(text: str) -> list[tuple[str, Colour]]:
    """Names and colours of classes: from a file, a class a line with or without R G B at its end, or as many as a number says.

    A class without a colour gets that of its id in VOC's palette. Raises UserError for classes or colours that occur twice.
    """
    if text.isdigit():
        rows = [(f'class {index}', voc_colour(index)) for index in range(int(text))]
        where = f'--classes {text}'
    else:
        rows, where = _class_file(Path(text)), text
    if not 2 <= len(rows) <= MOST_CLASSES:
        raise UserError(f'{where}: {len(rows)} classes; there must be from 2 to {MOST_CLASSES}')
    for column, what in ((0, 'class'), (1, 'colour')):
        values = [row[column] for row in rows]
        if twice := [value for value in values if values.count(value) > 1]:
            raise UserError(f'{where}: the {what} {twice[0]} occurs more than once')
    return rows


def _class_file(path: Path) -> list[tuple[str, Colour]]:
    """The rows of a file of classes; the id of a class is its place, from 0."""
    rows: list[tuple[str, Colour]] = []
    for number, line in enumerate(read_ids(path)):
        match = COLOURED_CLASS.fullmatch(line)
        if not match:
            rows.append((line, voc_colour(number)))
            continue
        red, green, blue = (int(match[part]) for part in ('red', 'green', 'blue'))
        if max(red, green, blue) > 255:
            raise UserError(f'{path}: {line!r}: a colour has three numbers from 0 to 255')
        rows.append((match['name'], (red, green, blue)))
    return rows


def voc_colour(index: int) -> Colour:
    """The colour of an id in VOC's palette: bits 3k, 3k+1, 3k+2 of the id are bit 7-k of red, green and blue."""
    red, green, blue = (sum((index >> 3 * place + channel & 1) << 7 - place for place in range(8)) for channel in range(3))
    return red, green, blue


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
    parser.add_argument('--classes', metavar='FILE|N', help='names of classes, one a line, or their number; must be given')
    parser.add_argument('--name', default='custom', help='of the data set (default: %(default)s)')
    parser.add_argument('--val-fraction', type=float, default=VAL_FRACTION, metavar='F', help='default: %(default)s')
    parser.add_argument('--size', type=size, metavar='WxH', help='scale to this (default: the size of the files)')
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
    if args.out.resolve() != (DATA / args.name).resolve():
        print(f'note: NETWORK@{args.name} and STAGE@{args.name} look for it at {DATA / args.name}: move it or put a link there')
    write(args, row, splits, {TRAIN: args.crop_size}, {TRAIN: found})


def _check_given(args: argparse.Namespace) -> None:
    """Raise UserError for what must be given and is not, or a name that is none."""
    for option in ('data', 'classes'):
        if getattr(args, option) is None:
            raise UserError(f'--{option} is not given: make lmdb-custom DATA=FOLDER CLASSES=FILE (or their number)')
    if not NAME.fullmatch(args.name):
        raise UserError(f'--name {args.name}: use letters, digits, _ . and -')


if __name__ == '__main__':
    run_command(main, after_stop='the same command goes on')
