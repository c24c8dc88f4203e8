"""Reads and writes Caffe's weight files, and checks them against a net first, because Caffe would abort the process.

A .caffemodel is one NetParameter message; only names and blobs matter. It is decoded here, because its packed floats already
are the bytes of a NumPy array; protobuf would make lists of 134 million Python floats. A .caffemodel.h5 is written by Caffe with
snapshot_format: HDF5; it has a dataset data/LAYER/N for each blob (Net::ToHDF5).
"""

import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
from google.protobuf import text_format

from prototxt.shapes import UPSAMPLINGS, param_shapes
from tools.support.atomic import whole_file
from tools.support.errors import UserError
from tools.support.wire import BYTES, VARINT, Truncated, bytes_field, fields, head, varint, varints

# Field numbers, from caffe.proto.
NET_NAME, NET_LAYERS_V1, NET_LAYER = 1, 2, 100  # NetParameter
LAYER_NAME, LAYER_BLOBS = 1, 7  # LayerParameter
V1_LAYER_V0, V1_NAME, V1_BLOBS = 1, 4, 6  # V1LayerParameter
BLOB_4D = (1, 2, 3, 4)  # BlobProto: num, channels, height, width, before there was a shape
BLOB_DATA, BLOB_SHAPE = 5, 7
BLOB_VALUES = {BLOB_DATA: '<f4', 8: '<f8'}  # data, and double_data of a Caffe run in double precision
SHAPE_DIM = 1  # BlobShape

MAX_NAMES = 4  # in a message
BLOCK = 1 << 22  # values that are checked at a time
CONVERTED = ', converted from '  # in the name of a net of converted weights; their origin follows
HDF5 = b'\x89HDF\r\n\x1a\n'
BEGINNINGS = (HDF5, b'\n', b'\x12', b'\xa2\x06')  # HDF5; a net's name; a layer of either kind
MAX_BYTES = 2**31 - 1  # the largest message that protocol buffers read

Shape = tuple[int, ...]
Weights = dict[str, list[np.ndarray]]  # layer name -> its blobs


@dataclass(frozen=True)
class Streamed:
    """Values that are produced while they are written, so that they are never all in memory."""

    shape: Shape
    pieces: Callable[[], Iterable[np.ndarray]]  # together all values, in C order

    @property
    def size(self) -> int:
        return prod(self.shape)


class Blob(NamedTuple):
    """A blob in a file: its shape, whether the shape is of the old kind with four numbers, and views of its values."""

    shape: Shape
    legacy: bool
    values: list[np.ndarray]

    def array(self) -> np.ndarray:
        """A float32 copy of the values in C order, in the blob's shape."""
        return np.concatenate([np.empty(0, np.float32), *self.values], dtype=np.float32).reshape(self.shape)

    def view(self) -> np.ndarray:
        """The values in the file if they are contiguous float32, else a copy."""
        alone = len(self.values) == 1 and self.values[0].dtype == np.float32
        return self.values[0].reshape(self.shape) if alone else self.array()

    def plain(self) -> np.ndarray:
        """The blob without the leading ones of old files, in which a bias has four dimensions."""
        bias = self.legacy and self.shape[:3] == (1, 1, 1)
        return self.view().reshape(-1) if bias else self.view()

    def finite(self) -> bool:
        """Whether all values are finite."""
        return all(np.isfinite(part[at : at + BLOCK]).all() for part in self.values for at in range(0, part.size, BLOCK))

    def fits(self, shape: Shape) -> bool:
        """Whether Caffe accepts this blob for `shape`: equal, or equal without leading ones for the old kind."""
        if self.legacy and len(shape) <= 4:
            shape = (1,) * (4 - len(shape)) + tuple(shape)
        return self.shape == tuple(shape)


def load(path: Path) -> Weights:
    """All blobs of the file by layer, as float32 arrays; layers without blobs are left out.

    Blobs in files from before 2015 keep their four dimensions: a bias is (1, 1, 1, n). Raises UserError if the file is missing,
    cut off or of another kind.
    """
    return {name: [blob.array() for blob in blobs] for name, blobs in stored(path).items() if blobs}


def stored(path: Path) -> dict[str, list[Blob]]:
    """The blobs of the file by layer, memory-mapped. Raises the errors of load()."""
    data = mapped(Path(path))
    try:
        return _from_hdf5(path, data) if data[: len(HDF5)] == HDF5 else dict(_layers(data))
    except ValueError as error:
        if isinstance(error, Truncated) and bytes(data[: len(HDF5)]).startswith(BEGINNINGS):
            raise UserError(f'{path}: cut off ({error}); copy or download it again') from error
        raise UserError(
            f'{path}: not a caffemodel ({error}); give a weight file of Caffe, or convert one of another framework: '
            f'.venv/bin/python -m pretrained.net_surgery join NET {path} --out FILE; for VGG-16: '
            f'make weights-vgg16 FROM={path}'
        ) from error


