"""Reads a safetensors file: a length, a JSON header, then the values (huggingface.co/docs/safetensors, "Format")."""

import json
from math import prod
from pathlib import Path

import numpy as np

from pretrained.caffemodel import mapped
from pretrained.values import BFLOAT16, widened
from tools.support.errors import UserError

DTYPES = {'F64': '<f8', 'F32': '<f4', 'F16': '<f2', 'BF16': BFLOAT16, 'I64': '<i8', 'I32': '<i4', 'U8': '<u1', 'BOOL': '?'}
MAX_HEAD_BYTES = 100_000_000  # by the format's own rule


def head_bytes(start: bytes, size: int) -> int | None:
    """Length of the header if a file of `size` bytes that begins with `start` is a safetensors file, else None."""
    length = int.from_bytes(start[:8], 'little')
    return length if len(start) > 8 and 2 <= length <= min(MAX_HEAD_BYTES, size - 8) and start[8:9] == b'{' else None


def read(path: Path) -> dict[str, np.ndarray]:
    """The tensors by name, memory-mapped. Raises UserError for a damaged file or unknown types."""
    data = mapped(path)
    length = head_bytes(bytes(data[:9]), len(data))
    try:
        if length is None:
            raise ValueError('it does not begin as one')
        entries = json.loads(bytes(data[8 : 8 + length]))
        values = data[8 + length :]
        return {name: _array(entry, values) for name, entry in entries.items() if name != '__metadata__'}
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(f'{path}: damaged, or not safetensors that can be read here ({error}); get it again') from error


def _array(entry: dict, values: memoryview) -> np.ndarray:
    if entry['dtype'] not in DTYPES:
        raise ValueError(f'numbers of type {entry["dtype"]}; save them as F32')
    dtype, shape, (begin, end) = np.dtype(DTYPES[entry['dtype']]), tuple(entry['shape']), entry['data_offsets']
    if not 0 <= begin <= end <= len(values) or end - begin != prod(shape) * dtype.itemsize:
        raise ValueError(f'a tensor of {shape} at bytes {begin} to {end} of {len(values)}')
    found = np.frombuffer(values[begin:end], dtype).reshape(shape)
    return widened(found) if dtype == BFLOAT16 else found
