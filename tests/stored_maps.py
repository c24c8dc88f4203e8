"""LMDBs of made-up maps."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dataset_prep.lmdb_writer import FeatureWriter


def write_features(path: Path, rows: Iterable[tuple[str, np.ndarray, np.ndarray]], settings: dict) -> None:
    """Write (id, maps float32 (C, h, w), label uint8 (h, w)) rows as an LMDB at `path`, anew."""
    rows = list(rows)
    shutil.rmtree(path, ignore_errors=True)
    settings = {'files_sha256': 'of no file', 'mirror': False, 'label_stride': 8} | settings
    with FeatureWriter(path, [name for name, _, _ in rows], settings) as writer:
        for _, maps, label in rows:
            writer.add(maps, label)
