"""A C file of this toolkit as a shared library, compiled when it is first wanted."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from tools.support.atomic import whole_file
from tools.support.bootstrap import system_first

COMMON = ('-shared', '-fPIC', '-std=gnu11')


def shared_library(source: Path, folder: Path, options: Sequence[str] = (), libraries: Sequence[str] = ()) -> Path:
    """`source` compiled into `folder`, where it stays until the source or how it is compiled changes.

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