def converted_from(path: Path) -> str:
    """The origin of weights that we converted from a port; '' for any other file."""
    try:
        first = next(fields(mapped(path)))
        return str(first.data, 'utf-8').partition(CONVERTED)[2] if (first.number, first.kind) == (NET_NAME, BYTES) else ''
    except (ValueError, StopIteration):
        return ''


def is_caffes_hdf5(path: Path) -> bool:
    """Whether an HDF5 file holds weights in Caffe's layout; False if it is too damaged to tell."""
    try:
        return bool(_from_hdf5(path, mapped(path)))
    except ValueError:
        return False


def write(path: Path, weights: Mapping[str, Sequence[np.ndarray | Streamed]], name: str = '') -> None:
    """Write blobs as a caffemodel, complete or not at all. Each is converted to float32 while it is written.

    Raises UserError beyond 2 GiB, because no reader of the format takes more.
    """
    size = sum(_layer_bytes(layer, blobs) for layer, blobs in weights.items())
    if size > MAX_BYTES:
        raise UserError(f'{path}: {size:,} bytes; a caffemodel holds at most {MAX_BYTES:,}; write the layers to two files')
    with whole_file(Path(path)) as temporary, temporary.open('wb') as file:
        for part in _encoded(weights, name):
            file.write(part)


def check(net, paths: Iterable[Path], fresh: Iterable[str] = (), *, dropped: Iterable[str] = (), finite: bool = True) -> None:
    """Raise UserError if a layer of a net gets no weights, or if weights do not fit.

    `net`: a NetParameter (not a path). `paths`: caffemodels in Caffe's loading order. `fresh`: layers that start from their
    fillers. `dropped`: fresh layers that are not taken from the files. The error names the layers that are neither fresh nor in
    a file (for many layers their number and the first ones), the first blobs with a wrong shape or, with `finite`, with values
    that are not finite, and every file that no layer uses.
    """
    wanted, paths, fresh = param_shapes(net), [Path(path) for path in paths], set(fresh)
    faults, covered = [], set(fresh)
    for path in paths:
        held = stored(path)
        shared = [name for name in wanted if name in held and name not in dropped]
        covered.update(shared)
        if wrong := [fault for name in shared for fault in misfits(name, held[name], wanted[name])]:
            faults.append(f'{path}: {first_faults(wrong)}; give weights of this net, or name the net that these are of')
        elif finite and (broken := [name for name in shared if not all(blob.finite() for blob in held[name])]):
            faults.append(f'{path}: {not_finite(broken)}')
        if not shared and not held.keys() & set(dropped):
            faults.append(f'{path}: none of its layers ({_first_names(held)}) is in the net ({_first_names(wanted)})')
    missing = [name for name in wanted if name not in covered and name not in bilinear(net)]
    if missing:
        faults.append(_missing(missing, paths))
    faults += [f'no layer {name} in the net to start from its filler' for name in sorted(fresh - wanted.keys())]
    if faults:
        raise UserError('; '.join(faults))


def caffe_pb2() -> ModuleType:
    """Caffe's protobuf classes without the package, whose import takes seconds. A later `import caffe` shares them."""
    name = 'caffe.proto.caffe_pb2'
    if name not in sys.modules:
        package = importlib.util.find_spec('caffe')
        if package is None or not package.submodule_search_locations:
            raise UserError('the Python package caffe is not installed; run: make caffe')
        path = Path(package.submodule_search_locations[0]) / 'proto' / 'caffe_pb2.py'
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        sys.modules[name] = module
    return sys.modules[name]


def read_net(path: Path):
    """The NetParameter in a prototxt. Raises UserError if the file holds none."""
    try:
        return text_format.Parse(path.read_text(), caffe_pb2().NetParameter())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise UserError(
            f'{path} is not the prototxt of a net ({error}); if it belongs to a run, begin the run anew with --restart'
        ) from error


def misshapen(net, path: Path) -> list[str]:
    """Layers of `net` that a file holds in another shape."""
    held = stored(path)
    return [name for name, shapes in param_shapes(net).items() if name in held and misfits(name, held[name], shapes)]


