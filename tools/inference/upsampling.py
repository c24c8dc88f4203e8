"""From a stride-8 map of class probabilities to a label for each pixel (fyu/dilation util.py, interp_map).

The authors' arithmetic, step for step, so that label maps are theirs in every pixel: interpolation between rows, then between
columns, in double, rounded to float, then the first of the most probable classes.
"""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from tools.inference import native

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
    """The most probable class, uint8 (H, W), after `zoom`; the first one where several are equal.

    The enlarged probabilities are not stored. Raises ValueError if the map does not cover the image.
    """
    _check(prob, size_hw, factor)
    labels = np.empty(size_hw, np.uint8)
    prob = np.ascontiguousarray(prob, np.float32)
    bands = [range(top, min(top + BAND, size_hw[0])) for top in range(0, size_hw[0], BAND)]
    fill = _fill_natively if factor in (1, 8) and native.library() else _fill

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
    """One a core, kept from image to image."""
    return ThreadPoolExecutor(len(os.sched_getaffinity(0)))


def _fill_natively(prob: np.ndarray, labels: np.ndarray, rows: range, factor: int) -> None:
    native.label_rows(prob, labels, rows, factor)


def _fill(prob: np.ndarray, labels: np.ndarray, rows: range, factor: int) -> None:
    """The same in NumPy."""
    labels[rows.start : rows.stop] = _zoom_rows(prob, rows, labels.shape[1], factor).argmax(axis=0)


def _check(prob: np.ndarray, size_hw: tuple[int, int], factor: int) -> None:
    """ValueError unless the map covers the image."""
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
    """For each pixel: the cell it lies in, the next one (or the last), and the next one's weight."""
    low, rest = np.divmod(np.array(pixels), factor)
    return low, np.minimum(low + 1, cells - 1), rest / factor
