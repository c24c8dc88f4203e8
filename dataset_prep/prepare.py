"""The steps for every data set once its records are known: read all files, list the splits, write LMDBs, show statistics."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from dataset_prep import statistics
from dataset_prep.contact_sheet import write_contact_sheet
from dataset_prep.datasets import DATASETS, OWN_ROW, Dataset, own_json
from dataset_prep.lmdb_writer import ENCODINGS, write_lmdb
from dataset_prep.records import Record, check_ids, save_split
from dataset_prep.statistics import Scan, Statistics
from prototxt.lmdb_names import whole_images_of
from prototxt.shapes import MARGIN, check_crop_size
from tools.support.atomic import whole_file
from tools.support.errors import UserError, end_with_faults

CONTACT_SHEET = 'contact_sheet.png'
WHOLE = 0  # in place of the side of a crop


def prepare(
    out: Path,
    facts: Dataset,
    splits: dict[str, list[Record]],
    crop_sizes: Mapping[str, Sequence[int]],
    encoding: str | None,
    seed: int,
    counted: Mapping[str, Scan] | None = None,
) -> dict[str, Statistics]:
    """Read every file of `splits`. Write `<out>/<split>.json`, the LMDBs and the contact sheet, and print a summary.

    `crop_sizes`: sides of training crops by split, for the LMDBs `<out>/<split>_<crop>/`; WHOLE is for `<out>/<split>_whole/`,
    the images without a margin. A user's own data set also gets its row. A split is not read if `counted` has its scan, or if its
    records are parts of images, because another split has the whole images. The lists name all records. Bad records are in no
    LMDB, and a UserError names them at the end. If a split has no good record, nothing is written.
    """
    lmdbs = {out / _lmdb_name(split, side): (split, side) for split, sides in crop_sizes.items() for side in sides}
    for _, crop_size in lmdbs.values():
        if crop_size != WHOLE:
            check_crop_size(crop_size)
    _check_disjoint(splits)
    whole = {split: records for split, records in splits.items() if not all(record.columns for record in records)}
    known = counted or {}
    scans = {split: known.get(split) or statistics.scan(records, f'reading {split}') for split, records in whole.items()}
    unusable = {record.image for split, scan in scans.items() for record in splits[split] if record.id in scan.faults}
    good = {split: [record for record in records if record.image not in unusable] for split, records in splits.items()}
    faults, total = [fault for scan in scans.values() for fault in scan.faults.values()], sum(map(len, whole.values()))
    if not all(good.values()):
        end_with_faults(faults, total, 'images', 'nothing is written, as a split has no others')
    for split, records in splits.items():
        save_split(out, split, records)
    if facts.name not in DATASETS:
        with whole_file(out / OWN_ROW) as temporary:
            temporary.write_text(own_json(facts), encoding='utf-8')
    for path, (split, crop_size) in lmdbs.items():
        write_lmdb(
            path, good[split], dataset=facts.name, split=split, crop_size=crop_size, seed=seed, encoding=encoding,
            margin_px=0 if crop_size == WHOLE else MARGIN, left_out=len(splits[split]) - len(good[split]),
        )  # fmt: skip
    write_contact_sheet(out / CONTACT_SHEET, good, facts)
    counts = {split: scan.statistics for split, scan in scans.items()}
    _print_summary(facts, counts, list(lmdbs))
    print(f'look at {out / CONTACT_SHEET}')
    end_with_faults(faults, total, 'images', 'the LMDBs hold the others; mend these and run the same command again')
    return counts


def add_arguments(parser: argparse.ArgumentParser, default_out: Path | None, crop_sizes: Sequence[int]) -> None:
    """The options that all data sets have."""
    folder = f'data/{default_out.name if default_out else "NAME"}'
    parser.add_argument('--out', type=Path, default=default_out, metavar='DIR', help=f'folder to write (default: {folder})')
    parser.add_argument(
        '--crop-size',
        type=int,
        nargs='+',
        default=list(crop_sizes),
        metavar='PX',
        help=f'sides of the training crops in pixels; each gets an LMDB (default: {" ".join(map(str, crop_sizes))})',
    )
    parser.add_argument('--whole', action='store_true', help='write LMDBs of whole images, which CRF-RNN reads, instead of crops')
    parser.add_argument('--encoding', choices=ENCODINGS, help="png is smaller, raw is faster (default: the data set's row)")
    parser.add_argument(
        '--val-lmdb', action='store_true', help='also write LMDBs of the validation split, which test.prototxt reads'
    )
    parser.add_argument('--seed', type=int, default=1, help='seed of the order of records in the LMDBs (default: %(default)s)')


def lmdbs_asked(args: argparse.Namespace, facts: Dataset, crop_sizes: Mapping[str, Sequence[int]]) -> Mapping[str, Sequence[int]]:
    """Crop sizes by split: those of the training splits, and with --val-lmdb all of them for the validation split too.

    With --whole there are no crops. Raises UserError if there is no validation split.
    """
    if args.whole:
        crop_sizes = dict.fromkeys(crop_sizes, [WHOLE])
    if not args.val_lmdb:
        return crop_sizes
    if facts.val not in facts.splits:
        raise UserError(f'{facts.name} has no val split, only {", ".join(facts.splits)}; leave out --val-lmdb (VAL_LMDB=)')
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


def _print_summary(facts: Dataset, counts: dict[str, Statistics], lmdbs: Sequence[Path]) -> None:
    print(statistics.table(facts, counts))
    print('subtracted mean     ' + ' '.join(f'{value:.2f}' for value in facts.mean_bgr) + ' (B G R)')
    for folder in lmdbs:
        print(f'{folder}: {(folder / "data.mdb").stat().st_size / 1e6:.0f} MB')
