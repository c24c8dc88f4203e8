"""Cuts an image into the tiles that a deploy net takes, and stitches their score maps (fyu/dilation test.py, predict.py).

A tile is an input of the net: `input - 372` pixels of image, with 186 pixels of context on each side.
"""

from collections.abc import Iterable, Iterator
from math import ceil

import cv2
import numpy as np

from prototxt.shapes import MARGIN, SHRINK, STRIDE

TILINGS = ('reference', 'tight')


def pad(image: np.ndarray, margin_px: int = MARGIN) -> np.ndarray:
    """`image` (H, W, channels) with `margin_px` reflected pixels on each side; the edge pixel is not repeated."""
    return cv2.copyMakeBorder(image, margin_px, margin_px, margin_px, margin_px, cv2.BORDER_REFLECT_101)


def tiles(image: np.ndarray, input_size_hw: tuple[int, int], margin_px: int = MARGIN) -> Iterator[np.ndarray]:
    """Tiles of `input_size_hw` of an unpadded `image` (H, W, channels), row by row from the top left.

    A tile that is short at the bottom or right is filled by reflecting the padded image.
    """
    padded = pad(image, margin_px)
    height, width = input_size_hw
    for top in range(0, image.shape[0], height - 2 * margin_px):
        for left in range(0, image.shape[1], width - 2 * margin_px):
            tile = padded[top : top + height, left : left + width]
            below, right = height - tile.shape[0], width - tile.shape[1]
            yield cv2.copyMakeBorder(tile, 0, below, 0, right, cv2.BORDER_REFLECT_101)


def extended(image: np.ndarray, size_hw: tuple[int, int], border: str) -> np.ndarray:
    """`image` (H, W, channels) minus its mean, extended at its bottom and right by the mean or by reflection."""
    below, right = size_hw[0] - image.shape[0], size_hw[1] - image.shape[1]
    kind = cv2.BORDER_REFLECT_101 if border == 'reflect' else cv2.BORDER_CONSTANT
    return cv2.copyMakeBorder(image, 0, below, 0, right, kind, value=(0, 0, 0))


def grid(size_hw: tuple[int, int], input_size_hw: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of tiles that cover an image of `size_hw` pixels."""
    return ceil(size_hw[0] / (input_size_hw[0] - SHRINK)), ceil(size_hw[1] / (input_size_hw[1] - SHRINK))


def stitch(maps: Iterable[np.ndarray], columns: int) -> np.ndarray:
    """One map from the tiles' maps (channels, h, w), with `columns` tiles in a row."""
    row_by_row = list(maps)
    rows = [np.concatenate(row_by_row[i : i + columns], axis=2) for i in range(0, len(row_by_row), columns)]
    return np.concatenate(rows, axis=1)


def tile_size(tiling: str, size_hw: tuple[int, int], input_size_hw: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the tiles for an image of `size_hw` pixels: the authors' `input_size_hw`, or tight ones.

    Tight tiles cover whole cells. KITTI's reference tile is 1640 pixels wide, covers 158.5 cells and gives 159. On wider images
    each further tile therefore lies 4 pixels too far to the right, as in the authors' code.
    """
    return tight_size(size_hw, input_size_hw) if tiling == 'tight' else input_size_hw


def tight_size(size_hw: tuple[int, int], input_size_hw: tuple[int, int]) -> tuple[int, int]:
    """The smallest tile that covers an image of `size_hw` pixels with no more tiles than the reference tile `input_size_hw`.

    This saves work on small images. The front end gives the same scores; the context module meets its zero padding sooner.
    """
    rows, columns = grid(size_hw, input_size_hw)
    return _tight_side(size_hw[0], rows, input_size_hw[0]), _tight_side(size_hw[1], columns, input_size_hw[1])


def _tight_side(side: int, count: int, reference: int) -> int:
    """One side of the tile. The last pixel is interpolated with the next cell, so the tile covers that cell too."""
    cells = ceil((side - 1) / STRIDE) + 1
    return SHRINK + STRIDE * min(ceil(cells / count), ceil((reference - SHRINK) / STRIDE))
