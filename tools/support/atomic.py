"""Files and folders that are either whole or not there."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tools.support.errors import UserError


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, of the same suffix; it becomes `path` when the block ends well, else it goes."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.stem}.part{os.getpid()}{path.suffix}')
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; when the block ends well it takes the place of `path`, else it goes.

    A kill between the two renames leaves the old folder as `.NAME.old`; the next call puts it back.
    Raises UserError while another process writes the same folder.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path):
        temporary, old = path.with_name(f'.{path.name}.part'), path.with_name(f'.{path.name}.old')
        if old.exists() and not path.exists():
            os.replace(old, path)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            yield temporary
            shutil.rmtree(old, ignore_errors=True)
            if path.exists():
                os.replace(path, old)
            os.replace(temporary, path)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock of `path`, the file `.NAME.lock` beside it; the end of the process frees it too."""
    lock = path.with_name(f'.{path.name}.lock')
    while True:
        with lock.open('a') as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(f'{path} is being written by another process; wait for it, or write to another folder') from error
            if not _is_at(file, lock):
                continue  # the process that held it took it away between the opening and the locking
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def _is_at(file: IO, path: Path) -> bool:
    """Whether the open file is the one that now is at `path`."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
