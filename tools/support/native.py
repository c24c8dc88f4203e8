"""Compiles the C files of this toolkit on first use. Without a compiler, NumPy and OpenCV do the work more slowly."""

import ctypes
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from threading import Lock

import numpy as np

from tools.support.atomic import whole_file
from tools.support.bootstrap import system_first
from tools.support.paths import VENV

OPTIONS = ('-O3', '-ffp-contract=off')
COMMON = ('-shared', '-fPIC', '-std=gnu11')

_one_at_a_time = Lock()


def shared_library(source: Path, folder: Path, options: Sequence[str] = (), libraries: Sequence[str] = ()) -> Path:
    """Path of `source` compiled into `folder`; it is compiled again if the source or the flags change.

    Raises OSError without a compiler, CalledProcessError when it does not compile.
    """
    flags = (*options, *COMMON)
    path = folder / f'{source.stem}-{sha256(source.read_bytes() + repr((flags, libraries)).encode()).hexdigest()[:16]}.so'
    if not path.exists():
        programs = system_first()
        compiler = os.environ.get('CC') or shutil.which('cc', path=programs) or shutil.which('gcc', path=programs)
        if compiler is None:
            raise FileNotFoundError('no C compiler: neither cc nor gcc is there')
        with whole_file(path) as temporary:
            command = [*compiler.split(), *flags, '-o', str(temporary), str(source), *libraries]
            subprocess.run(command, check=True, capture_output=True, env=os.environ | {'PATH': programs})
    return path


def library(source: Path) -> ctypes.CDLL | None:
    """The compiled code of a C file; None, with one line on stderr, if it does not compile."""
    with _one_at_a_time:
        return _library(source)


@cache
def _library(source: Path) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(str(shared_library(source, VENV / 'native', OPTIONS, ('-lm',))))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f'{source.name} does not compile ({error}); NumPy and OpenCV do its work more slowly', file=sys.stderr)
        return None


def pointer(array: np.ndarray) -> ctypes.c_void_p:
    """A pointer to the values of a contiguous array."""
    return ctypes.c_void_p(array.ctypes.data)
