"""An LMDB while it grows: the hidden folder `.NAME.part` beside `NAME`, with its settings. A killed run goes on.

`NAME` is always the old LMDB or the complete new one, never an unfinished one.
"""

import json
import shutil
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from dataset_prep.lmdb_store import FAULTS, LEFT_OUT, MANIFEST, SIZES, LmdbWriter, existing, key, write_manifest
from dataset_prep.order import list_sha256
from tools.support.atomic import bring_back, locked, put_folder, whole_file
from tools.support.errors import UserError

SETTINGS, JOURNAL = 'settings.json', 'journal.json'
OURS = {'data.mdb', 'lock.mdb', MANIFEST, SIZES, SETTINGS, JOURNAL, 'contact_sheet.png'}  # in the folder of an LMDB
FLUSH_SECONDS = 10.0  # a kill loses the work of at most this time


class GrowingLmdb:
    """Writes one value for each of `ids`, in order, to `path`. Used in a `with`; at its end `path` is complete.

    `settings` and the values `found` during the run become the manifest. The text `files` are stored beside the data. The values
    of an earlier run with the same settings and ids are kept: the first `done` ids have values, and `note` is the note stored
    with them. An interruption or an error keeps the part. Raises UserError if another process writes to the same path, if other
    files are there, or if the disk is full. A link is followed: the LMDB replaces its target.
    """

    def __init__(self, path: Path, ids: Sequence[str], settings: dict):
        self.path, self._ids = Path(path).resolve() if Path(path).is_symlink() else Path(path), list(ids)
        self._part = self.path.with_name(f'.{self.path.name}.part')
        self.settings = {**settings, 'count': len(self._ids), 'list_sha256': list_sha256(self._ids)}
        self.note: dict | None = None
        self.faults: dict[str, str] = {}  # ids without a value, each with the reason
        self.found: dict = {}
        self.files: dict[str, str] = {}
        self._noted: dict[int, dict | None] = {}
        self._flushed = time.monotonic()
        self._held = ExitStack()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._held.enter_context(locked(self.path))
        try:
            self._begin()
        except BaseException:
            self._held.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._held:
            if self.whole:
                return
            try:
                self._store.flush()
            finally:
                there = self._store.count()
                self._store.close()
                if there == 0:
                    shutil.rmtree(self._part)
            if error is None and not self.missing():
                self._finish()

    def missing(self) -> list[str]:
        """The ids that have no value yet, in order."""
        return self._ids[self.done :]

    def first(self) -> np.ndarray | None:
        """The array of the first record on disk, if any."""
        return None if self.whole else self._store.first()

    def reserve(self, expected_bytes: int) -> None:
        """Announce the final size, so that the map need not grow."""
        self._store.reserve(expected_bytes)

    def put(self, value: bytes | memoryview, note: dict | None = None) -> None:
        """Write the value of the first missing id. `note`, JSON about all values so far, is restored after a kill."""
        self.note = note
        self._store.put(key(self.done, self.missing_id()), value)
        self.done += 1
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self._store.flush()
            self._flushed = time.monotonic()

    def leave_out(self, reason: str) -> None:
        """Leave out the first missing id; the manifest names it."""
        self.faults[self.missing_id()] = reason
        self.done += 1

    def missing_id(self) -> str:
        """The first missing id."""
        return self._ids[self.done]

    def _begin(self) -> None:
        """Find the complete LMDB, or open the part, new or continued."""
        bring_back(self.path)
        manifest = existing(self.path, self.settings)
        self.whole, self.done = manifest is not None, len(self._ids)
        if manifest is not None:
            self.faults = dict(manifest.get(FAULTS, {}))
            shutil.rmtree(self._part, ignore_errors=True)  # left by a kill after the exchange of names
            self._end()
            return
        _check_replaceable(self.path)
        self._check_same_images(self.path / MANIFEST)
        self._check_same_images(self._part / SETTINGS)
        self._keep_or_clear()
        self._store = LmdbWriter(self._part, before_commit=self._write_note)
        self.done = self._store.count()
        self._noted = self._read_notes()
        self.note = self._noted.get(self.done)

    def _finish(self) -> None:
        """Write the manifest and move the complete LMDB to its path. After a kill in between, the next run finishes the part."""
        for name, text in self.files.items():
            (self._part / name).write_text(text, encoding='utf-8')
        number = len(self.faults)
        without = {LEFT_OUT: number, FAULTS: self.faults, 'count': len(self._ids) - number} if number else {}
        write_manifest(self._part, {**self.settings, **self.found, **without})
        put_folder(self._part, self.path)
        self._end()

    def _end(self) -> None:
        """Remove the files that only an unfinished LMDB needs."""
        self.whole = True
        for path in (self.path / SETTINGS, self.path / JOURNAL, *self.path.glob('.*.part*')):  # the last are left by a kill
            path.unlink(missing_ok=True)

    def _check_same_images(self, there: Path) -> None:
        """Raise UserError if an existing LMDB or part has another data set, split or kind."""
        old = _read_json(there) or {}
        named = ('kind', 'dataset', 'split')
        if any(name in old and name in self.settings and old[name] != self.settings[name] for name in named):
            held, new = (' '.join(str(said.get(name)) for name in named) for said in (old, self.settings))
            raise UserError(f'{there.parent} holds {held} and would be replaced by {new}; write elsewhere (--out), or remove it')

    def _keep_or_clear(self) -> None:
        """Store the settings in the part. If it holds records of other settings, delete these and print a line."""
        old = _read_json(self._part / SETTINGS)
        if old == json.loads(json.dumps(self.settings)):
            return
        if old is not None:
            changed = sorted(name for name in {*old, *self.settings} if old.get(name) != self.settings.get(name))
            print(f'{self._part}: starting again, an unfinished run had other settings ({", ".join(changed)})', file=sys.stderr)
        shutil.rmtree(self._part, ignore_errors=True)
        self._part.mkdir()
        with whole_file(self._part / SETTINGS) as temporary:
            temporary.write_text(json.dumps(self.settings), encoding='utf-8')

    def _write_note(self, count: int) -> None:
        """Before `count` records are on disk: store their note, and keep the previous note in case they are not written."""
        if self.note is None:
            return
        self._noted = {number: note for number, note in self._noted.items() if number == self._store.count()} | {count: self.note}
        with whole_file(self._part / JOURNAL) as temporary:
            temporary.write_text(json.dumps(self._noted), encoding='utf-8')

    def _read_notes(self) -> dict[int, dict | None]:
        return {int(count): note for count, note in (_read_json(self._part / JOURNAL) or {}).items()}


def _check_replaceable(path: Path) -> None:
    """Raise UserError if `path` exists and is no LMDB of this toolkit, because the new one would replace it."""
    if not path.exists():
        return
    names = {entry.name for entry in path.iterdir()} if path.is_dir() else {path.name}
    if others := sorted(name for name in names - OURS if not name.startswith('.') or (path / name).is_dir()):
        raise UserError(f'{path} holds {others[0]}, which is not part of an LMDB and would be lost; move it, or write elsewhere')
    if 'data.mdb' in names and MANIFEST not in names:
        raise UserError(f'{path} is an LMDB that this toolkit did not write; remove it, or write elsewhere')


def _read_json(file: Path) -> dict | None:
    """The content of a file of an unfinished LMDB; None if it is missing or incomplete."""
    try:
        return json.loads(file.read_text(encoding='utf-8'))
    except (FileNotFoundError, ValueError):
        return None
