"""Reads and writes the protocol buffers wire format without copying long fields.

Source: the encoding chapter of the protocol buffers documentation (protobuf.dev/programming-guides/encoding).
"""

from collections.abc import Iterator
from typing import NamedTuple

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
FIXED_SIZES = {FIXED64: 8, FIXED32: 4}
NOTHING = memoryview(b'')


class Truncated(ValueError):
    """The data ends inside a field."""


class Field(NamedTuple):
    """One field of a message: its number, its wire type, and `value` (VARINT) or a view of its `data` (all others)."""

    number: int
    kind: int
    value: int = 0
    data: memoryview = NOTHING


def fields(data: memoryview) -> Iterator[Field]:
    """The fields of the message in `data`, in order.

    Raises Truncated if it ends inside a field, ValueError if it is no message.
    """
    at = 0
    while at < len(data):
        key, at = read_varint(data, at)
        number, kind = key >> 3, key & 7
        if kind == VARINT:
            value, at = read_varint(data, at)
            yield Field(number, kind, value=value)
            continue
        if number == 0 or kind not in (BYTES, *FIXED_SIZES):
            raise ValueError(f'no field of a message at byte {at}')
        size, at = read_varint(data, at) if kind == BYTES else (FIXED_SIZES[kind], at)
        if size > len(data) - at:
            raise Truncated(f'field {number} needs {size - (len(data) - at):,} bytes more')
        yield Field(number, kind, data=data[at : at + size])
        at += size


def varints(data: memoryview) -> Iterator[int]:
    """The variable-length integers that `data` consists of."""
    at = 0
    while at < len(data):
        value, at = read_varint(data, at)
        yield value


def read_varint(data: memoryview, at: int) -> tuple[int, int]:
    """The variable-length integer at `at`, and the position after it."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            raise Truncated('the data ends inside a number')
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError(f'no number of a message before byte {at}')


def varint(value: int) -> bytes:
    """`value` (not negative) as a variable-length integer."""
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def head(number: int, size: int) -> bytes:
    """The bytes before the `size` bytes of a BYTES field."""
    return varint(number << 3 | BYTES) + varint(size)


def bytes_field(number: int, value: bytes) -> bytes:
    """A whole BYTES field: text, a packed list or a message."""
    return head(number, len(value)) + value
