"""Writes weight files as torch.save does, with the standard library alone.

Format: `_save` (a zip archive) and `_legacy_save` (the form before PyTorch 1.6) in torch/serialization.py of PyTorch 2.13, and
getPadding in its caffe2/serialize/inline_container.cc. A pickle of protocol 2 names functions and classes of PyTorch, and
storages by keys. The values of the storages follow it.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

MAGIC_NUMBER, PROTOCOL_VERSION = 0x1950A86A20F9469CFC6C, 1001
SYSTEM = {'protocol_version': PROTOCOL_VERSION, 'little_endian': True, 'type_sizes': {'short': 2, 'int': 4, 'long': 4}}
STORAGES = {
    'float32': 'FloatStorage', 'float64': 'DoubleStorage', 'float16': 'HalfStorage', 'int64': 'LongStorage',
    'int32': 'IntStorage', 'int16': 'ShortStorage', 'int8': 'CharStorage', 'uint8': 'ByteStorage', 'bool': 'BoolStorage',
}  # fmt: skip


@dataclass(frozen=True)
class Name:
    """The name of a function or class in the pickle; it does not exist here."""

    module: str
    name: str

    def __call__(self):
        raise NotImplementedError  # pickle wants a callable here


@dataclass(frozen=True)
class Storage:
    """The values that tensors are views of. `kind`: the name of PyTorch's class; '' means the class for the array's type."""

    values: np.ndarray
    kind: str = ''


@dataclass(frozen=True)
class Tensor:
    """A tensor or parameter: `view` shares memory with `storage.values`, a contiguous array.

    `old`: as PyTorch before 0.4 pickled it (torch/tensor.py, autograd/variable.py).
    """

    storage: Storage
    view: np.ndarray
    old: bool = False
    parameter: bool = False

    def __reduce__(self):
        if self.parameter:
            plain = replace(self, parameter=False)
            if self.old:
                return Name('torch.nn.parameter', 'Parameter'), (plain,), (True, False, OrderedDict())
            return Name('torch._utils', '_rebuild_parameter'), (plain, True, OrderedDict())
        step = self.view.itemsize
        offset = (self.view.ctypes.data - self.storage.values.ctypes.data) // step if self.view.size else 0
        arguments = self.storage, offset, self.view.shape, tuple(side // step for side in self.view.strides)
        if self.old:
            return Name('torch._utils', '_rebuild_tensor'), arguments
        return Name('torch._utils', '_rebuild_tensor_v2'), (*arguments, False, OrderedDict())


class Record:
    """An object of a class that is not there, such as the settings of a training script."""

    def __init__(self, module: str, name: str, state=()):
        self.name, self.state = Name(module, name), state

    def __reduce__(self):
        return self.name, (), self.state


def tensor(array: np.ndarray, **kind: bool) -> Tensor:
    """A tensor with a storage of its own."""
    values = np.ascontiguousarray(array)
    return Tensor(Storage(values), values.reshape(array.shape), **kind)


def state_dict(arrays: dict[str, np.ndarray]) -> OrderedDict:
    """Tensors by name as Module.state_dict() returns them: an OrderedDict with the versions of the modules."""
    state = OrderedDict((name, tensor(array)) for name, array in arrays.items())
    state._metadata = OrderedDict([('', {'version': 1})])
    return state


def save_zip(tree, path: Path) -> None:
    """torch.save(tree, path)."""
    pickled, storages = _pickled(tree, str)
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as archive:
        archive.writestr('archive/data.pkl', pickled)
        archive.writestr('archive/.format_version', '1')
        archive.writestr('archive/byteorder', 'little')
        for key, storage in storages.items():
            archive.writestr(_aligned(archive, f'archive/data/{key}'), storage.values.tobytes())
        archive.writestr('archive/version', '3\n')


def _aligned(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """A member whose content begins at a multiple of 64 bytes; an extra field fills the gap."""
    info = zipfile.ZipInfo(name)
    gap = -(archive.start_dir + 30 + len(name) + 4) % 64  # 30: the fixed part of the header before each member
    info.extra = b'FB' + gap.to_bytes(2, 'little') + b'Z' * gap
    return info


def save_old(tree, path: Path) -> None:
    """torch.save(tree, path, _use_new_zipfile_serialization=False)."""
    pickled, storages = _pickled(tree, lambda index: str(94_000_000_000_000 + 64 * index), None)  # keys are addresses
    keys = sorted(storages)
    with path.open('wb') as file:
        for head in (MAGIC_NUMBER, PROTOCOL_VERSION, SYSTEM):
            pickle.dump(head, file, protocol=2)
        file.write(pickled)
        pickle.dump(keys, file, protocol=2)
        for key in keys:
            file.write(storages[key].values.size.to_bytes(8, 'little'))
            file.write(storages[key].values.data if storages[key].values.size else b'')


def _pickled(tree, key_of, *view_metadata) -> tuple[bytes, dict[str, Storage]]:
    """The pickle of a tree, and its storages by key."""
    out = io.BytesIO()
    pickler = _Pickler(out, key_of, view_metadata)
    pickler.dump(tree)
    return out.getvalue(), pickler.storages


class _Pickler(pickle._Pickler):
    """Pickles a Name as a global, even though it cannot be imported, and a Storage as its key."""

    def __init__(self, file, key_of, view_metadata):
        super().__init__(file, protocol=2)
        self.keys: dict[int, str] = {}
        self.storages: dict[str, Storage] = {}
        self.key_of, self.view_metadata = key_of, view_metadata

    def persistent_id(self, obj):
        if not isinstance(obj, Storage):
            return None
        key = self.keys.setdefault(id(obj), self.key_of(len(self.keys)))
        self.storages[key] = obj
        kind = obj.kind or STORAGES[obj.values.dtype.name]
        return ('storage', Name('torch', kind), key, 'cpu', obj.values.size, *self.view_metadata)

    def save_name(self, obj: Name) -> None:
        self.write(f'c{obj.module}\n{obj.name}\n'.encode())

    dispatch = pickle._Pickler.dispatch | {Name: save_name}
