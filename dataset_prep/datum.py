"""Caffe's Datum message as bytes, written and read directly: a float map of 12 MB in milliseconds.

Protocol buffers for Python copies float fields value by value (seconds for such a map); the wire format of this one message is
small enough to write by hand. Field numbers are those of `message Datum` in caffe.proto: channels 1, height 2, width 3, data 4,
float_data 6, encoded 7. The floats are written packed, which parsers accept for this field too, in 4 bytes each rather than 5.
"""

import cv2
import numpy as np

from tools.support.errors import UserError

_VARINT, _BYTES = 0, 2  # wire types
_CHANNELS, _HEIGHT, _WIDTH, _DATA, _FLOAT_DATA, _ENCODED = 1, 2, 3, 4, 6, 7
_LITTLE_ENDIAN_FLOAT = np.dtype('<f4')


def raw_datum(array: np.ndarray) -> bytes:
    """A Datum of uint8 (C, H, W)."""
    return _shape_fields(array.shape) + _bytes_field(_DATA, array.astype(np.uint8, copy=False).tobytes())


def float_datum(array: np.ndarray) -> bytes:
    """A Datum of float32 (C, H, W)."""
    return _shape_fields(array.shape) + _bytes_field(_FLOAT_DATA, array.astype(_LITTLE_ENDIAN_FLOAT, copy=False).tobytes())


def png_datum(array: np.ndarray) -> bytes:
    """A Datum of uint8 (4, H, W) held as a PNG; channels B, G, R and a fourth kept as alpha, which Caffe decodes in this order."""
    good, png = cv2.imencode('.png', np.ascontiguousarray(array.transpose(1, 2, 0)))
    if not good:
        raise ValueError(f'OpenCV cannot write {array.shape} {array.dtype} as a PNG')
    return _shape_fields(array.shape) + _bytes_field(_DATA, png.tobytes()) + _varint_field(_ENCODED, 1)


def decode_datum(message: bytes | memoryview) -> np.ndarray:
    """The array of a Datum written here: uint8 or float32, (C, H, W), a copy. Raises UserError for anything else."""
    fields = _fields(memoryview(message))
    try:
        shape = tuple(int(fields[number]) for number in (_CHANNELS, _HEIGHT, _WIDTH))
        if fields.get(_ENCODED):
            return _decoded_png(fields[_DATA])
        if _FLOAT_DATA in fields:
            return np.frombuffer(fields[_FLOAT_DATA], _LITTLE_ENDIAN_FLOAT).astype(np.float32).reshape(shape)
        return np.frombuffer(fields[_DATA], np.uint8).reshape(shape).copy()
    except (KeyError, ValueError) as error:
        raise UserError(f'a record that is no whole Datum of this toolkit ({error!r})') from error


def _decoded_png(png: memoryview) -> np.ndarray:
    """uint8 (4, H, W) from the bytes of a 4-channel PNG."""
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.ndim != 3:
        raise ValueError('not a PNG of several channels')
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _shape_fields(shape: tuple[int, ...]) -> bytes:
    channels, height, width = shape
    return _varint_field(_CHANNELS, channels) + _varint_field(_HEIGHT, height) + _varint_field(_WIDTH, width)


def _varint_field(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value)


def _bytes_field(number: int, value: bytes) -> bytes:
    return b''.join((_varint(number << 3 | _BYTES), _varint(len(value)), value))


def _varint(value: int) -> bytes:
    """A non-negative number in groups of 7 bits, the lowest first, all but the last marked by the high bit."""
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    groups.append(value)
    return bytes(groups)


def _fields(message: memoryview) -> dict[int, int | memoryview]:
    """Values of the top-level fields by number; later ones win, as in protocol buffers."""
    fields: dict[int, int | memoryview] = {}
    position = 0
    try:
        while position < len(message):
            key, position = _read_varint(message, position)
            value, position = _read_varint(message, position)
            if key & 7 == _BYTES:
                start, position = position, position + value
                if position > len(message):
                    raise UserError('a Datum that ends early')
                fields[key >> 3] = message[start:position]
            elif key & 7 == _VARINT:
                fields[key >> 3] = value
            else:
                raise UserError(f'a Datum with a field of wire type {key & 7}, which this toolkit does not write')
    except IndexError as error:
        raise UserError('a Datum that ends early') from error
    return fields


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    """The number at `position` and the position after it."""
    value, shift = 0, 0
    while True:
        group = message[position]
        position += 1
        value |= (group & 0x7F) << shift
        if group < 0x80:
            return value, position
        shift += 7
