"""Asks the BLAS library of the Caffe in use for its version and for the kernel that it chose for this processor.

`python -m tools.support.blas_in_use` prints them. OpenBLAS picks a kernel when it is loaded. A version that does not
know the processor silently picks its oldest kernel, and every pass then takes several times as long.
"""

import ctypes
import os
import re
import sys
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tools.support.caffe_in_use import log_errors_only

# OpenBLAS's names of its kernels without AVX. Every processor of the last ten years has AVX.
WITHOUT_AVX = frozenset(
    ['Katmai', 'Coppermine', 'Northwood', 'Prescott', 'Banias', 'Core2', 'Penryn', 'Dunnington', 'Nehalem', 'Atom', 'Nano']
    + ['Athlon', 'Opteron', 'Opteron_SSE3', 'Barcelona', 'Bobcat']
)
CORETYPE = 'OPENBLAS_CORETYPE'  # OpenBLAS takes the kernel that this variable names
_SAID = 'DILATION_TOOLKIT_BLAS_SAID'  # set after the warning, so that child processes do not repeat it


@dataclass(frozen=True)
class Blas:
    """What a BLAS library says about itself. `kernel` is empty and `threads` is 0 if it does not say."""

    library: str  # 'OpenBLAS 0.3.34'
    kernel: str = ''
    threads: int = 0
    file: str = ''
    prefix: str = ''  # prefix of its functions, as in scipy_cblas_sgemm (tools/caffe_build/openblas.py)

    def __str__(self) -> str:
        threads = f'{self.threads} thread{"s" if self.threads > 1 else ""}' if self.threads else ''
        return ', '.join(filter(None, [self.library, self.kernel, threads]))


class _Place(ctypes.Structure):
    """Dl_info of dlfcn.h."""

    _fields_ = [('file', ctypes.c_char_p), ('base', ctypes.c_void_p), ('name', ctypes.c_char_p), ('address', ctypes.c_void_p)]


@cache
def caffe_library() -> ctypes.CDLL | None:
    """The library of the Caffe that `import caffe` finds, with all that it links to; None if there is none that loads."""
    log_errors_only()
    spec = find_spec('caffe')
    module = Path(spec.origin).with_name('_caffe.so') if spec and spec.origin else None
    if module is None or not module.is_file():
        return None
    try:
        return ctypes.CDLL(str(module))
    except OSError:
        return None


@cache
def blas_in_use() -> Blas | None:
    """The BLAS of the Caffe that `import caffe` finds; None if there is no Caffe or its BLAS cannot be found."""
    loaded = caffe_library()
    for prefix in ('scipy_', ''):
        if loaded and hasattr(loaded, f'{prefix}cblas_sgemm'):
            return _asked(loaded, prefix)
    return None


def _asked(loaded: ctypes.CDLL, prefix: str) -> Blas:
    """The answers of the library in which `loaded` finds cblas_sgemm."""
    file = _file_of(getattr(loaded, f'{prefix}cblas_sgemm'))
    # OpenCV loads Debian's OpenBLAS into every process, so only functions from the file of cblas_sgemm count.
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
    """The file that a function was loaded from, with links resolved."""
    place = _Place()
    ctypes.CDLL(None).dladdr(ctypes.cast(function, ctypes.c_void_p), ctypes.byref(place))
    return Path(os.fsdecode(place.file or b'')).resolve()


def slow_kernel(blas: Blas | None) -> str:
    """A line about a kernel far below what this processor can do, with the remedy; empty if the kernel is fine."""
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
    """Print the line of slow_kernel() on stderr, once for this process and those that it starts."""
    line = '' if os.environ.get(_SAID) else slow_kernel(blas_in_use())
    if line:
        os.environ[_SAID] = '1'
        print(f'warning: {line}', file=sys.stderr, flush=True)


@cache
def _processor_flags() -> frozenset[str]:
    """The `flags` of /proc/cpuinfo; empty if the kernel lists none."""
    try:
        found = re.search(r'^flags\s*:(.*)$', Path('/proc/cpuinfo').read_text(encoding='utf-8'), re.M)
    except OSError:
        found = None
    return frozenset(found[1].split() if found else ())


if __name__ == '__main__':
    print(blas_in_use() or 'not found out')
    print(slow_kernel(blas_in_use()))
