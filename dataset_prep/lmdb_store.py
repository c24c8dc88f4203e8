"""Writes LMDBs of Datums in batches, reads them back, and keeps a manifest with each."""

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

import lmdb
import numpy as np

from dataset_prep.datasets import how_to_prepare
from dataset_prep.datum import decode_datum
from tools.support.errors import UserError

MANIFEST = 'manifest.json'
ALWAYS_SAID = {'kind', 'dataset'}  # every manifest has these
LEFT_OUT = 'left_out'  # in a manifest: how many images could not be used
FAULTS = 'faults'  # in the manifest of maps: the ids of these images with the reasons
SIZES = 'sizes.tsv'  # of an LMDB of images: id, height and width of each before padding, in its order
BATCH_BYTES = 16 << 20  # size of a transaction; memory holds two of them, and LMDB's copy of one
PAGE_BYTES, HEADER_BYTES = 4096, 16  # LMDB keeps each large value in its own pages, after a header
KEY_BYTES = 511  # LMDB's longest key

Batch = list[tuple[bytes, bytes | memoryview]]  # keys and values


def key(index: int, record_id: str) -> bytes:
    """The key of record `index` in an LMDB. Caffe reads keys in byte order, so the number comes first."""
    encoded = f'{index:08d}_{record_id}'.encode()
    if len(encoded) > KEY_BYTES:
        raise UserError(
            f'the id {record_id} is too long: it needs {len(encoded)} bytes as a key, but LMDB takes at most {KEY_BYTES}'
        )
    return encoded


def id_of(stored_key: bytes) -> str:
    """The id in a key."""
    return stored_key.decode().split('_', 1)[1]


def stored_bytes(value_bytes: int) -> int:
    """Bytes on disk of a value that needs several pages."""
    return -(-(value_bytes + HEADER_BYTES) // PAGE_BYTES) * PAGE_BYTES


def check_disk_space(folder: Path, needed: int) -> None:
    """Raise UserError unless the file system of `folder` has room for `needed` bytes."""
    existing = next(parent for parent in [Path(folder).absolute(), *Path(folder).absolute().parents] if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed > free:
        raise UserError(
            f'{folder} needs {needed / 1e9:.2f} GB, but only {free / 1e9:.2f} GB are free there; make room, or write elsewhere'
        )


class LmdbWriter:
    """Appends to an LMDB, which it opens or creates. Keys must come in ascending order. Flushed records survive a kill.

    One batch is written in one transaction while the next batch is queued, so the caller does not wait for the disk. Before each
    transaction `before_commit` gets the number of records after it.
    """

    def __init__(self, folder: Path, *, before_commit: Callable[[int], None] | None = None):
        self._folder, self._before_commit = folder, before_commit
        try:
            self._environment = lmdb.open(str(folder), map_size=2 * BATCH_BYTES)
        except lmdb.Error as error:
            raise self._refused(error) from error
        _check_not_cut_off(folder, self._environment)
        self._thread = ThreadPoolExecutor(1)
        self._writing: Future | None = None
        self._batch: Batch = []
        self._batch_bytes = 0

    def reserve(self, expected_bytes: int) -> None:
        """Enlarge the map by this many bytes. It is address space, neither memory nor disk."""
        self._written()
        self._environment.set_mapsize(self._environment.info()['map_size'] + expected_bytes + 2 * BATCH_BYTES)

    def put(self, stored_key: bytes, value: bytes | memoryview) -> None:
        """Queue one record; every BATCH_BYTES the queue starts to be written. Raises the errors of flush()."""
        self._batch.append((stored_key, value))
        self._batch_bytes += len(value)
        if self._batch_bytes >= BATCH_BYTES:
            self._begin_to_write()

    def flush(self) -> None:
        """Wait until all records are on disk. Raises UserError if the disk is full."""
        self._begin_to_write()
        self._written()

    def count(self) -> int:
        """Number of records on disk. Waits for the current batch, because writing may remap the files."""
        wait([self._writing] if self._writing else [])
        return self._environment.stat()['entries']

    def first(self) -> np.ndarray | None:
        """The array of the first record on disk, if any."""
        with self._environment.begin(buffers=True) as transaction:
            cursor = transaction.cursor()
            return decode_datum(cursor.value()) if cursor.first() else None

    def close(self) -> None:
        """Close the files; records that were not flushed are lost."""
        self._thread.shutdown()
        self._environment.close()

    def _begin_to_write(self) -> None:
        """Let the thread write the queue after the previous batch."""
        self._written()
        batch, self._batch, self._batch_bytes = self._batch, [], 0
        if not batch:
            return
        try:
            if self._before_commit:
                self._before_commit(self.count() + len(batch))
        except OSError as error:
            raise self._refused(error) from error
        self._writing = self._thread.submit(self._commit, batch)

    def _written(self) -> None:
        """Wait for the current batch. If it failed, drop the queue after it, because no record may be skipped."""
        error = self._writing.exception() if self._writing else None
        self._writing = None
        if error:
            self._batch, self._batch_bytes = [], 0
            raise self._refused(error) if isinstance(error, (lmdb.Error, OSError)) else error

    def _commit(self, batch: Batch) -> None:
        """Write a batch in one transaction; enlarge the map if it is too small.

        The file is then remapped: pages that LMDB has read, 70 kB per record, count as memory of this process and would grow with
        the LMDB.
        """
        size = self._environment.info()['map_size']
        while True:
            try:
                self._write(batch)
                return self._environment.set_mapsize(size)
            except lmdb.MapFullError:
                size *= 2
                self._environment.set_mapsize(size)

    def _write(self, batch: Batch) -> None:
        with self._environment.begin(write=True) as transaction:
            for stored_key, value in batch:
                if not transaction.put(stored_key, value, append=True):
                    raise ValueError(f'key {stored_key!r} comes after a larger one')

    def _refused(self, error: BaseException) -> UserError:
        """The error for a failed write, with what to do."""
        free = shutil.disk_usage(self._folder).free
        return UserError(
            f'{self._folder} cannot be extended ({error}); {free / 1e9:.2f} GB are free there. Make room and run the same '
            'command again: it goes on from what is there'
        )


def write_manifest(folder: Path, manifest: dict) -> None:
    """Write the manifest of the LMDB in `folder`."""
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, ensure_ascii=False) + '\n', encoding='utf-8')


