"""Reads the tensors of a PyTorch file (.pth, .pt) without PyTorch, and without running what is in the file.

Such a file is a pickle, which in general is a program. This reader knows the few words that a dictionary of tensors
needs (Python's documentation of pickle, "Restricting Globals"), ignores the records that trainings write beside it, and refuses
every other word. Both forms are read: the zip archive of PyTorch 1.6 and later, and the older form, in which
torchvision's VGG-16 is published. Source for both: torch/serialization.py.
"""

import io
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pretrained.caffemodel import mapped
from pretrained.values import BFLOAT16, leaves, widened
from tools.support.errors import UserError

# The older form begins with its magic number, pickled by protocol 2.
OLD_MAGIC = b'\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'
OLD_PROTOCOL = 1001
STORAGES = {
    'FloatStorage': '<f4', 'DoubleStorage': '<f8', 'HalfStorage': '<f2', 'LongStorage': '<i8', 'IntStorage': '<i4',
    'ShortStorage': '<i2', 'CharStorage': '<i1', 'ByteStorage': '<u1', 'BoolStorage': '?', 'BFloat16Storage': BFLOAT16,
}  # fmt: skip
# Training scripts and PyTorch Lightning write objects of these modules beside the weights: settings, counts, paths. Ignored.
IGNORED_MODULES = (
    'addict', 'argparse', 'collections', 'datetime', 'easydict', 'lightning', 'lightning_fabric', 'mmcv', 'mmengine', 'numpy',
    'omegaconf', 'pathlib', 'pytorch_lightning', 'torchmetrics', 'yacs',
)  # fmt: skip
IGNORED_BUILTINS = ('bytearray', 'complex', 'frozenset', 'range', 'set', 'slice')
IGNORED_OF_TORCH = ('device', 'Size', 'float16', 'bfloat16', 'float32', 'float64', 'int64')
SAVE_IT = 'save the weights alone: torch.save(model.state_dict(), FILE)'
DAMAGED = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError, struct.error, MemoryError,
    RecursionError,
)  # fmt: skip


class Storage(NamedTuple):
    """A block of values elsewhere in the file."""

    dtype: np.dtype
    key: str
    values: int


class Tensor(NamedTuple):
    """A view of a storage; sizes and strides count values."""

    storage: Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class OldParameter(Tensor):
    """A tensor as a parameter, as PyTorch pickled one before 0.4."""

    def __new__(cls, tensor: Tensor) -> 'OldParameter':
        return super().__new__(cls, *tensor)

    def __setstate__(self, state) -> None:
        """Drops the state: hooks, and whether the parameter was trained."""


class Refused(ValueError):
    """The pickle has a word that a dictionary of tensors does not need."""


class Ignored(dict):
    """Takes the place of an object that holds no weights. Its state is dropped; items of a mapping are kept."""

    def __init__(self, *_arguments) -> None:
        super().__init__()

    def __setstate__(self, state) -> None:
        """Drops the state."""

    def append(self, _item) -> None:
        """Drops an item of a list."""

    def extend(self, _items) -> None:
        """Drops items of a list."""


