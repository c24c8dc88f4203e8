"""oneDNN, the library of convolutions behind CAFFE_ENGINE: from the Python package index, for x86-64 processors.

These wheels (Apache License 2.0) are the newest that need no compiler's run time: they compute with GNU OpenMP.
"""

import platform
import zipfile
from pathlib import Path

from tools.caffe_build import source

VERSION = '2023.2.0'
SHA256 = {  # of the wheels: the library, and its headers
    'onednn-cpu-gomp': '2f22a54d6a890ed14bfa185d42a4be65d8b5b1df85dc1f0f3a9abe31620416fb',
    'onednn-devel-cpu-gomp': '9763c69e8c907e119056bd52ad918ca84ac9ba939d130a99dfa95ccca3e5e284',
}
LIBRARY = f'onednn_cpu_gomp-{VERSION}.data/data/lib/libdnnl.so.3'
HEADERS = f'onednn_devel_cpu_gomp-{VERSION}.data/data/include/'


def wheel_sha256() -> str:
    """SHA-256 of the wheel with the library; empty if there is none for this processor."""
    return SHA256['onednn-cpu-gomp'] if platform.machine() == 'x86_64' else ''


def cmake_options(cache: Path, folder: Path, python: Path) -> list[str]:
    """Options for CMakeLists.txt that name library and headers, which are unpacked into `folder`; empty if there are none.

    The wheels are fetched into `cache` by the pip of `python`, unless they are there whole.
    """
    if not wheel_sha256():
        return []
    for project, digest in SHA256.items():
        options = ['--only-binary', ':all:']
        wheel = source.fetch_package(cache, f'{project}-{VERSION}.whl', f'{project}=={VERSION}', digest, python, options)
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder, [name for name in archive.namelist() if name == LIBRARY or name.startswith(HEADERS)])
    return [f'-DONEDNN_LIBRARY={folder / LIBRARY}', f'-DONEDNN_INCLUDE={folder / HEADERS}']
