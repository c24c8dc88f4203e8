"""The order of an LMDB's records over several sessions of a run: each goes on with the record after the last one's.

The program `caffe` stays as it is. A small library is loaded before liblmdb and moves the cursor on once (first_record.c).
"""

import os
import re
from pathlib import Path

from tools.support.native import shared_library
from tools.support.paths import VENV

SOURCE = Path(__file__).with_name('first_record.c')
_SAID = re.compile(r'=== the first record is number (\d+)')


def first_record(iteration: int, batch_size: int, count: int) -> int:
    """The record that iteration `iteration` begins with, from 0, of `count` that are read round and round.

    `batch_size` is images an update: of all passes, and of all GPUs, which share the records out among themselves.
    """
    return iteration * batch_size % count


def variables(record: int) -> dict[str, str]:
    """The environment variables that make Caffe begin with a record; none for the first.

    Raises OSError or CalledProcessError where the library cannot be compiled.
    """
    if record == 0:
        return {}
    library = shared_library(SOURCE, VENV / 'native', ('-O2',), ('-ldl', '-lpthread'))
    # By name, found in its folder: LD_PRELOAD takes a blank in a path for the end of it.
    folders = ':'.join(filter(None, [str(library.parent), os.environ.get('LD_LIBRARY_PATH')]))
    others = os.environ.get('LD_PRELOAD')
    return {
        'LD_PRELOAD': ':'.join(filter(None, [library.name, others])), 'LD_LIBRARY_PATH': folders, 'FIRST_RECORD': str(record)
    }  # fmt: skip


def record_begun_with(line: str) -> int | None:
    """The number of the record that Caffe began with, if `line` of its log says so."""
    match = _SAID.match(line)
    return int(match[1]) if match else None
