"""C files of this toolkit, compiled when they are first wanted. Where that fails their work is done without, only slower."""

import ctypes
import os
import shutil
import subprocess
import sys
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from tools.support.atomic import whole_file
from tools.support.paths import VENV

FLAGS = ('-O3', '-ffp-contract=off', '-shared', '-fPIC', '-std=gnu11')


@cache
def library(source: Path) -> ctypes.CDLL | None:
    """The compiled code of a C file; None where it cannot be had, which is said once on stderr."""
    path = VENV / 'native' / f'{source.stem}-{sha256(source.read_bytes() + repr(FLAGS).encode()).hexdigest()[:16]}.so'
    try:
        if not path.exists():
            compile_to(source, path)
        return ctypes.CDLL(str(path))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f'{source.name} does not compile ({error}); what it does is done by NumPy and OpenCV, slower', file=sys.stderr)
        return None


def compile_to(source: Path, path: Path) -> None:
    """Compile a C file; OSError or CalledProcessError when that fails."""
    compiler = os.environ.get('CC') or shutil.which('cc') or shutil.which('gcc')
    if compiler is None:
        raise FileNotFoundError('no C compiler: neither cc nor gcc is there')
    with whole_file(path) as temporary:
        subprocess.run([*compiler.split(), *FLAGS, '-o', str(temporary), str(source), '-lm'], check=True, capture_output=True)


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    """To the values of a contiguous array."""
    return ctypes.c_void_p(array.ctypes.data)
