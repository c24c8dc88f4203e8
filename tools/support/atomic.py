"""Files and folders that are either whole or not there."""

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
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # the disk, what a user may have of it, or what a file may be
_NOT_OFFERED = (errno.ENOSYS, errno.EINVAL, errno.EPERM)  # by an old kernel, a file system, a sandbox


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, of the same suffix; it becomes `path` when the block ends well, else it goes.

    An OSError of the block that the disk is full, which names no file by itself, is given the name `path`.
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
    """Write `content` as JSON, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + '\n')


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yield an empty temporary folder beside `path`; when the block ends well it takes the place of `path`, else it goes.

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
    """Raise UserError if there are files at `path` but not the file `mark`, by which a folder is known that may be replaced."""
    if path.exists() and not (path / mark).exists() and (not path.is_dir() or any(path.iterdir())):
        raise UserError(f'{path} holds what this command did not write, and would be replaced; move it away, or write elsewhere')


def put_folder(new: Path, path: Path) -> None:
    """Put the folder `new`, a neighbour of `path`, in its place and remove what was there; the caller holds the lock of `path`.

    The two trade names in one step: at every moment `path` is either the old one or the new one. Where the file system cannot
    do that, a kill between two renames leaves the old folder as `.NAME.old`, which bring_back puts back.
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
    """Undo the first half of a put_folder that was killed in the middle."""
    if _aside(path).exists() and not path.exists():
        os.replace(_aside(path), path)


def _aside(path: Path) -> Path:
    return path.with_name(f'.{path.name}.old')


def _exchanged(first: Path, second: Path) -> bool:
    """Let two folders trade names in one step; False where that is not offered."""
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
    """Hold the lock of `path`, the file `.NAME.lock` beside it; the end of the process frees it too.

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


def to_disk(*paths: Path) -> None:
    """Wait until the content of files, and their names, are on the disk and not only in the system's memory."""
    for path in [*paths, *{path.parent for path in paths}]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