def left_over(net, path: Path) -> list[str]:
    """Layers of a file that `net` lacks, except for two kinds that `net` computes without weights.

    These are a fixed upsampling, which snapshots of such nets contain, and the Scale layers of FCN's authors, which are Power
    layers with the same factor here.
    """
    has, scaled = {*param_shapes(net), *UPSAMPLINGS}, factors(net)
    more = {name: [blob.view() for blob in blobs] for name, blobs in stored(path).items() if blobs and name not in has}
    return [name for name, blobs in more.items() if not is_factor(scaled, name, blobs)]


def factors(net) -> dict[str, float]:
    """The factor of each Power layer of a net."""
    return {layer.name: layer.power_param.scale for layer in net.layer if layer.type == 'Power'}


def is_factor(scaled: Mapping[str, float], name: str, blobs: Sequence) -> bool:
    """Whether all values of a layer are the factor of the Power layer with its name."""
    return name in scaled and len(blobs) == 1 and bool(np.allclose(blobs[0], scaled[name]))


# Reading


def _from_hdf5(path: Path, data: memoryview) -> dict[str, list[Blob]]:
    """stored() for Caffe's HDF5. Contiguous datasets stay in the file. Raises ValueError for a damaged or foreign file."""
    import h5py  # here, as only this kind of file needs it

    blobs: dict[str, dict[int, Blob]] = {}

    def note(name: str, item) -> None:
        layer, _, number = name.rpartition('/')
        if not isinstance(item, h5py.Dataset):
            return
        if not number.isdecimal() or not layer or item.dtype.kind != 'f':
            raise ValueError(f'a dataset {name}, which Caffe does not write')
        at = item.id.get_offset()
        values = item[...].reshape(-1) if at is None else np.frombuffer(data, item.dtype, item.size, at)
        blobs.setdefault(layer, {})[int(number)] = Blob(item.shape, False, [values])

    try:
        with h5py.File(path, 'r') as file:
            file['data'].visititems(note)
        return {layer: [held[number] for number in range(len(held))] for layer, held in blobs.items()}
    except (OSError, KeyError, AttributeError, RuntimeError) as error:
        if 'truncated file' in str(error):
            raise Truncated(str(error)) from error
        raise ValueError(f"HDF5, but damaged or not Caffe's: {error}") from error


def mapped(path: Path) -> memoryview:
    """The bytes of a file, memory-mapped. Raises UserError if it is empty, no file, or cannot be read."""
    try:
        size = path.stat().st_size
        if size and path.is_file():
            return memoryview(np.memmap(path, mode='r'))  # type: ignore[arg-type]
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror})') from error
    raise UserError(f'{path}: empty or not a file; get it again')


def _layers(data: memoryview) -> Iterator[tuple[str, list[Blob]]]:
    """(name, blobs) of each layer of a NetParameter, current or V1 (until 2015)."""
    known = False
    for field in fields(data):
        if field.number == NET_NAME and field.kind != BYTES:
            raise ValueError('it begins as a solverstate does')
        if field.number in (NET_LAYER, NET_LAYERS_V1):
            known = True
            yield _layer(field.data) if field.number == NET_LAYER else _layer_v1(field.data)
    if not known:
        raise ValueError('no layers in it')


def _layer(data: memoryview) -> tuple[str, list[Blob]]:
    """(name, blobs) of a LayerParameter."""
    name, found = '', []
    for field in fields(data):
        if field.number == LAYER_NAME:
            name = str(field.data, 'utf-8')
        elif field.number == LAYER_BLOBS:
            found.append(_blob(field.data))
    return name, found


def _layer_v1(data: memoryview) -> tuple[str, list[Blob]]:
    """(name, blobs) of a V1LayerParameter."""
    name, found = '', []
    for field in fields(data):
        if field.number == V1_LAYER_V0:
            raise ValueError("layers of Caffe's first format; convert it with Caffe's upgrade_net_proto_binary")
        if field.number == V1_NAME:
            name = str(field.data, 'utf-8')
        elif field.number == V1_BLOBS:
            found.append(_blob(field.data))
    return name, found


def _blob(data: memoryview) -> Blob:
    """A BlobProto. Raises ValueError if the number of values does not match the shape."""
    shape: Shape = ()
    old: dict[int, int] = {}
    values = []
    for field in fields(data):
        if field.number in BLOB_VALUES:
            values.append(np.frombuffer(field.data, BLOB_VALUES[field.number]))
        elif field.number == BLOB_SHAPE:
            shape = _dims(field.data)
        elif field.number in BLOB_4D:
            old[field.number] = field.value
    if old:
        shape = tuple(old.get(number, 0) for number in BLOB_4D)
    count = sum(part.size for part in values)
    if count != prod(shape):
        raise ValueError(f'a blob of shape {shape} with {count:,} values')
    return Blob(shape, bool(old), values)


