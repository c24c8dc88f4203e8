"""What sort of Caffe is asked for, and the key under which its build is cached."""

import hashlib
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.caffe_build import edits, source
from tools.support.errors import UserError

IM2COL_CHOICES = ('shared', 'as-released')
CMAKE_LISTS = Path(__file__).with_name('CMakeLists.txt')


@dataclass(frozen=True)
class Variant:
    """One way to build Caffe."""

    im2col: str = 'shared'  # or 'as-released': one im2col buffer a layer
    cpu_only: bool = True

    @property
    def features(self) -> frozenset[str]:
        """The names that edits ask for in `only`."""
        return frozenset({edits.SHARED_BUFFER} if self.im2col == 'shared' else ())

    @property
    def folder(self) -> str:
        """Where below `.venv` it is installed; the normal build is the one whose programs and module are in use."""
        return 'caffe' if self.im2col == 'shared' else self.im2col

    @property
    def cmake_flags(self) -> list[str]:
        """Options for CMakeLists.txt."""
        return [f'-DCPU_ONLY={"ON" if self.cpu_only else "OFF"}']


def variant_from(environment: Mapping[str, str]) -> Variant:
    """The variant that the variable IM2COL asks for. Raises UserError on an unknown value."""
    im2col = environment.get('IM2COL') or 'shared'
    if im2col not in IM2COL_CHOICES:
        raise UserError(f'IM2COL={im2col}: choose one of {", ".join(IM2COL_CHOICES)}')
    return Variant(im2col)


def key(variant: Variant) -> str:
    """Name of a build in the cache: 16 hex digits of everything that decides what comes out, and of no checkout's path."""
    facts = {
        'archive': source.SHA256,
        'edits': [(edit.path, edit.old, edit.new) for edit in edits.edits_for(variant.features)],
        'cmake': CMAKE_LISTS.read_text(encoding='utf-8'),
        'flags': variant.cmake_flags,
        'system': platform.freedesktop_os_release().get('PRETTY_NAME'),
        'machine': platform.machine(),
        'python': platform.python_version_tuple()[:2],
        'compiler': compiler_version(),
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
