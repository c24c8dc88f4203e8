"""The variant of Caffe that the environment asks for, and the key of its build in the cache."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.caffe_build import cuda, onednn, openblas, patches, source, system
from tools.support.errors import UserError

IM2COL_CHOICES = ('shared', 'as-released')
CMAKE_LISTS = Path(__file__).with_name('CMakeLists.txt')


@dataclass(frozen=True)
class Variant:
    """One way to build Caffe."""

    im2col: str = 'shared'  # or 'as-released': one im2col buffer a layer, and none of the patches for speed
    cuda_arch: str = ''  # GPU architectures, as '80;90'; empty: for the CPU only
    aside: bool = False  # installed, but not taken into use
    blas: str = 'bundled'  # or 'system': the system's OpenBLAS

    @property
    def patches(self) -> tuple[str, ...]:
        """Names of the patches to Caffe's source, in order."""
        return patches.series(self.im2col == 'shared', bool(self.cuda_arch))

    @property
    def has_onednn(self) -> bool:
        """Whether it can convolve with oneDNN."""
        return 'onednn' in self.patches and bool(onednn.wheel_sha256())

    @property
    def in_use(self) -> bool:
        """Whether `.venv/bin/caffe` and `import caffe` mean this one once it is installed."""
        return self.im2col == 'shared' and not self.aside

    @property
    def folder(self) -> str:
        """Where below `.venv` it is installed."""
        names = ('cuda' if self.cuda_arch else '', '' if self.im2col == 'shared' else self.im2col)
        return '-'.join(filter(None, names)) or 'caffe'

    @property
    def cmake_flags(self) -> list[str]:
        """Options for CMakeLists.txt, without those that name files of this machine."""
        if self.cuda_arch:
            return ['-DCPU_ONLY=OFF', f'-DCMAKE_CUDA_ARCHITECTURES={self.cuda_arch}']
        return ['-DCPU_ONLY=ON']


def variant_from(environment: Mapping[str, str], in_use: Mapping[str, object] | None = None) -> Variant:
    """The variant that the variables IM2COL, CUDA, CUDA_ARCH and BLAS ask for.

    `in_use` is the manifest of the Caffe in use: without CUDA (0, 1 or aside) or BLAS (bundled or system) it stays as it is.
    Raises UserError on an unknown value.
    """
    in_use = in_use or {}
    im2col = _choice(environment, 'IM2COL', IM2COL_CHOICES) or 'shared'
    library = _choice(environment, 'BLAS', openblas.CHOICES) or str(in_use.get('blas', ''))
    library = library if library in openblas.CHOICES else 'bundled'
    asked = environment.get('CUDA') or ''
    if asked not in ('', '0', '1', 'aside'):
        raise UserError(f'CUDA={asked}: write CUDA=1 for a build that can use GPUs, CUDA=0 for one that cannot')
    if asked in ('1', 'aside'):
        return Variant(im2col, cuda.architectures(environment), aside=asked == 'aside', blas=library)
    return Variant(im2col, '' if asked else str(in_use.get('cuda_arch', '')), blas=library)


def _choice(environment: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    """The value of a variable, empty if it is not set. Raises UserError if it is not one of `choices`."""
    value = environment.get(name) or ''
    if value and value not in choices:
        raise UserError(f'{name}={value}: choose one of {", ".join(choices)}')
    return value


def key(variant: Variant) -> str:
    """Name of a build in the cache: 16 hex digits over everything that the build depends on. No path of a checkout enters it."""
    facts = {
        'archive': source.SHA256,
        'patches': [patches.text(name) for name in variant.patches],
        'cmake': CMAKE_LISTS.read_text(encoding='utf-8'),
        'flags': variant.cmake_flags,
        'system': system.os_release().get('PRETTY_NAME'),
        'machine': platform.machine(),
        'python': platform.python_version_tuple()[:2],
        'compiler': compiler_version(),
        'blas': openblas.wheel_sha256() if variant.blas == 'bundled' else variant.blas,
        'onednn': onednn.wheel_sha256() if variant.has_onednn else '',
        **({'cuda': cuda.facts()} if variant.cuda_arch else {}),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def compiler_version() -> str:
    """Version of the C++ compiler, `none` without one."""
    try:
        return subprocess.run(
            [os.environ.get('CXX') or 'c++', '-dumpfullversion'], capture_output=True, text=True, check=True
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return 'none'
