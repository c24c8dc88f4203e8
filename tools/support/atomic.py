"""Writes files and folders that are either complete or absent, even after a kill."""

import ctypes
import errno
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from tools.support.errors import UserError

_HERE, _EXCHANGE = -100, 2  # AT_FDCWD and RENAME_EXCHANGE of renameat2(2)
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk is full, the quota is used up, or the file is too large
_NOT_OFFERED = (errno.ENOSYS, errno.EINVAL, errno.EPERM)  # errors of an old kernel, a file system or a sandbox without renameat2


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` with the same suffix. It becomes `path` if the block succeeds; else it is deleted.

    If the block raises an OSError because the disk is full, the error gets the name `path`, as it has none.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f'.{path.stem}.part{os.getpid()}{path.suffix}')
    try:
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in _FULL and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write `content` as JSON, complete or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + '\n')


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`. It replaces `path` if the block succeeds; else it is deleted.

    Raises UserError while another process writes the same folder.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path):
        bring_back(path)
        temporary = path.with_name(f'.{path.name}.part')
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        try:
            yield temporary
            put_folder(temporary, path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def check_own_folder(path: Path, mark: str) -> None:
    """Raise UserError if the folder `path` has files but no file `mark`, which marks a folder that may be replaced."""
    if path.exists() and not (path / mark).exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f'{path} holds files that this command did not write and would delete; move it away, or write elsewhere')


def put_folder(new: Path, path: Path) -> None:
    """Replace the folder `path` by its neighbour `new` and delete the old one. The caller holds the lock of `path`.

    The two exchange names in one step, so `path` is always the old folder or the new one. If the file system cannot do that, a
    kill between two renames leaves the old folder as `.NAME.old`; bring_back() restores it.
    """
    if not path.exists():
        os.replace(new, path)
    elif _exchanged(new, path):
        shutil.rmtree(new, ignore_errors=True)
    else:
        aside = _aside(path)
        shutil.rmtree(aside, ignore_errors=True)
        os.replace(path, aside)
        os.replace(new, path)
        shutil.rmtree(aside, ignore_errors=True)


def bring_back(path: Path) -> None:
    """Restore the old folder after a kill in the middle of put_folder()."""
    if _aside(path).exists() and not path.exists():
        os.replace(_aside(path), path)


def _aside(path: Path) -> Path:
    return path.with_name(f'.{path.name}.old')


def _exchanged(first: Path, second: Path) -> bool:
    """Exchange the names of two folders in one step; False if the system cannot do that."""
    trade = getattr(ctypes.CDLL(None, use_errno=True), 'renameat2', None)
    if trade is None:
        return False
    if trade(_HERE, os.fsencode(first), _HERE, os.fsencode(second), _EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in _NOT_OFFERED:
        return False
    raise OSError(number, os.strerror(number), str(first), None, str(second))


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock of `path`, the file `.NAME.lock` beside it. It is also freed when the process ends.

    Raises UserError while another process holds it.
    """
    lock = path.with_name(f'.{path.name}.lock')
    while True:
        with lock.open('a') as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise UserError(f'{path} is being written by another process; wait for it, or write to another folder') from error
            if not _is_at(file, lock):
                continue  # the process that held the lock deleted it after we had opened it
            try:
                yield
            finally:
                lock.unlink(missing_ok=True)
            return


def _is_at(file: IO, path: Path) -> bool:
    """Whether the open file is still the file at `path`."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def to_disk(*paths: Path) -> None:
    """Wait until the content and the names of files are on the disk, so that they survive a power cut."""
    for path in [*paths, *{path.parent for path in paths}]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
