"""Prepare PASCAL VOC 2012 with SBD, the training set of the paper's Sec. 4: lists, LMDBs, and a contact sheet to look at.

DIR holds, unpacked or as the archives that are distributed:
VOC 2012  VOCdevkit/VOC2012/{JPEGImages,SegmentationClass,ImageSets/Segmentation}   VOCtrainval_11-May-2012.tar
SBD       benchmark_RELEASE/dataset/{img,cls,train.txt,val.txt}                     benchmark.tgz (--sbd if it lies elsewhere)
VOC test  VOCdevkit/VOC2012 with ImageSets/Segmentation/test.txt                    VOC2012test.tar, only to label the test set

Splits: train_aug is VOC train and all of SBD without the images of VOC val, in the order of ids: 10,582 images. The 1,464 images
of VOC train have VOC's labels, where 255 marks borders and difficult objects. The others have SBD's labels, which have no 255.
val is VOC val. Some images of VOC train have a label in SBD too, and the paper does not say which one it uses; --annotations
hariharan takes SBD's.
"""

import argparse
from pathlib import Path

from dataset_prep.command import add_shared_arguments, command_parser, data_folder, write
from dataset_prep.completeness import add_partial_argument, check_complete, check_splits
from dataset_prep.datasets import dataset
from dataset_prep.lists import read_ids
from dataset_prep.records import Record
from dataset_prep.sbd import COUNTS as SBD_COUNTS
from dataset_prep.sbd import TREE as SBD_TREE
from dataset_prep.sbd import sbd_ids, sbd_record
from dataset_prep.trees import Tree, find_tree, need_tree
from tools.support.errors import Fault, UserError, end_with_faults, run_command
from tools.support.paths import DATA

CROP_SIZES = (500,)  # fyu/dilation, train.py; the paper does not say
LISTS = 'ImageSets/Segmentation'
TREE = Tree(
    'PASCAL VOC 2012',
    (f'{LISTS}/train.txt', f'{LISTS}/val.txt', 'JPEGImages', 'SegmentationClass'),
    {'VOCtrainval_11-May-2012.tar': '6cd6e144f989b92b3379bac3b3de84fd'},  # md5; torchvision/datasets/voc.py
    'VOC2012',
)
TEST_TREE = Tree('the test set of VOC 2012', (f'{LISTS}/test.txt', 'JPEGImages'), {'VOC2012test.tar': None}, 'VOC2012')
COUNTS = {'train': 1464, 'val': 1449}  # martinkersner/train-DeepLab, exper/voc12/list/original, counted
TRAIN_AUG, VAL, TEST = 'train_aug', 'val', 'test'
VOC_FIRST, SBD_FIRST = ANNOTATIONS = ('voc', 'hariharan')  # whose label an image has that both have annotated


def find_splits(
    data: Path, sbd: Path | None = None, allow_partial: bool = False, annotations: str = VOC_FIRST
) -> dict[str, list[Record]]:
    """The records of train_aug and val, and of test if it is there, from the folders of VOC and SBD (`sbd`, by default `data`).

    `annotations`, one of ANNOTATIONS: whose labels are used for the images that are in VOC train and in SBD. Raises UserError if
    something is missing or listed twice, and for counts other than the published ones unless `allow_partial`.
    """
    voc_root = need_tree(data, TREE, not allow_partial)
    sbd_root = need_tree(sbd or data, SBD_TREE, not allow_partial)
    voc = {split: read_ids(voc_root / LISTS / f'{split}.txt') for split in COUNTS}
    extra = sbd_ids(sbd_root)
    for what, lists, complete in (('VOC 2012', voc, COUNTS), ('SBD', extra, SBD_COUNTS)):
        check_complete(what, {split: len(ids) for split, ids in lists.items()}, complete, allow_partial)
    _check_apart(voc, voc_root)
    own = set(voc['train'])
    of_sbd = set(extra['train']) | set(extra['val'])
    union = sorted((own | of_sbd) - set(voc['val']))
    by_voc = own if annotations == VOC_FIRST else own - of_sbd
    splits = {
        TRAIN_AUG: [voc_record(voc_root, name) if name in by_voc else sbd_record(sbd_root, name) for name in union],
        VAL: [voc_record(voc_root, name) for name in voc['val']],
    }
    if test_root := find_tree(data, TEST_TREE):
        splits[TEST] = [voc_record(test_root, name, label=False) for name in read_ids(test_root / LISTS / 'test.txt')]
    check_splits(dataset('pascal_voc'), splits, allow_partial)
    for records in splits.values():
        check_files(records)
    return splits


def voc_record(root: Path, name: str, label: bool = True) -> Record:
    """The record of an image of VOC 2012."""
    return Record(
        name, root / 'JPEGImages' / f'{name}.jpg', root / 'SegmentationClass' / f'{name}.png' if label else None, 'pascal_voc'
    )


def check_files(records: list[Record]) -> None:
    """Raise UserError with the files of a list that do not exist."""
    listed = [path for record in records for path in (record.image, record.label) if path]
    missing = [Fault(f'no file at {path}') for path in listed if not path.is_file()]
    end_with_faults(missing, len(listed), 'files listed', 'unpack the archive anew')


def _check_apart(voc: dict[str, list[str]], root: Path) -> None:
    """Raise UserError if VOC's lists overlap, because then they are not VOC's."""
    if both := sorted(set(voc['train']) & set(voc['val'])):
        raise UserError(f'{root / LISTS}: {both[0]} is in train.txt and in val.txt; unpack VOC anew')


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for the folders of VOC and SBD and for the annotations."""
    parser.add_argument('--data', type=Path, metavar='DIR', help='VOC 2012, unpacked or its archive; must be given')
    parser.add_argument('--sbd', type=Path, metavar='DIR', help='SBD, unpacked or its archive (default: as --data)')
    parser.add_argument(
        '--annotations',
        choices=ANNOTATIONS,
        default=VOC_FIRST,
        help='whose labels to use for images of VOC train that SBD (Hariharan et al.) has annotated too (default: %(default)s)',
    )
    add_partial_argument(parser)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = command_parser('voc', __doc__)
    add_source_arguments(parser)
    add_shared_arguments(parser, DATA / 'pascal_voc', CROP_SIZES)
    return parser.parse_args(argv)


def main(argv: list[str] | None) -> None:
    """Prepare VOC 2012 with SBD."""
    args = parse_args(argv)
    splits = find_splits(data_folder(args, dataset('pascal_voc')), args.sbd, args.allow_partial, args.annotations)
    write(args, dataset('pascal_voc'), splits, {TRAIN_AUG: args.crop_size})


if __name__ == '__main__':
    run_command(main, after_stop='the same command goes on')
