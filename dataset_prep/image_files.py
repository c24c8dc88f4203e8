"""Image and label files as arrays; a file that is missing, cut short or of the wrong kind is an error that names it.

Pillow reads them: it refuses truncated files, where OpenCV fills the rest with grey, and it keeps the indices of palette PNGs.
Neither applies an orientation tag, as labels carry none.
"""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from tools.support.errors import UserError

_EIGHT_BIT = ('L', 'P', 'RGB', 'RGBA', 'CMYK', 'YCbCr', 'LA', '1')
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels, from the file's header alone."""
    try:
        with Image.open(path) as picture:
            return picture.size
    except _BROKEN as error:
        raise _unreadable(path, error) from error


def read_bgr(path: Path) -> np.ndarray:
    """An image as uint8 (H, W, 3), BGR. Raises UserError if it is missing, damaged, or has more than 8 bits a channel."""
    picture = _read(path, _EIGHT_BIT, '8 bits a channel')
    return cv2.cvtColor(np.asarray(picture.convert('RGB')), cv2.COLOR_RGB2BGR)


def read_rgb_label(path: Path) -> np.ndarray:
    """A colour label as uint8 (H, W, 3), RGB; palette files are looked up."""
    return np.asarray(_read(path, ('RGB', 'RGBA', 'P'), 'an RGB picture').convert('RGB'))


def read_index_label(path: Path) -> np.ndarray:
    """A single-channel label as uint8 (H, W): grey values, or the indices of a palette file."""
    return np.asarray(_read(path, ('L', 'P'), 'one channel of 8 bits'))


def _read(path: Path, modes: tuple[str, ...], wanted: str) -> Image.Image:
    """A whole decoded picture of one of Pillow's `modes`."""
    try:
        with Image.open(path) as picture:
            picture.load()
    except _BROKEN as error:
        raise _unreadable(path, error) from error
    if picture.mode not in modes:
        raise UserError(f'{path} is a picture of mode {picture.mode}; expected {wanted}')
    return picture


def _unreadable(path: Path, error: Exception) -> UserError:
    """One line on why a file cannot be read."""
    if isinstance(error, FileNotFoundError):
        return UserError(f'no file at {path}; is the data set still where it was prepared?')
    reason = 'not a picture' if isinstance(error, Image.UnidentifiedImageError) else str(error)
    return UserError(f'{path} cannot be read ({reason}); get the file anew')
