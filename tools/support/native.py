"""C files of this toolkit that NumPy arrays are passed to. Where one does not compile, its work is done without, only slower."""

import ctypes
import subprocess
import sys
from functools import cache
from pathlib import Path
from threading import Lock

import numpy as np

from tools.support.compiling import shared_library
from tools.support.paths import VENV

OPTIONS = ('-O3', '-ffp-contract=off')


_one_at_a_time = Lock()


def library(source: Path) -> ctypes.CDLL | None:
    """The compiled code of a C file; None where it cannot be had, which is said once on stderr."""
    with _one_at_a_time:
        return _library(source)


@cache
def _library(source: Path) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(str(shared_library(source, VENV / 'native', OPTIONS, ('-lm',))))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f'{source.name} does not compile ({error}); what it does is done by NumPy and OpenCV, slower', file=sys.stderr)
        return None


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    """To the values of a contiguous array."""
    return ctypes.c_void_p(array.ctypes.data)
