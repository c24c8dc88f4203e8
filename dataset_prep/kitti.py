"""Prepare the KITTI images that Ros et al. (WACV 2015) labelled (paper A.2): lists, LMDBs, and a contact sheet to look at.

DIR holds Training_00/{RGB,GT} and Validation_07/{RGB,GT}: images and labels of the same name, PNGs; labels in the 11 colours of
the paper's classes, black to ignore. 100 training and 46 test images, kept at their own size.
"""

import argparse
from pathlib import Path

from dataset_prep.command import add_shared_arguments, command_parser, data_folder, write
from dataset_prep.completeness import add_partial_argument, check_splits
from dataset_prep.datasets import dataset
from dataset_prep.lists import by_id, check_pairs, with_suffix
from dataset_prep.records import Record
from dataset_prep.trees import Tree, need_tree
from tools.support.errors import UserError, run_command
from tools.support.paths import DATA

CROP_SIZES = (628, 900)  # front end and joint training, paper A and A.2
FOLDERS = {'train': 'Training_00', 'test': 'Validation_07'}  # odometry sequences 00 and 07
IMAGES, LABELS = 'RGB', 'GT'
TREE = Tree('KITTI of Ros et al.', tuple(f'{folder}/{kind}' for folder in FOLDERS.values() for kind in (IMAGES, LABELS)))


def find_splits(data: Path, allow_partial: bool = False) -> dict[str, list[Record]]:
    """The records of train and test, sorted by name.

    Raises UserError if a file of a pair is missing, and for counts other than 100 and 46 unless `allow_partial`.
    """
    root = need_tree(data, TREE)
    splits = {split: _records(root / folder) for split, folder in FOLDERS.items()}
    check_splits(dataset('kitti'), splits, allow_partial)
    return splits


def _records(folder: Path) -> list[Record]:
    """The records of one sequence. Ids begin with its folder's name: both sequences count their frames from 0."""
    images, labels = (by_id(with_suffix(folder / kind, '.png'), lambda path: path.stem) for kind in (IMAGES, LABELS))
    if not images:
        raise UserError(f'{folder / IMAGES} holds no PNG; it should hold the frames of its sequence')
    check_pairs(images, labels, lambda name: folder / IMAGES / f'{name}.png', lambda name: folder / LABELS / f'{name}.png')
    return [Record(f'{folder.name}_{name}', image, labels[name], 'kitti', 'street_colours') for name, image in images.items()]


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = command_parser('kitti', __doc__)
    parser.add_argument('--data', type=Path, metavar='DIR', help='KITTI of Ros et al., unpacked; must be given')
    add_partial_argument(parser)
    add_shared_arguments(parser, DATA / 'kitti', CROP_SIZES)
    return parser.parse_args(argv)


def main(argv: list[str] | None) -> None:
    """Prepare KITTI."""
    args = parse_args(argv)
    splits = find_splits(data_folder(args, dataset('kitti')), args.allow_partial)
    write(args, dataset('kitti'), splits, {'train': args.crop_size})


if __name__ == '__main__':
    run_command(main, after_stop='the same command goes on')
