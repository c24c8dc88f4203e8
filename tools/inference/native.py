"""zoom.c called from Python; upsampling.py has the same in NumPy for where it does not compile."""

import ctypes
from pathlib import Path

import numpy as np

from tools.support import native
from tools.support.native import pointer

SOURCE = Path(__file__).with_name('zoom.c')


class Sizes(ctypes.Structure):
    """As in zoom.c."""

    _fields_ = [(name, ctypes.c_int32) for name in ('classes', 'cells_high', 'cells_wide', 'width')]


def library() -> ctypes.CDLL | None:
    """The compiled code, if it can be had."""
    return native.library(SOURCE)


def label_rows(prob: np.ndarray, labels: np.ndarray, rows: range, factor: int) -> None:
    """Fill some rows of `labels`, uint8 (H, W), from `prob`, float32 (C, h, w), both contiguous; Python's lock is let go.

    `factor` is 8 or 1, and the map must cover the labels: nothing is checked here.
    """
    found = library()
    if found is None:
        raise RuntimeError('zoom.c is not compiled')
    width = labels.shape[1]
    cells = -(-width // factor)
    row, best, label = np.empty(cells + 1), np.empty(cells * factor, np.float32), np.empty(cells * factor, np.int32)
    sizes = Sizes(*prob.shape, width)
    function = found.label_rows_8 if factor == 8 else found.label_rows_1
    function(
        pointer(prob), ctypes.byref(sizes), ctypes.c_int32(rows.start), ctypes.c_int32(rows.stop),
        pointer(labels), pointer(row), pointer(best), pointer(label),
    )  # fmt: skip