def read_manifest(path: Path) -> dict:
    """The manifest of an LMDB. Raises UserError if there is no complete LMDB of this toolkit at `path`."""
    file = Path(path) / MANIFEST
    if not file.exists():
        what = 'an LMDB that this toolkit did not write' if (Path(path) / 'data.mdb').exists() else 'no LMDB'
        raise UserError(f'{what} at {path} ({MANIFEST} is missing); {how_to_prepare(Path(path).absolute().parent.name)}')
    try:
        manifest = json.loads(file.read_text(encoding='utf-8'))
        if not isinstance(manifest, dict) or not manifest.keys() >= ALWAYS_SAID:
            raise ValueError(f'{", ".join(sorted(ALWAYS_SAID))} are not all in it')
        return manifest
    except ValueError as error:
        raise UserError(f'{file} is damaged ({error}); remove {path} and write the LMDB again') from error


def read_sizes(path: Path) -> dict[str, tuple[int, int]]:
    """Height and width by id of the images in an LMDB; empty for maps, or for an LMDB of an earlier version."""
    file = Path(path) / SIZES
    lines = file.read_text(encoding='utf-8').splitlines() if file.is_file() else []
    return {name: (int(height), int(width)) for name, height, width in (line.split('\t') for line in lines)}


def check_current(path: Path, manifest: dict, way_out: str) -> None:
    """Raise UserError if an earlier version wrote the LMDB: its manifest does not name its source files."""
    if 'files_sha256' not in manifest:
        raise UserError(
            f'{path} was written by an earlier version of this toolkit (its {MANIFEST} has no files_sha256); {way_out}'
        )


def existing(path: Path, settings: dict) -> dict | None:
    """The manifest of the LMDB at `path` if it was made with `settings` and is complete; else None."""
    if not (path / MANIFEST).exists():
        return None
    manifest = read_manifest(path)
    asked = manifest | {'count': manifest.get('count', 0) + len(manifest.get(FAULTS, ()))}
    same = all(asked.get(name) == value for name, value in json.loads(json.dumps(settings)).items())
    return manifest if same and _entries(path) == manifest.get('count') else None


def _entries(path: Path) -> int | None:
    """Number of records in the LMDB at `path`; None if there is no readable LMDB."""
    try:
        with opened(path) as environment:
            return environment.stat()['entries']
    except UserError:
        return None


@contextmanager
def opened(path: Path) -> Iterator[lmdb.Environment]:
    """The LMDB at `path`, open for reading. Raises UserError if it is missing, incomplete or damaged."""
    try:
        with lmdb.open(str(path), readonly=True, lock=False, create=False) as environment:
            _check_not_cut_off(path, environment)
            yield environment
    except lmdb.Error as error:
        raise UserError(f'{path} cannot be read ({error}); {_anew(path)}') from error


@contextmanager
def reading(path: Path) -> Iterator[lmdb.Transaction]:
    """A read transaction on the LMDB at `path`, with values as views. Raises the errors of opened()."""
    with opened(path) as environment, environment.begin(buffers=True) as transaction:
        yield transaction


def _check_not_cut_off(path: Path, environment: lmdb.Environment) -> None:
    """Raise UserError if the file lacks pages: LMDB maps it into memory, and reading a missing page kills the process."""
    needed = (environment.info()['last_pgno'] + 1) * environment.stat()['psize']
    there = (Path(path) / 'data.mdb').stat().st_size
    if there < needed:
        raise UserError(f'{path}/data.mdb is cut off: it has {there:,} bytes of {needed:,}; {_anew(path)}')


def _anew(path: Path) -> str:
    """What to do about a damaged LMDB."""
    return f'copy it again, or remove {path} and write it again'


def stored_keys(path: Path) -> list[bytes]:
    """The keys of an LMDB in Caffe's reading order."""
    with reading(path) as transaction:
        return [bytes(stored_key) for stored_key in transaction.cursor().iternext(keys=True, values=False)]


def stored_ids(path: Path) -> list[str]:
    """The ids of an LMDB in Caffe's reading order."""
    return [id_of(stored_key) for stored_key in stored_keys(path)]


def iterate(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    """Yield (id, array) for the records of an LMDB in Caffe's reading order.

    Arrays are uint8 (4, H, W) B, G, R, label for images, float32 (C+1, h, w) maps and label for features.
    """
    read_manifest(path)
    with reading(path) as transaction:
        for stored_key, value in transaction.cursor():
            yield id_of(bytes(stored_key)), decode_datum(value)