def is_zipped(names: list[str]) -> bool:
    """Whether an archive with members `names` is such a file."""
    return any(name.endswith('/data.pkl') for name in names)


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors, memory-mapped, by their path in nested dictionaries and lists: 'state_dict.module.features.0.weight'.

    Raises UserError for a damaged file, and for one that holds anything but tensors, numbers and text.
    """
    data = mapped(path)
    try:
        tree, places = _zipped(path, data) if bytes(data[:2]) == b'PK' else _old(path, data)
        tensors = leaves(tree, lambda node: isinstance(node, Tensor))
        return {name: _array(tensor, places, data) for name, tensor in tensors.items()}  # type: ignore[arg-type]
    except Refused as error:
        raise UserError(f'{path}: holds {error}, which is not read because it could run any program; {SAVE_IT}') from error
    except zipfile.BadZipFile as error:
        raise UserError(f'{path}: damaged ({error}); get it again') from error
    except DAMAGED as error:
        raise UserError(f'{path}: damaged, or not weights of PyTorch ({error}); get it again, or {SAVE_IT}') from error


class _Unpickler(pickle.Unpickler):
    """Makes dictionaries, lists, numbers, text, Tensor, and Ignored for other objects of a training; refuses all other names."""

    def __init__(self, file) -> None:
        super().__init__(file)
        self.storages: dict[str, Storage] = {}

    def find_class(self, module: str, name: str):
        if (module, name) == ('collections', 'OrderedDict'):
            return OrderedDict
        if module == 'torch._utils' and name in ('_rebuild_tensor', '_rebuild_tensor_v2'):  # before PyTorch 0.4, and since
            return _tensor
        if (module, name) == ('torch._utils', '_rebuild_parameter'):
            return _parameter
        if (module, name) == ('torch.nn.parameter', 'Parameter'):
            return OldParameter
        if module == 'torch' and name in STORAGES:
            return np.dtype(STORAGES[name])
        if module == 'torch' and name.endswith('Storage'):
            raise ValueError(f'numbers of a {name}; save them as 32-bit floats')
        if (module in ('__builtin__', 'builtins') and name in IGNORED_BUILTINS) or (module, name) == ('_codecs', 'encode'):
            return Ignored
        if module.partition('.')[0] in IGNORED_MODULES or (module == 'torch' and name in IGNORED_OF_TORCH):
            return Ignored
        raise Refused(f'{module}.{name}')

    def persistent_load(self, identity) -> Storage:
        kind, dtype, key, _device, count, *view = identity
        if kind != 'storage' or not isinstance(dtype, np.dtype) or any(view):
            raise ValueError('a storage of a kind that is not known')
        return self.storages.setdefault(str(key), Storage(dtype, str(key), int(count)))


def _tensor(storage: Storage, offset: int, size: tuple, stride: tuple, *_hooks) -> Tensor:
    if not isinstance(storage, Storage):
        raise TypeError('a tensor without storage')
    return Tensor(storage, offset, size, stride)


def _parameter(tensor: Tensor, *_rest) -> Tensor:
    return tensor


def _zipped(path: Path, data: memoryview) -> tuple[object, dict[str, int]]:
    """The pickled tree of an archive, and where in the file each storage begins."""
    with zipfile.ZipFile(path) as archive:
        if damaged := archive.testzip():
            raise zipfile.BadZipFile(f'the sum of {damaged} is wrong')
        members = {info.filename: info for info in archive.infolist()}
        (pickled,) = [name for name in members if name.endswith('/data.pkl')]
        prefix = pickled.removesuffix('data.pkl')
        if archive.read(prefix + 'byteorder') != b'little' if prefix + 'byteorder' in members else False:
            raise ValueError('its numbers are big-endian')
        tree = _Unpickler(io.BytesIO(archive.read(pickled))).load()
    storages = {name: info for name, info in members.items() if name.startswith(prefix + 'data/')}
    if any(info.compress_type != zipfile.ZIP_STORED for info in storages.values()):
        raise ValueError('its tensors are compressed')
    return tree, {name.removeprefix(prefix + 'data/'): _content(info, data) for name, info in storages.items()}


def _content(info: zipfile.ZipInfo, data: memoryview) -> int:
    """Where a stored member's bytes begin: after its local header, a name and extra fields."""
    name_bytes, extra_bytes = struct.unpack_from('<HH', data, info.header_offset + 26)
    return info.header_offset + 30 + name_bytes + extra_bytes


def _old(path: Path, data: memoryview) -> tuple[object, dict[str, int]]:
    """The same for the older form: several pickles, then each storage after its number of values."""
    with path.open('rb') as file:
        file.seek(len(OLD_MAGIC))
        if _Unpickler(file).load() != OLD_PROTOCOL:
            raise ValueError('an unknown version of the format')
        machine = _Unpickler(file).load()
        unpickler = _Unpickler(file)
        tree, storages = unpickler.load(), unpickler.storages
        keys = _Unpickler(file).load()
        at = file.tell()
    if not machine['little_endian']:
        raise ValueError('its numbers are big-endian')
    places = {}
    for key in map(str, keys):
        (count,) = struct.unpack_from('<q', data, at)
        if key in storages and storages[key].values != count:
            raise ValueError(f'storage {key} has {count} values, not {storages[key].values}')
        places[key] = at + 8
        at += 8 + count * storages[key].dtype.itemsize
    return tree, places


def _array(tensor: Tensor, places: dict[str, int], data: memoryview) -> np.ndarray:
    """A view of the tensor's values in the file. Raises ValueError if it exceeds the storage or the file."""
    storage, size, stride = tensor.storage, tuple(tensor.size), tuple(tensor.stride)
    last = tensor.offset + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    if min((tensor.offset, *size, *stride), default=0) < 0 or (0 not in size and last >= storage.values):
        raise ValueError(f'a tensor of {size} reaches over its storage of {storage.values} values')
    flat = np.frombuffer(data, storage.dtype, storage.values, places[storage.key])
    strides = tuple(step * storage.dtype.itemsize for step in stride)
    found = np.lib.stride_tricks.as_strided(flat[tensor.offset :], size, strides, writeable=False)
    return widened(found) if storage.dtype == BFLOAT16 else found
