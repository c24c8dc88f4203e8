"""LMDBs of feature maps: float Datums of C channels and the label at stride 8, all of one size; a killed run goes on.

While it grows, it is the hidden folder `.NAME.part` beside `NAME`, with the settings that made it; it is renamed when whole.
"""

import fcntl
import json
import os
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from dataset_prep.datum import float_datum
from dataset_prep.lmdb_store import LmdbWriter, check_disk_space, existing, key, read_manifest, stored_bytes, write_manifest
from dataset_prep.order import list_sha256
from tools.support.errors import UserError

SETTINGS = 'settings.json'
FLUSH_SECONDS = 10.0  # what a kill may cost


class FeatureWriter:
    """Writes the maps of `ids`, in that order, to `path`; use it in a `with`, which makes `path` whole once all are there.

    `settings` say what the maps are; they become the manifest. What an earlier run with the same settings and ids wrote is kept:
    `missing()` are the ids still to come. Leaving the `with` early, or by an error, keeps the part.
    Raises UserError if another process is writing to the same path.
    """

    def __init__(self, path: Path, ids: Sequence[str], settings: dict):
        self.path, self._ids = Path(path), list(ids)
        self._part = self.path.with_name(f'.{self.path.name}.part')
        self._settings = {'kind': 'features', **settings, 'count': len(self._ids), 'list_sha256': list_sha256(self._ids)}
        self._shape: tuple[int, ...] | None = None
        self._flushed = time.monotonic()
        self._whole = existing(self.path, self._settings) is not None
        self.done = len(self._ids)
        if not self._whole:
            self._open()

    def __enter__(self) -> 'FeatureWriter':
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._whole:
            return
        with self._lock:
            try:
                self._store.flush()
            finally:
                self._store.close()
            if self.done == 0:
                shutil.rmtree(self._part)
            elif kind is None and not self.missing():
                self._finish()

    def missing(self) -> list[str]:
        """The ids whose maps are not written yet, in order."""
        return self._ids[self.done :]

    def add(self, maps: np.ndarray, label: np.ndarray) -> None:
        """Write the maps, float32 (C, h, w), and label, uint8 (h, w), of the first missing id.

        Raises UserError when they are of another size than those before, or the disk has no room for all.
        """
        name = self.missing()[0]
        if maps.shape[1:] != label.shape:
            raise ValueError(f'{name}: maps {maps.shape[1:]} and label {label.shape} differ in size')
        stacked = np.concatenate([maps, label[None]], dtype=np.float32)
        self._check_shape(name, stacked.shape)
        self._store.put(key(self.done, name), float_datum(stacked))
        self.done += 1
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._store.flush()
            self._flushed = time.monotonic()

    def _open(self) -> None:
        """Open the part, made anew or continued."""
        self._part.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self._part)
        _keep_or_clear(self._part, self._settings)
        self._store = LmdbWriter(self._part)
        self.done = self._store.count()
        first = self._store.first()
        self._shape = None if first is None else first.shape

    def _check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        """The first shape is noted, with a look at the disk; others must equal it."""
        if self._shape is None:
            self._shape = shape
            check_disk_space(self.path, stored_bytes(4 * int(np.prod(shape))) * len(self.missing()))
        if self._shape != shape:
            (maps, *size), (first_maps, *first_size) = shape, self._shape
            raise UserError(
                f'{name}: {maps - 1} maps of {size[0]}x{size[1]}, those before it are {first_maps - 1} of '
                f'{first_size[0]}x{first_size[1]}; one LMDB holds one size, so give all images one input size'
            )

    def _finish(self) -> None:
        """Write the manifest and put the whole LMDB in its place; a kill in between leaves a part that the next run finishes."""
        assert self._shape is not None
        channels, height, width = self._shape
        write_manifest(self._part, {**self._settings, 'channels': channels, 'min_side_hw': [height, width]})
        shutil.rmtree(self.path, ignore_errors=True)
        os.replace(self._part, self.path)
        (self.path / SETTINGS).unlink()


def write_features(path: Path, rows: Iterable[tuple[str, np.ndarray, np.ndarray]], settings: dict) -> dict:
    """Write (id, maps float32 (C, h, w), label uint8 (h, w)) rows, all in memory, as an LMDB at `path`; its manifest."""
    rows = list(rows)
    shutil.rmtree(path, ignore_errors=True)
    shutil.rmtree(Path(path).with_name(f'.{Path(path).name}.part'), ignore_errors=True)
    with FeatureWriter(path, [name for name, _, _ in rows], settings) as writer:
        for _, maps, label in rows:
            writer.add(maps, label)
    return read_manifest(path)


def _locked(part: Path):
    """An open, locked file of the part; closing it, or the end of the process, frees it."""
    file = (part / SETTINGS).open('a')
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise UserError(f'{part} is being written by another process; wait for it or choose another --out') from error
    return file


def _keep_or_clear(part: Path, settings: dict) -> None:
    """Note the settings in the part; if it holds records made with others, delete those and say so."""
    file = part / SETTINGS
    old = _read_settings(file)
    if old == json.loads(json.dumps(settings)):
        return
    for stale in part.glob('*.mdb'):
        stale.unlink()
    if old is not None:
        changed = sorted(name for name in {*old, *settings} if old.get(name) != settings.get(name))
        print(f'{part}: starting again, an unfinished run had other settings ({", ".join(changed)})', file=sys.stderr)
    file.write_text(json.dumps(settings), encoding='utf-8')


def _read_settings(file: Path) -> dict | None:
    """The settings that a part was begun with; None if there are none, or not whole."""
    try:
        return json.loads(file.read_text(encoding='utf-8'))
    except ValueError:
        return None
