"""The steps that every data set takes once its records are known: read all, list the splits, write LMDBs, show what was found."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from dataset_prep import statistics
from dataset_prep.contact_sheet import write_contact_sheet
from dataset_prep.datasets import Dataset
from dataset_prep.lmdb_writer import ENCODINGS, write_lmdb
from dataset_prep.records import Record, check_ids, save_split
from prototxt.lmdb_names import whole_images_of
from prototxt.shapes import MARGIN, check_crop_size
from tools.support.errors import UserError

CONTACT_SHEET = 'contact_sheet.png'
WHOLE = 0  # in place of the side of a crop


def prepare(
    out: Path,
    facts: Dataset,
    splits: dict[str, list[Record]],
    crop_sizes: Mapping[str, Sequence[int]],
    encoding: str | None,
    seed: int,
    counted: Mapping[str, statistics.Statistics] | None = None,
) -> dict[str, statistics.Statistics]:
    """Read every file of `splits`, then write `<out>/<split>.json`, an LMDB for each of `crop_sizes` and the contact sheet.

    `crop_sizes` are the sides of training crops by split, the LMDBs `<out>/<split>_<crop>/`; WHOLE for the images as they are,
    without a margin, `<out>/<split>_whole/`. Prints a summary. Nothing is written when a file is bad. A split of parts of images
    is not read: the images are in another split, whole; nor is one of which `counted` has the statistics.
    """
    lmdbs = {out / _lmdb_name(split, side): (split, side) for split, sides in crop_sizes.items() for side in sides}
    for _, crop_size in lmdbs.values():
        if crop_size != WHOLE:
            check_crop_size(crop_size)
    _check_disjoint(splits)
    whole = {split: records for split, records in splits.items() if not all(record.columns for record in records)}
    known = counted or {}
    counts = {split: known.get(split) or statistics.scan(records, f'reading {split}') for split, records in whole.items()}
    for split, records in splits.items():
        save_split(out, split, records)
    for path, (split, crop_size) in lmdbs.items():
        write_lmdb(
            path, splits[split], dataset=facts.name, split=split, crop_size=crop_size,
            margin_px=0 if crop_size == WHOLE else MARGIN, encoding=encoding, seed=seed,
        )  # fmt: skip
    write_contact_sheet(out / CONTACT_SHEET, splits, facts)
    _print_summary(facts, counts, list(lmdbs))
    print(f'look at {out / CONTACT_SHEET}')
    return counts


def add_arguments(parser: argparse.ArgumentParser, default_out: Path | None, crop_sizes: Sequence[int]) -> None:
    """The options that all data sets have."""
    parser.add_argument('--out', type=Path, default=default_out, metavar='DIR', help='folder to write')
    parser.add_argument(
        '--crop-size', type=int, nargs='+', default=list(crop_sizes), metavar='PX', help='sides of training crops, one LMDB each'
    )
    parser.add_argument('--whole', action='store_true', help='LMDBs of the images as they are, which CRF-RNN reads, not of crops')
    parser.add_argument('--encoding', choices=ENCODINGS, help="png is smaller, raw is faster (default: the data set's row)")
    parser.add_argument('--val-lmdb', action='store_true', help='LMDBs of the validation split too, which test.prototxt reads')
    parser.add_argument('--seed', type=int, default=1, help='of the order of records in the LMDBs')


def lmdbs_asked(args: argparse.Namespace, facts: Dataset, crop_sizes: Mapping[str, Sequence[int]]) -> Mapping[str, Sequence[int]]:
    """Sides of crops by split: those of the training splits, and with --val-lmdb all of them of the validation split too.

    With --whole there are no crops.
    """
    if args.whole:
        crop_sizes = dict.fromkeys(crop_sizes, [WHOLE])
    if not args.val_lmdb:
        return crop_sizes
    return {**crop_sizes, facts.val: sorted({side for sides in crop_sizes.values() for side in sides})}


def _lmdb_name(split: str, crop_size: int) -> str:
    return whole_images_of(split) if crop_size == WHOLE else f'{split}_{crop_size}'


def _check_disjoint(splits: dict[str, list[Record]]) -> None:
    """Raise UserError for an empty split, or an id that is in two."""
    owner: dict[str, str] = {}
    for split, records in splits.items():
        check_ids(records, f'split {split}')
        for record in records:
            if record.id in owner:
                raise UserError(f'{record.id} is in split {owner[record.id]} and in split {split}; keep it in one')
            owner[record.id] = split


def _print_summary(facts: Dataset, counts: dict[str, statistics.Statistics], lmdbs: Sequence[Path]) -> None:
    print(statistics.table(facts, counts))
    print('subtracted mean     ' + ' '.join(f'{value:.2f}' for value in facts.mean_bgr) + ' (B G R)')
    for folder in lmdbs:
        print(f'{folder}: {(folder / "data.mdb").stat().st_size / 1e6:.0f} MB')
