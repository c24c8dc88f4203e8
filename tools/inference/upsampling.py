"""Turns a stride-8 map of class probabilities into a label for each pixel (fyu/dilation util.py, interp_map).

The steps are the authors', so that every pixel gets their label: interpolate between rows, then between columns, in double;
round to float; take the first of the most probable classes.
"""

import ctypes
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np

from tools.support.native import library, pointer

SOURCE = Path(__file__).with_name('zoom.c')  # what _fill does, in C
BAND = 32  # pixel rows that one thread takes at a time
WORTH_THREADS = 1 << 16  # pixels


def zoom(prob: np.ndarray, size_hw: tuple[int, int], factor: int) -> np.ndarray:
    """`prob` (C, h, w) enlarged to float32 (C, *size_hw) by bilinear interpolation, aligned at the origin.

    Pixel y lies between cells y // factor and the next, at y / factor. The authors' formula reads one cell beyond the map
    when the map ends with the image; here the last cell is repeated. Raises ValueError if the map does not cover the image.
    """
    _check(prob, size_hw, factor)
    return _zoom_rows(prob, range(size_hw[0]), size_hw[1], factor)


def argmax(prob: np.ndarray, size_hw: tuple[int, int], factor: int) -> np.ndarray:
    """The most probable class of each pixel after `zoom`, uint8 (H, W); the first one if several are equal.

    The enlarged probabilities are not stored. Raises ValueError if the map does not cover the image.
    """
    _check(prob, size_hw, factor)
    labels = np.empty(size_hw, np.uint8)
    prob = np.ascontiguousarray(prob, np.float32)
    bands = [range(top, min(top + BAND, size_hw[0])) for top in range(0, size_hw[0], BAND)]
    fill = _fill_natively if factor in (1, 8) and compiled() else _fill

    def work(rows: range) -> None:
        fill(prob, labels, rows, factor)

    if labels.size < WORTH_THREADS:
        for rows in bands:
            work(rows)
    else:
        list(_threads().map(work, bands))
    return labels


@cache
def _threads() -> ThreadPoolExecutor:
    """One thread per core, kept from image to image."""
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)))


class _Sizes(ctypes.Structure):
    """The struct of zoom.c."""

    _fields_ = [(name, ctypes.c_int32) for name in ('classes', 'cells_high', 'cells_wide', 'width')]


def compiled() -> ctypes.CDLL | None:
    """The functions of zoom.c; None if it does not compile here."""
    return library(SOURCE)


def _fill_natively(prob: np.ndarray, labels: np.ndarray, rows: range, factor: int) -> None:
    """Fill `rows` of `labels`, uint8 (H, W), from `prob`, float32 (C, h, w), by zoom.c; other Python threads run meanwhile.

    Both arrays are contiguous and `factor` is 8 or 1. The C code does not check that the map covers the labels.
    """
    found = compiled()
    if found is None:
        raise RuntimeError('zoom.c is not compiled')
    width = labels.shape[1]
    cells = -(-width // factor)
    row, best, label = np.empty(cells + 1), np.empty(cells * factor, np.float32), np.empty(cells * factor, np.int32)
    sizes = _Sizes(*prob.shape, width)
    function = found.label_rows_8 if factor == 8 else found.label_rows_1
    function(
        pointer(prob), ctypes.byref(sizes), ctypes.c_int32(rows.start), ctypes.c_int32(rows.stop),
        pointer(labels), pointer(row), pointer(best), pointer(label),
    )  # fmt: skip


def _fill(prob: np.ndarray, labels: np.ndarray, rows: range, factor: int) -> None:
    """The same as _fill_natively in NumPy."""
    labels[rows.start : rows.stop] = _zoom_rows(prob, rows, labels.shape[1], factor).argmax(axis=0)


def _check(prob: np.ndarray, size_hw: tuple[int, int], factor: int) -> None:
    """Raise ValueError if the map does not cover the image."""
    _, cells_high, cells_wide = prob.shape
    if cells_high * factor < size_hw[0] or cells_wide * factor < size_hw[1]:
        raise ValueError(
            f'a map of {cells_high}x{cells_wide} cells of {factor} pixels does not cover {size_hw[0]}x{size_hw[1]} pixels'
        )


def _zoom_rows(prob: np.ndarray, rows: range, width: int, factor: int) -> np.ndarray:
    """Pixel rows `rows` of `prob` (C, h, w) enlarged: float32 (C, len(rows), width)."""
    low, high, weight = _neighbours(rows, prob.shape[1], factor)
    weight = weight[:, np.newaxis]
    tall = weight * prob[:, high] + (1 - weight) * prob[:, low]
    low, high, weight = _neighbours(range(width), prob.shape[2], factor)
    return ((1 - weight) * tall[:, :, low] + weight * tall[:, :, high]).astype(np.float32)


def _neighbours(pixels: range, cells: int, factor: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each pixel: its cell, the next cell (or the last one), and the weight of the next cell."""
    low, rest = np.divmod(np.array(pixels), factor)
    return low, np.minimum(low + 1, cells - 1), rest / factor
