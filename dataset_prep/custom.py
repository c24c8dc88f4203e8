"""Prepare your own images and labels: check every file, list the splits, write LMDBs, and a contact sheet to look at.

DIR holds
images/NAME.jpg (or .jpeg .png .bmp .tif .tiff .ppm .webp)    8 bits a channel, no alpha, no EXIF tag that turns them
labels in one of these forms (the command recognises which):
  labels/NAME.png               index PNGs, grey or palette: ids 0 to N-1, 255 to ignore; or RGB, in the colours of the classes
  labels/NAME.png, RGB, and a palette file: labelmap.txt, label_colors.txt, class_dict.csv or palette.txt
  NAME.json of labelme, in labels/ or beside the images
  annotations/*.json in the form of COCO, with your own categories; images in any folder
  what CVAT exports as "Segmentation mask" or as "COCO", unpacked
train.txt, val.txt, test.txt    names, one a line; images of test need no labels

If labels have names, these decide the ids. A name that --classes lacks is an error, unless --leave-out names it; its pixels are
then 255. Pixels outside all outlines are the class background, or 255 if there is none. Without train.txt, --seed picks a share
--val-fraction of the images as val, and the rest is train; a single image is train. --size scales each image to that size; an
image of another shape is scaled to the largest size that fits into it. The subtracted mean is measured over the training images.
Classes, colours and mean are stored in OUT/dataset.json. class_lists.py describes the files for --classes.
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
from dataset_prep.datasets import IGNORE_LABEL, Dataset, keep_own
from dataset_prep.image_files import UPRIGHT, image_size, orientation
from dataset_prep.label_forms import as_pictures, find_labels
from dataset_prep.lists import composed, read_ids
from dataset_prep.order import shuffled
from dataset_prep.own_labels import Labels, Names, check_names
from dataset_prep.parallel import in_order
from dataset_prep.records import Record
from prototxt.experiments import STAGES
from prototxt.names import make_train
from tools.support.errors import Fault, UserError, attempt, end_with_faults, run_command
from tools.support.paths import DATA

CROP_SIZES = (500,)
VAL_FRACTION = 0.1
LIST_FOLDERS = ('ImageSets/Segmentation', '')  # the former is CVAT's and VOC's; a list in the latter is preferred
TRAIN, VAL, TEST = 'train', 'val', 'test'
NEXT = (  # suggestions of what to train: for whom, stages that differ in their crops, and other variables of make
    ('a narrow net on a CPU', ('toy-front',), ()),
    ('VGG-16 frozen, on a CPU', ('camvid-cpu-joint',), ('CHAIN=1',)),
    ("the paper's front end on a GPU", ('camvid-front', 'voc-front'), ('GPU=0',)),
)
Item = TypeVar('Item')
Size = tuple[int, int]
NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9_.-]*')


def find_names(labels: Labels, data: Path, val_fraction: float, seed: int) -> dict[str, list[str]]:
    """Image names of each split: from lists in the folder `data`, from the label files, or chosen at random.

    Raises UserError if an image has no label, if a list names a missing image, or if an image has a tag that turns it.
    """
    lists = _lists(data, labels) or dict(labels.lists) or _shares(labels, data, val_fraction, seed)
    for split, names in lists.items():
        if lacking := [one for one in names if one not in labels.files and split != TEST]:
            faults = [Fault(f'no label of {labels.images[one]}') for one in lacking]
            end_with_faults(faults, len(names), f'images of {split}', 'each needs its label')
    _check_upright([labels.images[one] for names in lists.values() for one in names])
    return lists


def find_splits(
    labels: Labels, names: Names, data: Path, out: Path, name: str, val_fraction: float, seed: int, size_wh: Size | None = None
) -> dict[str, list[Record]]:
    """The records of each split of the data set `name`. Labels that are not PNGs are drawn into the folder `out` first.

    Raises the errors of find_names() and label_forms.as_pictures().
    """
    lists = find_names(labels, data, val_fraction, seed)
    used = [one for split in lists.values() for one in split]
    sizes = _sizes({labels.images[one]: one for one in used}, size_wh) if size_wh else {}
    pictures = as_pictures(labels, names, used, out)
    return {
        split: [Record(one, labels.images[one], *_label_of(one, pictures, name), sizes.get(one)) for one in ids]
        for split, ids in lists.items()
    }  # fmt: skip


def _each(function: Callable[[Path], Item], paths: Iterable[Path]) -> list[tuple[Path, Item | Fault]]:
    """Each path with function(path), or with a Fault: unreadable files are named later."""
    paths = list(paths)
    return list(zip(paths, in_order(partial(attempt, function), paths), strict=True))


def _sizes(images: Mapping[Path, str], box_wh: Size) -> dict[str, Size]:
    """The scaled size of each image by name: `box_wh`, or for an image of another shape the largest size that fits into it."""
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
    """The largest size with the shape of `size_wh` that fits into `box_wh`; `box_wh` if no side differs by more than 1."""
    scale = min(box / side for box, side in zip(box_wh, size_wh, strict=True))
    width, height = (max(1, round(scale * side)) for side in size_wh)
    return box_wh if max(box_wh[0] - width, box_wh[1] - height) <= 1 else (width, height)


def _check_upright(paths: Sequence[Path]) -> None:
    """Raise UserError with the images that viewers turn, because it is unclear which way their labels were drawn."""
    turned = [
        Fault(f'{path} is stored turned or mirrored (EXIF orientation {turn})')
        for path, turn in _each(orientation, paths)
        if isinstance(turn, int) and turn != UPRIGHT
    ]
    end_with_faults(
        turned, len(paths), 'images', 'labels cannot say how an image is turned; save these as they are seen (mogrify '
        '-auto-orient), or, if the labels fit the pixels as they are stored, take the tag out (exiftool -Orientation=)',
    )  # fmt: skip


def _lists(data: Path, labels: Labels) -> dict[str, list[str]]:
    """The names in each list. Raises UserError for val or test without train, and for names without an image."""
    every = [data / folder / f'{split}.txt' for folder in LIST_FOLDERS for split in (TRAIN, VAL, TEST)]
    paths = {path.stem: path for path in every if path.exists()}
    lists = {split: read_ids(paths[split]) for split in (TRAIN, VAL, TEST) if split in paths}
    if lists and TRAIN not in lists:
        raise UserError(
            f'{data} has {" and ".join(f"{split}.txt" for split in lists)} but no {TRAIN}.txt; list the images to train on'
        )
    for split, names in lists.items():
        if unknown := [name for name in names if name not in labels.images]:
            raise UserError(f'{paths[split]} names {unknown[0]}; there is no such image in {data} (give no suffix)')
    return lists


def _label_of(image: str, pictures: Mapping[str, tuple[Path, str]], name: str) -> tuple[Path | None, str, str]:
    """Label file (None if there is none), data set and encoding of a record."""
    path, encoding = pictures.get(image, (None, 'ids'))
    return path, name, encoding


def _shares(labels: Labels, data: Path, val_fraction: float, seed: int) -> dict[str, list[str]]:
    """All images, which must have labels, divided into train (at least one) and val."""
    images, files = labels.images, labels.files
    lonely = [
        Fault(f'no label of {images[name]}' if name in images else f'no image of {files[name]}')
        for name in sorted(images.keys() ^ files.keys())
    ]
    end_with_faults(lonely, len(images.keys() | files.keys()), 'images', 'each needs its image and its label')
    if not 0 <= val_fraction < 1:
        raise UserError(f'--val-fraction {val_fraction}: give a share from 0 to less than 1')
    mixed = shuffled(list(images), seed)
    count = min(max(1, round(val_fraction * len(mixed))), len(mixed) - 1) if val_fraction else 0
    splits = {TRAIN: sorted(mixed[count:])}
    if val_fraction and not count:
        print('note: the only image is trained on, and there is no val split; to score it: tools/test.py --split train')
    return splits | {VAL: sorted(mixed[:count])} if count else splits


def measured(row: Dataset, splits: dict[str, list[Record]]) -> tuple[Dataset, statistics.Scan]:
    """The row of the data set with the mean of its training images and its counts, and the scan of these images."""
    keep_own(row)  # so that labels can be read
    scan = statistics.scan(splits[TRAIN], f'reading {TRAIN}')
    found = scan.statistics
    if not found.images:
        end_with_faults(list(scan.faults.values()), len(scan.faults), 'images', 'nothing is written')
    _check_classes(found.pixels_per_class(row))
    counts = {split: len(records) for split, records in splits.items()}
    return keep_own(replace(row, mean_bgr=found.mean_bgr, splits=counts)), scan


def _check_classes(pixels: dict[str, int]) -> None:
    """Print the classes that no training image has. Raise UserError if fewer than two occur (masks of 0 and 255)."""
    absent = [name for name, count in pixels.items() if not count]
    if len(pixels) - len(absent) < 2:
        present = ', '.join(name for name in pixels if name not in absent) or 'no class'
        raise UserError(
            f'the labels of {TRAIN} hold only {present}, and 255, which is ignored, so there is nothing to learn; '
            'if they are masks of 0 and 255, replace 255 by 1'
        )
    if absent:
        print(f'note: no pixel of {TRAIN} is {" or ".join(absent)}')


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = command_parser('custom', __doc__)
    parser.add_argument('--data', type=Path, metavar='DIR', help='your images and labels; must be given')
    parser.add_argument(
        '--classes',
        metavar='FILE|N',
        help='file with a class name on each line, optionally with R G B; or the number of classes; must be given',
    )
    parser.add_argument(
        '--leave-out', type=_names, default=frozenset(), metavar='NAME[,NAME]',
        help='classes to ignore: their pixels become 255, and they leave the list of classes',
    )  # fmt: skip
    parser.add_argument('--name', default='custom', help='name of the data set (default: %(default)s)')
    parser.add_argument(
        '--val-fraction',
        type=float,
        default=VAL_FRACTION,
        metavar='F',
        help='share of the images for validation (default: %(default)s)',
    )
    parser.add_argument(
        '--size',
        type=size,
        metavar='WxH',
        help='scale to fit this size, keeping the aspect ratio (default: the size of the files)',
    )
    add_shared_arguments(parser, None, CROP_SIZES)
    return parser.parse_args(argv)


def _names(text: str) -> frozenset[str]:
    """The names in a text with commas between them."""
    return frozenset(composed(name.strip()) for name in text.split(',') if name.strip())


def main(argv: list[str] | None) -> None:
    """Prepare a data set of the user's own."""
    args = parse_args(argv)
    _check_given(args)
    args.out = args.out or DATA / args.name
    names = Names(tuple(read_classes(args.classes)), args.leave_out)
    labels = find_labels(args.data)
    check_names(labels, names, args.data)
    print(f'{args.data}: {_in_words(labels, names)}')
    splits = find_splits(labels, names, args.data, args.out, args.name, args.val_fraction, args.seed, args.size)
    classes, colours = zip(*names.kept, strict=True)
    unmeasured = Dataset(args.name, classes, colours, (0, 0, 0), {}, f'measured over {len(splits[TRAIN])} images')
    row, found = measured(unmeasured, splits)
    write(args, row, splits, {TRAIN: args.crop_size}, {TRAIN: found})
    if args.out.resolve() != (DATA / args.name).resolve():
        print(f'note: NETWORK@{args.name} and STAGE@{args.name} look for it at {DATA / args.name}: move it or put a link there')
    print('\n'.join(next_commands(args.name, () if args.lists_only or args.whole else args.crop_size)))


def _in_words(labels: Labels, names: Names) -> str:
    """The form and number of the labels and, if they have names, the value of uncovered pixels."""
    if labels.ready:
        return f'{labels.form} ({len(labels.files)} images)'
    none = names.uncovered == IGNORE_LABEL
    rest = 'ignored (255), as no class is called background' if none else names.kept[names.uncovered][0]
    return f'{labels.form} ({len(labels.files)} images); pixels that no class covers are {rest}'


def next_commands(name: str, crop_sizes: Sequence[int]) -> list[str]:
    """A command for each row of NEXT that can be trained: for the stage whose crop was written, or with CROP_SIZE=."""
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
    """Raise UserError for a missing option, or a NAME that cannot be used."""
    for option in ('data', 'classes'):
        if getattr(args, option) is None:
            found = find_labels(args.data).classes if args.data else {}
            names = f'; the labels have the names {", ".join(found)}: list those to learn, one a line' if found else ''
            raise UserError(f'--{option} is not given: make lmdb-custom DATA=FOLDER CLASSES=FILE (or their number){names}')
    if not NAME.fullmatch(args.name):
        raise UserError(f'--name {args.name}: use letters, digits, _ . and -')


if __name__ == '__main__':
    run_command(main, after_stop='the same command goes on')
