"""Reads image and label files as arrays. A missing, cut-off or wrong file is an error that names it.

Pillow reads the files: it refuses truncated files, which OpenCV fills with grey, and it keeps the indices of palette PNGs.
label_png reads complete label PNGs of one byte per pixel, because it is faster. Neither applies an orientation tag, because
labels have none; custom.py refuses images that have one. Files that Pillow would change silently are refused: it divides 16 bits
per channel by 256, drops alpha, and stretches grey of 1, 2 or 4 bits over 0 to 255, which changes the ids of a label.
"""

import struct
import zlib
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, TiffImagePlugin

from dataset_prep.label_png import DAMAGED, decode
from tools.support.errors import UserError

IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.ppm', '.webp')  # in lower case
ORIENTATION, UPRIGHT = 0x0112, 1  # EXIF's tag, and its value for an image that is not turned
ON_THEIR_SIDE = range(5, 9)  # values of ORIENTATION for which height and width change places
TIFF_SIZE = 256, 257  # TIFF's tags of width and height
_IMAGE_MODES = ('L', 'P', 'RGB', 'CMYK', 'YCbCr', '1')
_ALPHA_MODES = ('RGBA', 'LA', 'PA', 'RGBa', 'La')
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, Image.DecompressionBombError)


def image_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels, from the file's header alone."""
    try:
        with Image.open(path) as picture:
            return picture.size
    except _BROKEN as error:
        raise _unreadable(path, error) from error


def seen_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels as a viewer shows the picture, turned by its orientation tag; only the header is read."""
    try:
        with Image.open(path) as picture:
            # Newer versions of Pillow turn the size of a TIFF, but of no other format.
            stored: tuple = picture.size
            if isinstance(picture, TiffImagePlugin.TiffImageFile):
                stored = tuple(picture.tag_v2[tag] for tag in TIFF_SIZE)
            turned = picture.getexif().get(ORIENTATION, UPRIGHT) in ON_THEIR_SIDE
    except (*_BROKEN, KeyError) as error:
        raise _unreadable(path, error) from error
    return (stored[1], stored[0]) if turned else (stored[0], stored[1])


def orientation(path: Path) -> int:
    """EXIF's orientation, 1 to 8: how a viewer turns the stored pixels. 1, also without the tag, is not at all.

    Raises UserError if the header cannot be read.
    """
    try:
        with Image.open(path) as picture:
            return picture.getexif().get(ORIENTATION, UPRIGHT)
    except _BROKEN as error:
        raise _unreadable(path, error) from error


def is_coloured_picture(path: Path, *, palettes: bool = False) -> bool:
    """Whether a file holds RGB pixels instead of class ids; with `palettes`, a palette file counts as RGB too.

    Raises UserError if its header cannot be read.
    """
    try:
        with Image.open(path) as picture:
            return picture.mode in ('RGB', 'RGBA', *(['P'] if palettes else []))
    except _BROKEN as error:
        raise _unreadable(path, error) from error


def read_bgr(path: Path) -> np.ndarray:
    """An image as uint8 (H, W, 3), BGR.

    Raises UserError if it is missing or damaged, has an alpha channel, or has more than 8 bits a channel.
    """
    picture, _ = _read(path)
    if picture.mode in _ALPHA_MODES or 'transparency' in picture.info:
        raise UserError(f'{path} has an alpha channel (mode {picture.mode}); save it without transparency')
    if picture.mode not in _IMAGE_MODES:
        raise UserError(f'{path} is a picture of mode {picture.mode}; expected grey or colour of 8 bits a channel')
    rgb = picture if picture.mode == 'RGB' else picture.convert('RGB')  # convert() copies even an RGB picture
    return cv2.cvtColor(np.asarray(rgb), cv2.COLOR_RGB2BGR)


def read_rgb_label(path: Path) -> np.ndarray:
    """A colour label as uint8 (H, W, 3), RGB; palette files are looked up."""
    picture, _ = _read(path, label=True)
    if picture.mode not in ('RGB', 'P'):
        raise UserError(f'{path} is a picture of mode {picture.mode}; labels of this data set are RGB colours of 8 bits')
    return np.asarray(picture.convert('RGB'))


def read_index_label(path: Path) -> np.ndarray:
    """A single-channel label as uint8 (H, W): grey values, or the indices of a palette file."""
    if (found := _whole_label_png(path)) is not None:
        return found
    picture, bits = _read(path, label=True)
    if picture.mode == 'P' or picture.mode == 'L' and bits == 8:
        return np.asarray(picture)
    if picture.mode in ('L', '1'):
        raise UserError(f'{path} is grey of {bits} bits, whose values are stretched to 0..255 when read; save it with 8 bits')
    kind = 'a colour picture' if picture.mode.startswith('RGB') else 'a picture'
    raise UserError(
        f'{path} is {kind} (mode {picture.mode}) but must be an index PNG: one channel of 8 bits with the class id of each pixel'
    )


def _whole_label_png(path: Path) -> np.ndarray | None:
    """The pixels from label_png; None for another kind of file, and for a damaged one, which Pillow then judges."""
    with suppress(OSError, *DAMAGED):
        return decode(path.read_bytes())
    return None


def _read(path: Path, label: bool = False) -> tuple[Image.Image, int]:
    """A decoded picture and the bits per channel in the file. Raises UserError for 16 bits and for a lossy label."""
    try:
        with Image.open(path) as picture:
            bits = _bits(picture)
            picture.load()
    except _BROKEN as error:
        raise _unreadable(path, error) from error
    if bits > 8:
        raise UserError(f'{path} has {bits} bits a channel (mode {picture.mode}); save it with 8')
    if label and picture.format in ('JPEG', 'MPO'):
        raise UserError(f'{path} is a JPEG, whose compression changes labels; labels must be PNGs')
    return picture, bits


def _bits(picture: Image.Image) -> int:
    """Bits per channel in the file, from the name of Pillow's raw mode, the only place where Pillow has them."""
    if picture.mode == '1':
        return 1
    if picture.mode.startswith(('I', 'F')):
        return 16 if '16' in picture.mode else 32
    tiles = getattr(picture, 'tile', None)
    raw = tiles[0][3] if tiles else ''
    name = raw if isinstance(raw, str) else str(raw[0]) if raw else ''
    digits = name.partition(';')[2].rstrip('BLNRIS')
    return int(digits) if digits.isdigit() else 8


def _unreadable(path: Path, error: Exception) -> UserError:
    """One line on why a file cannot be read."""
    if isinstance(error, FileNotFoundError):
        return UserError(f'no file at {path}; was the data set moved after it was prepared?')
    if isinstance(error, Image.DecompressionBombError):
        return UserError(f'{path} is too large ({error}); cut it into smaller pictures')
    reason = 'not a picture' if isinstance(error, Image.UnidentifiedImageError) else str(error)
    return UserError(f'{path} cannot be read ({reason}); get the file anew')
