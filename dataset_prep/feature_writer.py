"""LMDBs of feature maps: float Datums of C channels and the label at stride 8, all of one size; a killed run goes on where it was.

While it grows, the LMDB is the hidden folder `.NAME.part` beside `NAME`, with the settings that made it; it is renamed when whole.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from dataset_prep.datum import float_datum
from dataset_prep.lmdb_store import LmdbWriter, check_disk_space, key, read_manifest, stored_bytes, write_manifest
from dataset_prep.order import list_sha256
from tools.support.errors import UserError

SETTINGS = 'settings.json'


class FeatureWriter:
    """Writes the maps of `ids`, in that order, to `path`; use it in a `with`, which makes `path` whole once all are there.

    `settings` say what the maps are; they become the manifest. A part of an earlier run with the same settings and ids is
    continued: `missing()` are the ids still to come. Leaving the `with` early, or by an error, keeps the part.
    """

    def __init__(self, path: Path, ids: Sequence[str], settings: dict):
        self.path, self._ids = Path(path), list(ids)
        self._part = self.path.with_name(f'.{self.path.name}.part')
        self._settings = {'kind': 'features', **settings, 'count': len(self._ids), 'list_sha256': list_sha256(self._ids)}
        _open_part(self._part, self._settings)
        self._store = LmdbWriter(self._part)
        self.done = len(self._store.keys())
        first = self._store.first()
        self._shape: tuple[int, ...] | None = None if first is None else first.shape

    def __enter__(self) -> 'FeatureWriter':
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self._store.flush()
        finally:
            self._store.close()
        if kind is None and not self.missing():
            self._finish()

    def missing(self) -> list[str]:
        """The ids whose maps are not written yet, in order."""
        return self._ids[self.done :]

    def add(self, maps: np.ndarray, label: np.ndarray) -> None:
        """Write the maps, float32 (C, h, w), and label, uint8 (h, w), of the first missing id.

        Raises UserError when they are of another size than those before.
        """
        name = self.missing()[0]
        shape = (maps.shape[0] + 1, *label.shape)
        self._check_shape(name, shape, maps.shape)
        datum = float_datum(np.concatenate([maps.astype(np.float32, copy=False), label[None].astype(np.float32)]))
        if self._shape is None:
            self._shape = shape
            check_disk_space(self.path, stored_bytes(len(datum)) * len(self.missing()))
        self._store.put(key(self.done, name), datum)
        self.done += 1

    def _check_shape(self, name: str, shape: tuple[int, ...], maps_shape: tuple[int, ...]) -> None:
        if maps_shape[1:] != shape[1:]:
            raise ValueError(f'{name}: maps {maps_shape[1:]} and label {shape[1:]} differ in size')
        if self._shape not in (None, shape):
            raise UserError(
                f'{name}: {shape[0] - 1} maps of {shape[1]}x{shape[2]}, those before it are {self._shape[0] - 1} of '
                f'{self._shape[1]}x{self._shape[2]}; one LMDB holds one size, so give all images one input size'
            )

    def _finish(self) -> None:
        """Write the manifest and put the whole LMDB in its place."""
        channels, height, width = self._shape
        write_manifest(self._part, {**self._settings, 'channels': channels, 'min_side_hw': [height, width]})
        (self._part / SETTINGS).unlink()
        shutil.rmtree(self.path, ignore_errors=True)
        os.replace(self._part, self.path)


def write_features(path: Path, rows: Iterable[tuple[str, np.ndarray, np.ndarray]], settings: dict) -> dict:
    """Write (id, maps float32 (C, h, w), label uint8 (h, w)) rows, all in memory, as an LMDB at `path`; its manifest."""
    rows = list(rows)
    shutil.rmtree(Path(path).with_name(f'.{Path(path).name}.part'), ignore_errors=True)
    with FeatureWriter(path, [name for name, _, _ in rows], settings) as writer:
        for _, maps, label in rows:
            writer.add(maps, label)
    return read_manifest(path)


def _open_part(part: Path, settings: dict) -> None:
    """Make the folder of a growing LMDB, or keep the one that is there if it has the same settings."""
    file = part / SETTINGS
    old = _read_settings(file)
    if old is not None and old == json.loads(json.dumps(settings)):
        return
    if old is not None:
        changed = sorted(name for name in {*old, *settings} if old.get(name) != settings.get(name))
        print(f'{part}: starting again, an unfinished run had other settings ({", ".join(changed)})', file=sys.stderr)
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    file.write_text(json.dumps(settings), encoding='utf-8')


def _read_settings(file: Path) -> dict | None:
    try:
        return json.loads(file.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
