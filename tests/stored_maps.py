"""Writes LMDBs of made-up maps, made-up images as files, and LMDBs of images beside the maps."""

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
    """Write (id, maps float32 (C, h, w), label uint8 (h, w)) rows as an LMDB at `path`; replaces what is there."""
    rows = list(rows)
    shutil.rmtree(path, ignore_errors=True)
    settings = {'files_sha256': 'of no file', 'mirror': False, 'label_stride': 8} | settings
    with FeatureWriter(path, [name for name, _, _ in rows], settings) as writer:
        for _, maps, label in rows:
            writer.add(maps, label)


def write_pairs(folder: Path, pairs: Iterable[tuple[str, np.ndarray, np.ndarray]], dataset: str) -> list[Record]:
    """Write (id, image uint8 (H, W, 3), label uint8 (H, W)) rows as PNGs to `folder`; returns their records."""
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for name, image, label in pairs:
        records.append(Record(name, folder / f'{name}.png', folder / f'{name}_label.png', dataset))
        cv2.imwrite(str(records[-1].image), image)
        cv2.imwrite(str(records[-1].label), label)
    return records


def write_images_beside(maps: Path, size_hw: tuple[int, int], *, dataset: str, split: str, classes: int) -> Path:
    """An LMDB beside that of the maps, with an image for each of them: noise of `size_hw` pixels without a margin."""
    random = np.random.default_rng(0)
    pairs = [
        (name, random.integers(0, 256, (*size_hw, 3), np.uint8), random.integers(0, classes, size_hw, np.uint8))
        for name in stored_ids(maps)
    ]
    out = maps.with_name(whole_images_of(split))
    records = write_pairs(maps.parent / 'images_of_maps', pairs, dataset)
    write_lmdb(out, records, dataset=dataset, split=split, crop_size=0, margin_px=0)
    return out
