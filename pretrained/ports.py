"""What ports to other frameworks hold of a row of the table of weights, as its caffemodel."""

import shutil
import tarfile
from pathlib import Path

from pretrained import caffemodel, keras_file, numpy_file, thinned, torch_file
from pretrained.conversion import Converted
from pretrained.layers import join
from pretrained.weights import WEIGHTS
from prototxt.experiments import NETS
from tools.support.atomic import whole_file
from tools.support.errors import UserError

GZIP, ZIP = b'\x1f\x8b', b'PK\x03\x04'
STARTS = (GZIP, ZIP, keras_file.SIGNATURE, torch_file.OLD_MAGIC[:8], numpy_file.MAGIC, *numpy_file.PICKLES)
SUFFIXES = ('.npy', '.npz', '.pkl', '.pickle', '.h5', '.keras', '.pth', '.safetensors')  # of the weights in an archive


def is_port(path: Path) -> bool:
    """Whether a file begins as one of a framework's that is read here, or as an archive, and is none of Caffe's."""
    with path.open('rb') as file:
        start = file.read(16)
    return start.startswith(STARTS) and not caffemodel.is_caffes_hdf5(path)


def put(name: str, source: Path, out: Path, origin: str) -> list[str]:
    """Write the caffemodel of row `name` from a file of any form to `out`; what to say of it, a line each.

    `origin` is noted in the file. Raises UserError for what does not fit, with the layer.
    """
    unpacked = out.with_name(f'.{out.name}.unpacked')
    try:
        converted = _converted(name, _unpacked(source, unpacked))
        caffemodel.write(out, converted.layers, f'{name}{caffemodel.CONVERTED}{origin}')
    finally:
        unpacked.unlink(missing_ok=True)
    return converted.said


def _converted(name: str, source: Path) -> Converted:
    if name in NETS:
        return join(name, [source], whole=True)
    if name in thinned.STEPS:
        return thinned.start(name, source)
    raise UserError(f'{source}: nothing converts it into {WEIGHTS[name].file}; see pretrained/README.md for what is read')


def _unpacked(source: Path, place: Path) -> Path:
    """The one file of weights in an archive, copied to `place`; any other file is itself."""
    with source.open('rb') as file:
        if file.read(len(GZIP)) != GZIP:
            return source
    try:
        with tarfile.open(source) as archive:
            there = [member for member in archive if member.isfile() and member.name.endswith(SUFFIXES)]
            if len(there) != 1:
                raise UserError(
                    f'{source}: an archive with {len(there)} files of weights, one was expected; give the file itself'
                )
            packed = archive.extractfile(there[0])
            assert packed
            with whole_file(place) as temporary, packed, temporary.open('wb') as file:
                shutil.copyfileobj(packed, file)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise UserError(f'{source}: damaged, or no archive ({error}); get it again') from error
    return place
