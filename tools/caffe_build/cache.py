"""Finished builds in the user's cache folder: whole and checked, or not used."""

import fcntl
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tools.caffe_build.source import sha256
from tools.support.caffe_in_use import MANIFEST, read_manifest


def cache_folder() -> Path:
    """Where builds are kept: below XDG_CACHE_HOME, or `~/.cache`."""
    base = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(base) / 'dilation-toolkit' / 'caffe'


def file_hashes(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below `folder`, except the manifest and Python's caches."""
    paths = (path for path in sorted(folder.rglob('*')) if path.is_file() and '__pycache__' not in path.parts)
    return {str(path.relative_to(folder)): sha256(path) for path in paths if path.name != MANIFEST}


def write_manifest(folder: Path, facts: dict[str, object]) -> None:
    """Record `facts` about a build, and the hash of each of its files."""
    manifest = {**facts, 'files': file_hashes(folder)}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1) + '\n', encoding='utf-8')


def is_whole(folder: Path, key: str) -> bool:
    """Whether `folder` holds the build `key` with every file as it was made."""
    manifest = read_manifest(folder)
    return manifest is not None and manifest.get('key') == key and manifest['files'] == file_hashes(folder)


@contextmanager
def new_entry(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`. It replaces `path` if the block succeeds, else it is deleted."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f'building-{path.name}-') as folder:
        made = Path(folder) / 'made'
        made.mkdir()
        yield made
        if path.exists():
            os.replace(path, Path(folder) / 'broken')
        os.replace(made, path)


def sweep(cache: Path) -> None:
    """Remove what a killed build left. Call it with the lock held."""
    for pattern in ('building-*', 'fetch-*', 'source-*'):
        for leftover in cache.glob(pattern):
            shutil.rmtree(leftover, ignore_errors=True)


@contextmanager
def only_one(cache: Path) -> Iterator[None]:
    """Hold the lock of the cache: one `make caffe` at a time builds or installs, the others wait."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / 'lock').open('w') as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print('another `make caffe` is at work; waiting for it', file=sys.stderr, flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
