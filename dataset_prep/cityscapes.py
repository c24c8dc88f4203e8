"""Prepare Cityscapes (paper A.3): lists, LMDBs, and a contact sheet to look at.

DIR holds, unpacked or as the archives that are distributed (leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip):
leftImg8bit/SPLIT/CITY/CITY_SEQ_FRAME_leftImg8bit.png       images, 2048x1024
gtFine/SPLIT/CITY/CITY_SEQ_FRAME_gtFine_labelIds.png        labels; their 34 ids are reduced to the 19 classes here

Splits: train 2,975, val 500 and test 1,525 images; test has no labels. train_628 is for the front end. train_halves_1396 is for
joint training. It has the left and the right half of each image, columns 0-1023 and 1024-2047, with a margin of 186 pixels on
each side. At the borders of the image the margin is reflected; in the middle it is 186 columns of the other half. So a half and
its margin have 1396x1396 pixels, columns 0-1395 or 1024-2419 of the padded image (2420x1396). The authors' test.py cuts the same
two tiles. The paper only says "halves of images (input size 1396x1396, including padding)". For the context module,
tools/extract_features.py reads the whole images from their files.
"""

import argparse
from dataclasses import replace
from pathlib import Path

from dataset_prep.command import add_shared_arguments, command_parser, data_folder, write
from dataset_prep.completeness import add_partial_argument, check_splits
from dataset_prep.datasets import dataset
from dataset_prep.lists import by_id, check_pairs
from dataset_prep.records import Record
from dataset_prep.trees import Tree, need_tree
from tools.support.errors import Fault, UserError, attempt, run_command
from tools.support.paths import DATA

CROP_SIZES = (628,)  # front end, paper A
WIDTH = 2048  # of every image
HALVES_CROP_SIZE = 1396  # joint training, paper A.3
IMAGES, LABELS = 'leftImg8bit', 'gtFine'
IMAGE_END, LABEL_END = '_leftImg8bit.png', '_gtFine_labelIds.png'
TRAIN, HALVES, VAL, TEST = 'train', 'train_halves', 'val', 'test'
IMAGE_TREE = Tree('images of Cityscapes', (f'{IMAGES}/{TRAIN}',), {'leftImg8bit_trainvaltest.zip': None})
LABEL_TREE = Tree('labels of Cityscapes', (f'{LABELS}/{TRAIN}',), {'gtFine_trainvaltest.zip': None})


def find_splits(data: Path, allow_partial: bool = False) -> dict[str, list[Record]]:
    """The records of train, of its halves, and of val and test if they exist, sorted by name.

    Raises UserError if a file of a pair is missing, and for counts other than the published ones unless `allow_partial`.
    """
    images = need_tree(data, IMAGE_TREE) / IMAGES
    labels = need_tree(data, LABEL_TREE) / LABELS
    splits = {TRAIN: _records(images / TRAIN, labels / TRAIN)}
    splits[HALVES] = [half for record in splits[TRAIN] for half in halves(record)]
    if (images / VAL).is_dir():
        splits[VAL] = _records(images / VAL, labels / VAL)
    if (images / TEST).is_dir():
        splits[TEST] = _records(images / TEST, None)
    check_splits(dataset('cityscapes'), splits, allow_partial)
    return splits


def halves(record: Record) -> list[Record]:
    """The left and the right half of an image; for an odd width the right half has one more column.

    An unreadable image, which its own split reports, is assumed to have the usual width of Cityscapes.
    """
    found = attempt(lambda one: one.size_hw[1], record)
    width = WIDTH if isinstance(found, Fault) else found
    sides = {'left': (0, width // 2), 'right': (width // 2, width)}
    return [replace(record, id=f'{record.id}_{side}', columns=columns) for side, columns in sides.items()]


def _records(images: Path, labels: Path | None) -> list[Record]:
    """The records of one split, without labels if it has none."""
    found = by_id(images.glob(f'*/*{IMAGE_END}'), lambda path: path.name.removesuffix(IMAGE_END))
    if not found:
        raise UserError(f'{images} holds no CITY/*{IMAGE_END}; unpack leftImg8bit_trainvaltest.zip anew')
    if labels is None:
        return [Record(name, path, None, 'cityscapes', 'cityscapes_ids') for name, path in found.items()]
    truth = by_id(labels.glob(f'*/*{LABEL_END}'), lambda path: path.name.removesuffix(LABEL_END))

    def at(folder: Path, end: str, name: str) -> Path:
        return folder / name.split('_')[0] / f'{name}{end}'

    check_pairs(found, truth, lambda name: at(images, IMAGE_END, name), lambda name: at(labels, LABEL_END, name))
    return [Record(name, path, truth[name], 'cityscapes', 'cityscapes_ids') for name, path in found.items()]


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = command_parser('cityscapes', __doc__)
    parser.add_argument('--data', type=Path, metavar='DIR', help='Cityscapes, unpacked or its archives; must be given')
    parser.add_argument(
        '--halves-crop-size',
        type=int,
        nargs='*',
        default=[HALVES_CROP_SIZE],
        metavar='PX',
        help=f'like --crop-size, for the halves; without a number, no LMDB of halves (default: {HALVES_CROP_SIZE})',
    )
    add_partial_argument(parser)
    add_shared_arguments(parser, DATA / 'cityscapes', CROP_SIZES)
    return parser.parse_args(argv)


def main(argv: list[str] | None) -> None:
    """Prepare Cityscapes."""
    args = parse_args(argv)
    splits = find_splits(data_folder(args, dataset('cityscapes')), args.allow_partial)
    crop_sizes = {TRAIN: args.crop_size, HALVES: args.halves_crop_size}
    write(args, dataset('cityscapes'), splits, crop_sizes)


if __name__ == '__main__':
    run_command(main, after_stop='the same command goes on')
