"""The library that multiplies Caffe's matrices: a current OpenBLAS from the Python package index, or the system's.

Debian 12's OpenBLAS 0.3.21 does not know processors that came after it and runs kernels of 2004 on them, five times slower.
`scipy-openblas32` (BSD 2-clause) is the OpenBLAS that NumPy and SciPy ship, with headers. Its symbols begin with `scipy_`.
"""

import platform
import zipfile
from pathlib import Path

from tools.caffe_build import source
from tools.support.errors import UserError

CHOICES = ('bundled', 'system')
PROJECT = 'scipy-openblas32==0.3.34.481.3'
SHA256 = {  # of the wheel for each processor
    'x86_64': '0595f94cd58c1f8a0d90c975621f4587337a003916b1979e834ebdf2cb5d9504',
    'aarch64': 'e085dddbc5b9aa130f83def515d31c440e69f387a90c7e63b154a5575b4466bc',
}
SYSTEM_PACKAGE = 'libopenblas-dev'  # Debian's, for BLAS=system
LIBRARY = 'scipy_openblas32/lib/libscipy_openblas.so'
HEADERS = 'scipy_openblas32/include/'


def wheel_sha256() -> str:
    """SHA-256 of the wheel for this processor. Raises UserError if there is none."""
    machine = platform.machine()
    if machine not in SHA256:
        raise UserError(
            f'{PROJECT} has no wheel for the processor {machine}; install OpenBLAS with its headers, then: BLAS=system make caffe'
        )
    return SHA256[machine]


def fetch(cache: Path, python: Path) -> Path:
    """The wheel for this processor, in `cache`; fetched by the pip of `python` unless it is there whole."""
    name = f'{PROJECT.replace("==", "-")}-{platform.machine()}.whl'
    return source.fetch_package(cache, name, PROJECT, wheel_sha256(), python, ['--only-binary', ':all:'])


def cmake_options(cache: Path, folder: Path, python: Path) -> list[str]:
    """Options for CMakeLists.txt that name the bundled library and its headers, which are unpacked into `folder`."""
    with zipfile.ZipFile(fetch(cache, python)) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if name == LIBRARY or name.startswith(HEADERS)])
    return [f'-DBLAS_LIBRARY={folder / LIBRARY}', f'-DBLAS_INCLUDE={folder / HEADERS}']
