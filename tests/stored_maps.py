"""LMDBs of made-up maps, and of images beside them."""

import shutil
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np

from dataset_prep.lmdb_store import stored_ids
from dataset_prep.lmdb_writer import FeatureWriter, write_lmdb
from dataset_prep.records import Record
from prototxt.lmdb_names import whole_images_of


def write_features(path: Path, rows: Iterable[tuple[str, np.ndarray, np.ndarray]], settings: dict) -> None:
    """Write (id, maps float32 (C, h, w), label uint8 (h, w)) rows as an LMDB at `path`, anew."""
    rows = list(rows)
    shutil.rmtree(path, ignore_errors=True)
    settings = {'files_sha256': 'of no file', 'mirror': False, 'label_stride': 8} | settings
    with FeatureWriter(path, [name for name, _, _ in rows], settings) as writer:
        for _, maps, label in rows:
            writer.add(maps, label)


def write_images_beside(maps: Path, size_hw: tuple[int, int], *, dataset: str, split: str, classes: int) -> Path:
    """Noise of `size_hw`, labelled at random, for each of the maps, without a margin, in the LMDB that belongs beside theirs."""
    random, records, folder = np.random.default_rng(0), [], maps.parent / 'images_of_maps'
    folder.mkdir(exist_ok=True)
    for name in stored_ids(maps):
        paths = folder / f'{name}.png', folder / f'{name}_label.png'
        cv2.imwrite(str(paths[0]), random.integers(0, 256, (*size_hw, 3), np.uint8))
        cv2.imwrite(str(paths[1]), random.integers(0, classes, size_hw, np.uint8))
        records.append(Record(name, *paths, dataset))
    out = maps.with_name(whole_images_of(split))
    write_lmdb(out, records, dataset=dataset, split=split, crop_size=0, margin_px=0)
    return out
