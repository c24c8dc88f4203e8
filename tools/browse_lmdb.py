#!/usr/bin/env python3
"""Print the manifest of an LMDB, and write a contact sheet of a few records as Caffe reads them.

For images the sheet shows the pixels with their margin, the label in the colours of the classes (white where ignored), and an
overlay; a line marks the image itself. For stored maps it shows the class with the largest score in each cell (or the mean of
other maps) and the label. The legend gives the share of each class in the labelled pixels: of all records for images, of the
shown records for maps.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

import argparse
from collections.abc import Sequence

import cv2
import numpy as np

from dataset_prep.contact_sheet import label_pictures, sheet_row, spread, write_sheet
from dataset_prep.datasets import IGNORE_LABEL, Dataset, dataset, read_own
from dataset_prep.datum import decode_datum
from dataset_prep.feature_geometry import label_planes
from dataset_prep.lmdb_store import id_of, read_manifest, read_sizes, reading, stored_keys
from tools.support.errors import UserError, run_command
from tools.support.sheets import WHITE, colorize
from tools.support.text_tables import columns

SHEET = 'contact_sheet.png'
HEIGHT, LINE_BGR = 280, (0, 0, 255)  # pixels of a picture; the line around the image itself


def chosen(path: Path, count: int, ids: Sequence[str]) -> list[tuple[str, np.ndarray]]:
    """(id, array) of the records `ids`, or of `count` at even distances. Raises UserError if a record is missing."""
    keys = stored_keys(path)
    by_id = {id_of(stored_key): stored_key for stored_key in keys}
    if unknown := [name for name in ids if name not in by_id]:
        raise UserError(f'{path} has no record {unknown[0]}; its first is {next(iter(by_id), "none")}')
    if not keys:
        raise UserError(f'{path} is empty; write it again')
    wanted = [by_id[name] for name in ids] or spread(keys, count)
    with reading(path) as transaction:
        return [(id_of(stored_key), decode_datum(transaction.get(stored_key, b''))) for stored_key in wanted]


def image_pictures(stacked: np.ndarray, size_hw: tuple[int, int] | None, facts: Dataset) -> list[np.ndarray]:
    """Image, label and overlay of a Datum of B, G, R and label, with a line around the image of `size_hw` in the middle."""
    image = np.ascontiguousarray(stacked[:3].transpose(1, 2, 0))
    pictures = [image, *label_pictures(image, stacked[3], facts)]
    if size_hw:
        top, left = ((stored - side) // 2 for stored, side in zip(stacked.shape[1:], size_hw, strict=True))
        for picture in pictures:
            width = 1 + stacked.shape[1] // HEIGHT  # wide enough to be seen after shrinking
            corner = left - width // 2 - 1, top - width // 2 - 1
            cv2.rectangle(picture, corner, (left + size_hw[1] + width // 2, top + size_hw[0] + width // 2), LINE_BGR, width)
    return pictures


def map_pictures(stacked: np.ndarray, planes: int, facts: Dataset) -> list[np.ndarray]:
    """The maps and the label of a Datum of stored maps; if it has labels of all pixels, the first one of each cell."""
    maps, label = stacked[:-planes], stacked[-planes].astype(np.uint8)
    if len(maps) == facts.num_classes:
        shown = colorize(maps.argmax(axis=0).astype(np.uint8), facts)
    else:
        grey = cv2.normalize(maps.mean(axis=0), None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
        shown = cv2.merge([grey] * 3)
    return [shown, colorize(label, facts, WHITE)]


def shares(counts: dict[str, int], ignored: int, facts: Dataset) -> list[tuple[str, tuple[int, int, int]]]:
    """Legend entries: each class with its share of the labelled pixels, and the ignored pixels with their share of all."""
    labelled = sum(counts.values())
    entries = [
        (f'{name} {100 * counts[name] / labelled:.1f} %' if labelled else name, colour)
        for name, colour in zip(facts.classes, facts.palette, strict=True)
    ]
    return [*entries, (f'ignored {100 * ignored / max(1, labelled + ignored):.1f} % of all', WHITE)]


def counted(manifest: dict, records: Sequence[tuple[str, np.ndarray]], facts: Dataset) -> tuple[dict[str, int], int]:
    """Pixels of each class and ignored pixels, from the manifest, else from the labels of `records`."""
    if 'pixels_per_class' in manifest:
        return manifest['pixels_per_class'], manifest['ignored_pixels']
    labels = np.concatenate([stacked[-label_planes(manifest) :].ravel() for _, stacked in records]).astype(np.uint8)
    histogram = np.bincount(labels, minlength=256)
    return {name: int(histogram[place]) for place, name in enumerate(facts.classes)}, int(histogram[IGNORE_LABEL])


def print_manifest(manifest: dict) -> None:
    """Print a line for each fact."""
    shown = dict(manifest)
    if 'pixels_per_class' in manifest:
        shown['pixels_per_class'] = ', '.join(f'{one} {count:,}' for one, count in manifest['pixels_per_class'].items())
    print('\n'.join(columns([(name, str(value)) for name, value in shown.items()])))


def browse(path: Path, out: Path, count: int, ids: Sequence[str]) -> None:
    """Print the manifest and write the sheet."""
    manifest = read_manifest(path)
    read_own(path.absolute().parent)
    facts = dataset(manifest['dataset'])
    records = chosen(path, count, ids)
    images, known = manifest['kind'] == 'images', read_sizes(path)
    rows = []
    for name, stacked in records:
        size = known.get(name)
        stored = f'{stacked.shape[2]}x{stacked.shape[1]}'
        title = f'{name} ({size[1]}x{size[0]}, stored {stored})' if size else f'{name} ({stored})'
        shown = image_pictures(stacked, size, facts) if images else map_pictures(stacked, label_planes(manifest), facts)
        rows.append(sheet_row(title, shown, HEIGHT))
    write_sheet(out, rows, shares(*counted(manifest, records, facts), facts))
    print_manifest(manifest)
    print(f'look at {out}')


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('lmdb', type=Path, metavar='LMDB', help='a folder that this toolkit wrote, such as data/camvid/train_628')
    parser.add_argument('--count', type=_count, default=6, metavar='N', help='records to show (default: 6)')
    parser.add_argument('--ids', nargs='+', default=[], metavar='ID', help='show these records')
    parser.add_argument('--out', type=Path, metavar='PNG', help=f'default: LMDB/{SHEET}')
    return parser.parse_args(argv)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is no number of records')
    return int(text)


def main(argv: list[str] | None) -> None:
    """Browse as the command line says."""
    args = parse_args(argv)
    browse(args.lmdb, args.out or args.lmdb / SHEET, args.count, args.ids)


if __name__ == '__main__':
    run_command(main)
