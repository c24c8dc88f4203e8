"""The one writer of LMDBs that Caffe trains on: images with their labels here, feature maps with theirs in feature_writer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset_prep.datasets import IGNORE_LABEL
from dataset_prep.datasets import dataset as dataset_row
from dataset_prep.datum import png_datum, raw_datum
from dataset_prep.feature_writer import FeatureWriter, write_features
from dataset_prep.lmdb_store import (
    LmdbWriter,
    check_disk_space,
    existing,
    iterate,
    key,
    read_manifest,
    stored_bytes,
    write_manifest,
)
from dataset_prep.order import list_sha256, shuffled
from dataset_prep.padding import pad_for_crops, padded_size
from dataset_prep.parallel import in_order
from dataset_prep.progress import progress
from dataset_prep.records import Record, check_ids, files_sha256, part_of, read_whole
from dataset_prep.statistics import Statistics, of_pair, total
from prototxt.shapes import MARGIN
from tools.support.atomic import whole_folder
from tools.support.errors import UserError

__all__ = ['DEFAULT_ENCODING', 'ENCODERS', 'FeatureWriter', 'iterate', 'read_manifest', 'write_features', 'write_lmdb']

ENCODERS = {'raw': raw_datum, 'png': png_datum}
DEFAULT_ENCODING = 'raw'
SAMPLE = 8  # records that are encoded to estimate the size of a PNG-encoded LMDB
SPARE = 1.25  # by which the estimate is raised


@dataclass(frozen=True)
class Layout:
    """How an image becomes a Datum."""

    margin_px: int
    crop_size: int
    encoding: str

    def datum(self, record: Record) -> tuple[Statistics, bytes]:
        """Statistics of a record before padding, and its Datum."""
        image, label = read_whole(record)
        padded = pad_for_crops(image, label, self.margin_px, self.crop_size, record.columns)
        return of_pair(part_of(record, image), part_of(record, label)), ENCODERS[self.encoding](padded)

    def padded_size(self, record: Record) -> tuple[int, int]:
        """Height and width of the Datum of a record."""
        return padded_size(record.size_hw, self.margin_px, self.crop_size)


def write_lmdb(
    path: Path,
    records: Sequence[Record],
    *,
    dataset: str,
    split: str,
    crop_size: int,
    margin_px: int = MARGIN,
    seed: int = 1,
    encoding: str = DEFAULT_ENCODING,
) -> dict:
    """Write the LMDB at `path` and return its manifest; one made with other settings is replaced when the new one is whole.

    One Datum a record, uint8 (4, H, W): B, G, R and label; image reflected by `margin_px` on each side and on to `crop_size`
    where it is smaller, label 255 there. Records are shuffled by `seed`. Uses all cores; memory does not grow with the records.
    Raises UserError for bad records, an unknown encoding, or too little disk space (before anything is written).
    """
    if encoding not in ENCODERS:
        raise UserError(f'no encoding {encoding}; there are: {", ".join(ENCODERS)}')
    path = Path(path)
    check_ids(records, str(path))
    layout, records = Layout(margin_px, crop_size, encoding), shuffled(records, seed)
    settings = {
        'kind': 'images', 'dataset': dataset, 'split': split, 'classes': dataset_row(dataset).num_classes, 'channels': 4,
        'crop_size': crop_size, 'margin_px': margin_px, 'seed': seed, 'encoding': encoding, 'ignore_label': IGNORE_LABEL,
        'count': len(records), 'list_sha256': list_sha256(record.id for record in records), 'files_sha256': files_sha256(records),
    }  # fmt: skip
    return existing(path, settings) or _write(path, records, layout, settings)


def _write(path: Path, records: Sequence[Record], layout: Layout, settings: dict) -> dict:
    """Write the LMDB, whole or not at all; its manifest."""
    sizes = [layout.padded_size(record) for record in records]
    needed = _expected_bytes(layout, records, sizes)
    check_disk_space(path, needed)
    with whole_folder(path) as folder:
        counts = _write_records(folder, records, layout, needed, path.name)
        found = {
            'min_side_hw': np.min(sizes, axis=0).tolist(),
            'mean_bgr': counts.mean_bgr,
            'pixels_per_class': counts.pixels_per_class(dataset_row(settings['dataset'])),
            'ignored_pixels': counts.ignored_pixels,
        }
        write_manifest(folder, {**settings, **found})
    return read_manifest(path)


def _write_records(folder: Path, records: Sequence[Record], layout: Layout, needed: int, title: str) -> Statistics:
    """Write one Datum a record, in order; the Statistics of all."""
    store = LmdbWriter(folder, needed)
    try:
        data = enumerate(progress(in_order(layout.datum, records), title, len(records)))
        counts = total(_stored(store, key(index, records[index].id), *pair) for index, pair in data)
        store.flush()
    finally:
        store.close()
    return counts


def _stored(store: LmdbWriter, stored_key: bytes, counts: Statistics, datum: bytes) -> Statistics:
    store.put(stored_key, datum)
    return counts


def _expected_bytes(layout: Layout, records: Sequence[Record], sizes: Sequence[tuple[int, int]]) -> int:
    """Bytes the LMDB takes on disk: exact but for LMDB's tree when raw, estimated from the first records when encoded."""
    raw = [stored_bytes(4 * height * width) for height, width in sizes]
    if layout.encoding == 'raw':
        return sum(raw)
    sample = sum(len(datum) for _, datum in in_order(layout.datum, records[:SAMPLE]))
    return int(SPARE * sum(raw) * sample / sum(raw[:SAMPLE]))
