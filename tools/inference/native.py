"""zoom.c, compiled when it is first wanted. Without a compiler there is the same in NumPy (upsampling.py), only slower."""

import ctypes
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np

from tools.support.compiling import shared_library
from tools.support.paths import VENV

SOURCE = Path(__file__).with_name('zoom.c')
FLAGS = ('-O3', '-ffp-contract=off')


class Sizes(ctypes.Structure):
    """As in zoom.c."""

    _fields_ = [(name, ctypes.c_int32) for name in ('classes', 'cells_high', 'cells_wide', 'width')]


@cache
def library() -> ctypes.CDLL | None:
    """The compiled code; None where it cannot be had, which is said once on stderr."""
    try:
        return ctypes.CDLL(str(shared_library(SOURCE, VENV / 'native', FLAGS, ('-lm',))))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f'labels are made by NumPy, which is slower: {SOURCE.name} does not compile ({error})', file=sys.stderr)
        return None


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


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)