def _dims(data: memoryview) -> Shape:
    """The dimensions in a BlobShape, packed or not."""
    dims: list[int] = []
    for field in fields(data):
        if field.number == SHAPE_DIM:
            dims += [field.value] if field.kind == VARINT else varints(field.data)
    return tuple(dims)


# Writing: fields in the order of their numbers, as protobuf itself writes them


def _encoded(weights: Mapping[str, Sequence[np.ndarray | Streamed]], name: str) -> Iterator[bytes | memoryview]:
    if name:
        yield bytes_field(NET_NAME, name.encode())
    for layer, blobs in weights.items():
        title = bytes_field(LAYER_NAME, layer.encode())
        yield head(NET_LAYER, len(title) + sum(_blob_bytes(blob.shape) for blob in blobs)) + title
        for blob in blobs:
            yield from _encoded_blob(blob)


def _encoded_blob(blob: np.ndarray | Streamed) -> Iterator[bytes | memoryview]:
    before, shape = _around(blob.shape)
    yield head(LAYER_BLOBS, len(before) + 4 * prod(blob.shape) + len(shape)) + before
    written = 0
    for piece in blob.pieces() if isinstance(blob, Streamed) else [blob]:
        values = np.ascontiguousarray(piece, '<f4').reshape(-1).view(np.uint8).data
        written += len(values)
        yield values
    if written != 4 * prod(blob.shape):
        raise ValueError(f'a blob of shape {blob.shape} with {written // 4:,} values')
    yield shape


def _around(shape: Shape) -> tuple[bytes, bytes]:
    """The bytes before and after the values of a blob."""
    dims = bytes_field(SHAPE_DIM, b''.join(varint(side) for side in shape))
    return head(BLOB_DATA, 4 * prod(shape)), bytes_field(BLOB_SHAPE, dims)


def _blob_bytes(shape: Shape) -> int:
    """Bytes of a blob as a field of its layer."""
    size = 4 * prod(shape) + sum(map(len, _around(shape)))
    return len(head(LAYER_BLOBS, size)) + size


def _layer_bytes(name: str, blobs: Sequence[np.ndarray | Streamed]) -> int:
    """Bytes of a layer as a field of its net."""
    size = len(bytes_field(LAYER_NAME, name.encode())) + sum(_blob_bytes(blob.shape) for blob in blobs)
    return len(head(NET_LAYER, size)) + size


# Checking


def misfits(name: str, held: list[Blob], wanted: list[Shape]) -> list[str]:
    """The faults that would make Caffe abort when it copies these blobs: a wrong number of blobs, a wrong shape."""
    if len(held) != len(wanted):
        return [f'layer {name} has {len(held)} blobs, the net has {len(wanted)}']
    pairs = [(blob.shape, shape) for blob, shape in zip(held, wanted, strict=True) if not blob.fits(shape)]
    return [f'layer {name} has a blob of shape {has}, the net has {wants}' for has, wants in pairs]


def not_finite(layers: Sequence[str]) -> str:
    """A message about layers with values that are not finite."""
    return f'values that are not finite in {named(layers)}; the training that wrote it diverged, or the file is damaged'


def first_faults(faults: list[str]) -> str:
    """A line with the first three faults and the number of the others: wrong weights fail in nearly every layer."""
    more = f', and {len(faults) - 3} more' if len(faults) > 3 else ''
    return '; '.join(faults[:3]) + more


def bilinear(net) -> set[str]:
    """Layers that only need their filler: fixed bilinear upsampling."""
    return {layer.name for layer in net.layer if layer.convolution_param.weight_filler.type == 'bilinear'}


def _missing(missing: list[str], paths: list[Path]) -> str:
    given = ', '.join(str(path) for path in paths) or 'no file'
    return f'no weights for {named(missing)} in {given}; add a --weights file that has them'


def named(layers: Sequence[str]) -> str:
    """Layer names for a message: up to four names, else the number and the first names."""
    return f'{len(layers)} layers: {_first_names(layers)}' if len(layers) > MAX_NAMES else _first_names(layers)


def _first_names(names: Iterable[str]) -> str:
    """The first MAX_NAMES names."""
    names = list(names)
    return ', '.join(names[:MAX_NAMES]) + (', ...' if len(names) > MAX_NAMES else '')
