"""Converts a port of a weights row to another framework into the caffemodel of that row."""

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TypeVar

from pretrained import caffemodel, keras_file, numpy_file, thinned, torch_file
from pretrained.conversion import Converted
from pretrained.net_surgery import join
from pretrained.weights import WEIGHTS
from prototxt.experiments import NETS
from tools.support.atomic import whole_file
from tools.support.errors import UserError

T = TypeVar('T')
GZIP, ZIP = b'\x1f\x8b', b'PK\x03\x04'
STARTS = (GZIP, ZIP, keras_file.SIGNATURE, torch_file.OLD_MAGIC[:8], numpy_file.MAGIC, *numpy_file.PICKLES)
SUFFIXES = ('.npy', '.npz', '.pkl', '.pickle', '.h5', '.keras', '.pth', '.safetensors')  # of the weights in an archive


def is_port(path: Path) -> bool:
    """Whether a file begins like a file of another framework or an archive."""
    with path.open('rb') as file:
        start = file.read(16)
    return start.startswith(STARTS) and not caffemodel.is_caffes_hdf5(path)


def put(name: str, source: Path, out: Path, origin: str) -> list[str]:
    """Write the caffemodel of row `name` from a file of any form to `out`; returns lines for the user.

    `origin` is written into the file, except for a caffemodel from an archive, which is not changed. Raises UserError with the
    layer that does not fit.
    """
    unpacked = out.with_name(f'.{out.name}.unpacked')
    try:
        held = _unpacked(source, unpacked)
        if held == unpacked and not is_port(held):
            held.replace(out)
            return []
        converted = _converted(name, held)
        caffemodel.write(out, converted.layers, f'{name}{caffemodel.CONVERTED}{origin}')
    finally:
        unpacked.unlink(missing_ok=True)
    return converted.said


def _converted(name: str, source: Path) -> Converted:
    if name in NETS:
        return join(name, [source], whole=True)
    if name in thinned.STEPS:
        return thinned.start(name, source)
    raise UserError(f'{source} cannot be converted into {WEIGHTS[name].file}; pretrained/README.md lists the files that can be')


def _unpacked(source: Path, place: Path) -> Path:
    """The one file of weights in an archive, copied to `place`; any other file is itself."""
    try:
        with _packed(source) as packed:
            if packed is None:
                return source
            with whole_file(place) as temporary, temporary.open('wb') as file:
                shutil.copyfileobj(packed, file)
    except (tarfile.TarError, zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
        raise UserError(f'{source}: damaged, or not an archive ({error}); get it again') from error
    return place


@contextmanager
def _packed(source: Path) -> Iterator[IO[bytes] | None]:
    """Yields the one file of weights in a tar archive, the one caffemodel in a zip archive, or None.

    A zip archive without a caffemodel may be another framework's weight file.
    """
    with source.open('rb') as file:
        start = file.read(len(ZIP))
    if start.startswith(GZIP):
        with tarfile.open(source) as tar:
            members = [member for member in tar if member.isfile() and member.name.endswith(SUFFIXES)]
            yield tar.extractfile(_only(members, source))
    elif start == ZIP:
        with zipfile.ZipFile(source) as archive:
            names = [name for name in archive.namelist() if name.endswith('.caffemodel') and not Path(name).name.startswith('.')]
            if not names:
                yield None
                return
            with archive.open(_only(names, source)) as packed:
                yield packed
    else:
        yield None


def _only(members: list[T], source: Path) -> T:
    """The only member. Raises UserError if there are several or none."""
    if len(members) != 1:
        raise UserError(f'{source}: an archive with {len(members)} files of weights, one was expected; give the file itself')
    return members[0]
