"""Unpacks distributed archives beside themselves: completely or not at all, and never outside their folder."""

import errno
import gzip
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from shutil import copyfileobj
from typing import IO

from dataset_prep.lmdb_store import check_disk_space
from dataset_prep.progress import progress
from tools.support.atomic import whole_folder
from tools.support.errors import UserError
from tools.support.hashing import file_sum

UNPACKED = 'unpacked'  # folder beside the archives, with a folder of each archive's name in it
SPARE = 1.1  # estimate of unpacked by packed size: pictures hardly compress
_BROKEN = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, EOFError, zlib.error, NotImplementedError)
_NOT_TO_BE_WRITTEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_File = tuple[str, IO[bytes]]


def unpacked(archive: Path, md5: str | None = None) -> Path:
    """The folder with the contents of a .tar, .tgz, .tar.gz or .zip, unpacked if that was not done before.

    Raises UserError if the checksum is not `md5`, if the archive is cut short, or if it holds links or paths out of the folder.
    """
    folder = archive.parent / UNPACKED / stem(archive.name)
    if folder.exists():
        return folder
    if md5 and file_sum(archive, 'md5') != md5:
        raise UserError(f'{archive} is not the archive that is distributed (md5 {md5}): fetch it again, or {_by_hand(archive)}')
    check_disk_space(folder, int(SPARE * archive.stat().st_size))
    try:
        with whole_folder(folder) as part:
            for name, content in progress(_files(archive), f'unpacking {archive.name}', 0, 'file'):
                _write(part, name, content, archive)
    except _BROKEN as error:
        raise UserError(f'{archive} is cut short or damaged ({error}); fetch it again') from error
    except OSError as error:
        if error.errno not in _NOT_TO_BE_WRITTEN:
            raise
        raise UserError(f'{error.filename} cannot be written ({error.strerror}); {_by_hand(archive)}') from error
    return folder


def _files(archive: Path) -> Iterator[_File]:
    """Names and contents of the files in an archive."""
    if archive.suffix == '.zip':
        with zipfile.ZipFile(archive) as packed:
            for info in packed.infolist():
                if not info.is_dir():
                    with packed.open(info) as content:
                        yield info.filename, content
        return
    with tarfile.open(archive) as tar:
        for member in tar:
            if member.isdir():
                continue
            inner = tar.extractfile(member) if member.isfile() else None
            if inner is None:
                raise UserError(f'{archive} holds {member.name}, which is not a regular file; {_by_hand(archive)}')
            with inner:
                yield member.name, inner
        # gzip checks its sum only at the end of its data, which is after the end of the tar.
        while tar.fileobj and tar.fileobj.read(1 << 20):
            pass


def _write(folder: Path, name: str, content: IO[bytes], archive: Path) -> None:
    """Write one file of an archive into `folder`."""
    inside = PurePosixPath(name)
    if inside.is_absolute() or '..' in inside.parts or '\\' in name or '\0' in name:
        raise UserError(f'{archive} holds {name!r}, a path outside the folder; do not trust this archive')
    path = folder / inside
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open('xb') as file:
        copyfileobj(content, file, 1 << 20)


def stem(name: str) -> str:
    """The name of an archive without its suffixes."""
    return name.removesuffix('.gz').removesuffix('.tgz').removesuffix('.tar').removesuffix('.zip')


def _by_hand(archive: Path) -> str:
    """The command that unpacks, for messages."""
    command = 'unzip -q ARCHIVE -d FOLDER' if archive.suffix == '.zip' else 'tar xf ARCHIVE -C FOLDER'
    return 'unpack it yourself: ' + command.replace('ARCHIVE', repr(str(archive)))
