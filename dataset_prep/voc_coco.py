"""Prepare PASCAL VOC 2012, SBD and MS COCO 2014 as one training set (paper Sec. 5): list, LMDB, and a contact sheet to look at.

VOC and SBD lie as for dataset_prep.voc. COCO, unpacked or as the archives that are distributed:
annotations/instances_{train2014,val2014}.json      annotations_trainval2014.zip
train2014/*.jpg  val2014/*.jpg                      train2014.zip val2014.zip

Split train_aug_coco: VOC's train_aug and all images of COCO's train2014 and val2014 with at least one object of VOC's categories;
in the LMDB they are shuffled together by --seed. COCO's labels are drawn once, into OUT/coco_labels/; rules in coco.py.
--other-objects drawn-over draws objects of other categories as background, into OUT/coco_labels_drawn-over/.
"""

import argparse
from pathlib import Path

from dataset_prep.coco import COUNTS, LEFT, OTHER_OBJECTS, SETS, check_images, coco_records, draw_labels, read_set
from dataset_prep.command import add_shared_arguments, command_parser, data_folder, write
from dataset_prep.completeness import check_complete
from dataset_prep.datasets import dataset
from dataset_prep.records import Record
from dataset_prep.voc import CROP_SIZES, TRAIN_AUG, VAL, add_source_arguments, find_splits
from tools.support.errors import run_command
from tools.support.paths import DATA

SPLIT, LABELS = 'train_aug_coco', 'coco_labels'


def find_coco(
    data: Path, sets: list[str], out: Path, min_object_area: int, allow_partial: bool, other_objects: str = LEFT
) -> list[Record]:
    """The records of the COCO images, set by set, sorted by id. Their labels are drawn first.

    `other_objects`, one of coco.OTHER_OBJECTS, says how to draw; each way has its own folder of labels. Raises the errors of
    coco.py, and UserError for counts other than the published ones unless `allow_partial`.
    """
    records = []
    labels = out / (LABELS if other_objects == LEFT else f'{LABELS}_{other_objects}')
    for name in sets:
        coco = read_set(data, name, other_objects)
        check_complete('COCO 2014', {name: coco.listed}, COUNTS, allow_partial)
        check_images(coco)
        taken = coco_records(coco, draw_labels(coco, labels), min_object_area)
        print(f'COCO {name}: {len(taken)} of {coco.listed} images are taken')
        records += taken
    return records


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = command_parser('voc_coco', __doc__)
    add_source_arguments(parser)
    parser.add_argument('--coco', type=Path, metavar='DIR', help='COCO, unpacked or its archives (default: as --data)')
    parser.add_argument('--coco-sets', nargs='+', default=list(SETS), metavar='SET', help=f'default: {" ".join(SETS)}')
    parser.add_argument(
        '--min-object-area',
        type=int,
        default=0,
        metavar='PX',
        help='leave out COCO images whose objects cover fewer pixels (default: 0)',
    )
    parser.add_argument(
        '--other-objects',
        choices=OTHER_OBJECTS,
        default=LEFT,
        help='what "treated as background" means for categories that VOC lacks: not drawn, or drawn over other objects '
        '(default: %(default)s)',
    )
    add_shared_arguments(parser, DATA / 'pascal_voc', CROP_SIZES)
    return parser.parse_args(argv)


def main(argv: list[str] | None) -> None:
    """Prepare VOC 2012 with SBD and COCO."""
    args = parse_args(argv)
    data = data_folder(args, dataset('pascal_voc'), SPLIT)
    voc = find_splits(data, args.sbd, args.allow_partial, args.annotations)
    coco = find_coco(args.coco or data, args.coco_sets, args.out, args.min_object_area, args.allow_partial, args.other_objects)
    write(args, dataset('pascal_voc'), {SPLIT: voc[TRAIN_AUG] + coco, VAL: voc[VAL]}, {SPLIT: args.crop_size})


if __name__ == '__main__':
    run_command(main, after_stop='the same command goes on')
