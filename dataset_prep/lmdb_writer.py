"""Writes LMDBs of images with their labels. feature_writer.py writes those of maps; growing.py holds what both share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset_prep.datasets import IGNORE_LABEL
from dataset_prep.datasets import dataset as dataset_row
from dataset_prep.datum import empty_raw_datum, png_datum
from dataset_prep.feature_writer import FeatureWriter
from dataset_prep.growing import GrowingLmdb
from dataset_prep.lmdb_store import LEFT_OUT, SIZES, check_disk_space, iterate, read_manifest, stored_bytes
from dataset_prep.order import shuffled
from dataset_prep.padding import pad_for_crops, padded_size
from dataset_prep.parallel import in_order
from dataset_prep.progress import progress
from dataset_prep.records import Record, check_ids, files_sha256, part_of, read_whole
from dataset_prep.statistics import Statistics, of_pair
from prototxt.shapes import MARGIN
from tools.support.errors import UserError
from tools.support.version import toolkit_version

__all__ = ['ENCODINGS', 'FeatureWriter', 'iterate', 'read_manifest', 'write_lmdb']

ENCODINGS = ('raw', 'png')
# Count up when the same settings give other records or files: the first for images at their own size, the second for scaled ones.
# An LMDB of another format is written again.
FORMAT, FORMAT_SCALED = 2, 3
SAMPLE = 8  # records that are encoded to estimate the size of a PNG-encoded LMDB
SPARE = 1.25  # factor on that estimate


@dataclass(frozen=True)
class Layout:
    """How an image becomes a Datum."""

    margin_px: int
    crop_size: int
    encoding: str

    def datum(self, record: Record) -> tuple[Statistics, bytes | memoryview]:
        """Statistics of a record before padding, and the bytes of its Datum."""
        image, label = read_whole(record)
        part = part_of(record, label)
        found = of_pair(part_of(record, image), part)
        datum, pixels = empty_raw_datum((4, *self.padded_size(part.shape)))
        pad_for_crops(image, label, self.margin_px, self.crop_size, record.columns, pixels)
        return found, png_datum(pixels) if self.encoding == 'png' else datum.data

    def padded_size(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the Datum of a record of `size_hw`."""
        return padded_size(size_hw, self.margin_px, self.crop_size)


def write_lmdb(
    path: Path,
    records: Sequence[Record],
    *,
    dataset: str,
    split: str,
    crop_size: int,
    margin_px: int = MARGIN,
    seed: int = 1,
    encoding: str | None = None,
    left_out: int = 0,
) -> dict:
    """Write the LMDB at `path`; returns its manifest. An LMDB with other settings is replaced when the new one is complete.

    One Datum per record, uint8 (4, H, W): B, G, R and label. The image is reflected by `margin_px` on each side, and further up
    to `crop_size` if it is smaller; the label there is 255. `encoding` is by default that of the data set. Records are shuffled
    by `seed`. `left_out`, the number of unusable images, goes into the manifest. Uses all cores; memory does not grow with the
    records; a killed run goes on. Raises UserError for bad records, an unknown encoding, or too little disk space (before
    writing).
    """
    facts = dataset_row(dataset)
    encoding = encoding or facts.encoding
    if encoding not in ENCODINGS:
        raise UserError(f'no encoding {encoding}; there are: {", ".join(ENCODINGS)}')
    path = Path(path)
    check_ids(records, str(path))
    layout, records = Layout(margin_px, crop_size, encoding), shuffled(records, seed)
    settings = {
        'kind': 'images', 'format': FORMAT_SCALED if any(record.size_wh for record in records) else FORMAT,
        'dataset': dataset, 'split': split, 'classes': facts.num_classes, 'channels': 4,
        'crop_size': crop_size, 'margin_px': margin_px, 'seed': seed, 'encoding': encoding, 'ignore_label': IGNORE_LABEL,
        'files_sha256': files_sha256(records),
    }  # fmt: skip
    if left_out:
        settings[LEFT_OUT] = left_out
    with GrowingLmdb(path, [record.id for record in records], settings) as lmdb:
        if not lmdb.whole:
            _write(lmdb, records, layout)
    return read_manifest(path)


def _write(lmdb: GrowingLmdb, records: Sequence[Record], layout: Layout) -> None:
    """Write the missing Datums, and put the statistics into the manifest."""
    facts, title = dataset_row(lmdb.settings['dataset']), lmdb.path.name
    missing = records[lmdb.done :]
    if missing:
        needed = _expected_bytes(layout, missing)
        check_disk_space(lmdb.path, needed)
        lmdb.reserve(needed)
    counts = Statistics.from_json(lmdb.note) if lmdb.note else Statistics.nothing()
    for found, datum in progress(in_order(layout.datum, missing), title, len(records), done=lmdb.done):
        counts += found
        lmdb.put(datum, counts.as_json())
    sizes = [record.size_hw for record in records]
    lmdb.found = {
        'min_side_hw': np.min([layout.padded_size(size) for size in sizes], axis=0).tolist(),
        'mean_bgr': counts.mean_bgr,
        'pixels_per_class': counts.pixels_per_class(facts),
        'ignored_pixels': counts.ignored_pixels,
        'tool_version': toolkit_version(),
    }
    lmdb.files[SIZES] = ''.join(f'{one.id}\t{height}\t{width}\n' for one, (height, width) in zip(records, sizes, strict=True))


def _expected_bytes(layout: Layout, records: Sequence[Record]) -> int:
    """Bytes of the LMDB on disk: exact (without LMDB's tree) for raw Datums, estimated from the first records for PNGs."""
    raw = [stored_bytes(4 * height * width) for height, width in (layout.padded_size(record.size_hw) for record in records)]
    if layout.encoding == 'raw':
        return sum(raw)
    sample = sum(len(datum) for _, datum in in_order(layout.datum, records[:SAMPLE]))
    return int(SPARE * sum(raw) * sample / sum(raw[:SAMPLE]))
