"""The library that the Caffe in use multiplies matrices with, and the kernel it chose for this processor. Both are asked of it.

`python -m tools.support.blas_in_use` prints them. OpenBLAS picks a kernel when it is loaded. One that is older than the processor
picks its oldest without a word, and every pass then takes several times as long.
"""

import ctypes
import os
import re
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

# OpenBLAS's names of the kernels that do without AVX, which every processor of these ten years has.
WITHOUT_AVX = frozenset(
    ['Katmai', 'Coppermine', 'Northwood', 'Prescott', 'Banias', 'Core2', 'Penryn', 'Dunnington', 'Nehalem', 'Atom', 'Nano']
    + ['Athlon', 'Opteron', 'Opteron_SSE3', 'Barcelona', 'Bobcat']
)
CORETYPE = 'OPENBLAS_CORETYPE'  # OpenBLAS's own: the name of the kernel to take
_SAID = 'DILATION_TOOLKIT_BLAS_SAID'  # set once the warning was printed: processes started from this one keep quiet


@dataclass(frozen=True)
class Blas:
    """A BLAS library as it says itself what it is; `kernel` is empty and `threads` 0 if it does not say."""

    library: str  # 'OpenBLAS 0.3.34'
    kernel: str = ''
    threads: int = 0
    file: str = ''
    prefix: str = ''  # of its functions: scipy_cblas_sgemm in the library of tools/caffe_build/openblas.py

    def __str__(self) -> str:
        threads = f'{self.threads} thread{"s" if self.threads > 1 else ""}' if self.threads else ''
        return ', '.join(filter(None, [self.library, self.kernel, threads]))


class _Place(ctypes.Structure):
    """Dl_info of dlfcn.h."""

    _fields_ = [('file', ctypes.c_char_p), ('base', ctypes.c_void_p), ('name', ctypes.c_char_p), ('address', ctypes.c_void_p)]


@cache
def blas_in_use() -> Blas | None:
    """The BLAS of the Caffe that `import caffe` finds; None without one, or if it calls no BLAS that can be found."""
    spec = find_spec('caffe')
    module = Path(spec.origin).with_name('_caffe.so') if spec and spec.origin else None
    if module is None or not module.is_file():
        return None
    try:
        loaded = ctypes.CDLL(str(module))
    except OSError:
        return None
    for prefix in ('scipy_', ''):
        if hasattr(loaded, f'{prefix}cblas_sgemm'):
            return _asked(loaded, prefix)
    return None


def _asked(loaded: ctypes.CDLL, prefix: str) -> Blas:
    """What the library says that a lookup from `loaded` finds `cblas_sgemm` in."""
    file = _file_of(getattr(loaded, f'{prefix}cblas_sgemm'))
    # OpenCV brings Debian's OpenBLAS into every process: only the functions beside cblas_sgemm speak for it.
    corename = getattr(loaded, f'{prefix}openblas_get_corename', None)
    if corename is None or _file_of(corename).parent != file.parent:
        return Blas(file.name, file=str(file), prefix=prefix)
    corename.restype = ctypes.c_char_p
    config = getattr(loaded, f'{prefix}openblas_get_config')
    config.restype = ctypes.c_char_p
    version = re.search(r'\d+\.\d+\.\d+', config().decode())
    threads = int(getattr(loaded, f'{prefix}openblas_get_num_threads')())
    return Blas(f'OpenBLAS {version[0]}' if version else 'OpenBLAS', corename().decode(), threads, str(file), prefix)


def _file_of(function) -> Path:
    """The file that a function was loaded from, links followed."""
    place = _Place()
    ctypes.CDLL(None).dladdr(ctypes.cast(function, ctypes.c_void_p), ctypes.byref(place))
    return Path(os.fsdecode(place.file or b'')).resolve()


def slow_kernel(blas: Blas | None) -> str:
    """One line on a kernel far below what this processor can do, with the remedy; empty if there is nothing to say."""
    flags = _processor_flags()
    if blas is None or blas.kernel not in WITHOUT_AVX or 'avx2' not in flags:
        return ''
    if os.environ.get(CORETYPE):
        remedy = f'unset {CORETYPE}, which asks for that kernel'
    else:
        better = 'SkylakeX' if {'avx512f', 'avx512bw', 'avx512dq', 'avx512vl'} <= flags else 'Haswell'
        remedy = f'build Caffe with its own library (BLAS=bundled make caffe, without CAFFE_ROOT), or set {CORETYPE}={better}'
    return f'{blas.library} uses its kernel {blas.kernel}, without AVX, which makes Caffe several times slower here; {remedy}'


def warn_of_slow_kernel() -> None:
    """Print slow_kernel's line on stderr, if there is one: once, and not again in processes that this one starts."""
    line = '' if os.environ.get(_SAID) else slow_kernel(blas_in_use())
    if line:
        os.environ[_SAID] = '1'
        print(f'warning: {line}', file=sys.stderr, flush=True)


@cache
def _processor_flags() -> frozenset[str]:
    """What Linux says that the processor can do; nothing on a processor whose kernel names no `flags`."""
    try:
        found = re.search(r'^flags\s*:(.*)$', Path('/proc/cpuinfo').read_text(encoding='utf-8'), re.M)
    except OSError:
        found = None
    return frozenset(found[1].split() if found else ())


if __name__ == '__main__':
    print(blas_in_use() or 'not found out')
    print(slow_kernel(blas_in_use()))
