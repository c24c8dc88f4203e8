"""Reads arrays from NumPy's files (.npy, .npz) and from pickled dictionaries of arrays, without running what is in the file.

A dictionary in an .npy file is a pickle, which in general is a program. This reader knows the few words that containers of arrays
need, in Python 2 and 3 and in all versions of NumPy (pickles name numpy.core.multiarray or numpy._core), and refuses every other
word. Sources: numpy/lib/format.py; array_reduce and array_setstate in NumPy's methods.c.
"""

import io
import pickle
import zipfile
from collections import OrderedDict
from math import prod
from pathlib import Path
from typing import IO

import numpy as np

from pretrained.values import leaves
from tools.support.errors import UserError

MAGIC = b'\x93NUMPY'
# How a pickle begins: since protocol 2 with the number of the protocol; before, with a dictionary or a list.
PICKLES = (*(bytes((0x80, protocol)) for protocol in range(2, 6)), b'(dp', b'(lp', b'}q', b']q', b'}r', b']r', b'ccollections')
TYPES = {
    f'{kind}{size}' for kind, sizes in {'f': (2, 4, 8), 'i': (1, 2, 4, 8), 'u': (1, 2, 4, 8), 'b': (1,)}.items() for size in sizes
}
OBJECTS = 'O'
DAMAGED = (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, LookupError, MemoryError, zipfile.BadZipFile)
SAVE_IT = 'save the arrays alone: numpy.savez(FILE, **{name: array})'


class Refused(ValueError):
    """The pickle has a word that containers of arrays do not need."""


def read(path: Path) -> dict[str, np.ndarray]:
    """The arrays by their path in nested dictionaries and lists: 'conv1_1.weights', 'conv1_1.0'.

    Raises UserError for a damaged file, and for one that holds anything but arrays, numbers, text and containers.
    """
    try:
        tree = _tree(path)
        return {name: node.values for name, node in leaves(tree, _is_array).items()}  # type: ignore[attr-defined]
    except Refused as error:
        raise UserError(f'{path}: holds {error}, which is not read because it could run any program; {SAVE_IT}') from error
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror})') from error
    except DAMAGED as error:
        raise UserError(f'{path}: damaged, or not arrays of NumPy ({error}); get it again, or {SAVE_IT}') from error


def _tree(path: Path) -> object:
    """What the file holds, arrays as Array."""
    with path.open('rb') as file:
        start = file.read(len(MAGIC))
        file.seek(0)
        if start == MAGIC:
            return _npy(file)
        if start[:2] != b'PK':
            return _Unpickler(file, encoding='latin1').load()
    with zipfile.ZipFile(path) as archive:
        members = [name for name in archive.namelist() if name.endswith('.npy')]
        return {name.removesuffix('.npy'): _npy(io.BytesIO(archive.read(name))) for name in members}


def _npy(file: IO[bytes]) -> object:
    """What an .npy file holds."""
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, in_fortrans_order, dtype = header(file)
    if dtype.hasobject:
        return _Unpickler(file, encoding='latin1').load()
    found = Array()
    found.values = np.frombuffer(file.read(), dtype, prod(shape)).reshape(shape, order='F' if in_fortrans_order else 'C')
    return found


class Array(list):
    """An array: numbers are in `values`; an array of objects is a list of them."""

    values: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        """From (version, shape, dtype, order, values), as pickles have it."""
        _, shape, dtype, in_fortrans_order, values = state
        if dtype.name == OBJECTS:
            self.extend(values)
        else:
            self.values = _values(values, dtype, shape, 'F' if in_fortrans_order else 'C')


class Type:
    """The type of an array's numbers: a name like f4, and the order of their bytes."""

    def __init__(self, name: str, *_flags) -> None:
        name = str(name).lstrip('<>=|')
        if name.rstrip('8') != OBJECTS and name not in TYPES:
            raise ValueError(f'numbers of type {name}; save them as 32-bit floats')
        self.name = OBJECTS if name.startswith(OBJECTS) else name
        self.order = '<'

    def __setstate__(self, state: tuple) -> None:
        """From (version, order of bytes, ...)."""
        self.order = '>' if state[1] == '>' else '<'


def _values(data, dtype: Type, shape: tuple, order) -> np.ndarray:
    """An array from the bytes of its numbers; Python 2 pickled them as text."""
    raw = data.encode('latin1') if isinstance(data, str) else data
    array = np.frombuffer(raw, np.dtype(dtype.order + dtype.name))
    if array.size != prod(shape):
        raise ValueError(f'an array of {tuple(shape)} with {array.size} values')
    return array.reshape(shape, order=order)


def _is_array(node: object) -> bool:
    return isinstance(node, Array) and node.values is not None


class _Unpickler(pickle.Unpickler):
    """Makes containers, numbers, text and Array; refuses every other class or function."""

    def find_class(self, module: str, name: str):
        module = module.replace('numpy._core', 'numpy.core')
        if (found := _WORDS.get((module, name))) is None:
            raise Refused(f'{module}.{name}')
        return found

    def persistent_load(self, identity):
        raise Refused('values that lie elsewhere')


def _empty(*_class_shape_type) -> Array:
    return Array()


def _from_buffer(data, dtype: Type, shape: tuple, order: str) -> Array:
    found = Array()
    found.values = _values(data, dtype, shape, order)
    return found


def _scalar(dtype: Type, data) -> Array:
    return _from_buffer(data, dtype, (), 'C')


def _no_bytes() -> bytes:
    return b''


def _encoded(text: str, _encoding: str) -> bytes:
    return text.encode('latin1')


_WORDS = {
    ('collections', 'OrderedDict'): OrderedDict,
    ('numpy', 'ndarray'): Array,
    ('numpy', 'dtype'): Type,
    ('numpy.core.multiarray', '_reconstruct'): _empty,
    ('numpy.core.multiarray', 'scalar'): _scalar,
    ('numpy.core.numeric', '_frombuffer'): _from_buffer,
    ('_codecs', 'encode'): _encoded,
    ('__builtin__', 'bytes'): _no_bytes,  # protocols 0 to 2 write empty bytes this way
}
