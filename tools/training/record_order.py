"""Keeps the order of LMDB records over several sessions: each session continues after the last record of the previous one.

The program `caffe` is not changed. A small library is loaded before liblmdb and moves the cursor once (first_record.c).
"""

import os
import re
from pathlib import Path

from tools.support.native import shared_library
from tools.support.paths import VENV

SOURCE = Path(__file__).with_name('first_record.c')
_SAID = re.compile(r'=== the first record is number (\d+)')


def first_record(iteration: int, batch_size: int, count: int) -> int:
    """The first record (from 0) of iteration `iteration`; the `count` records are read in a cycle.

    `batch_size` counts the images of one update, over all passes and all GPUs.
    """
    return iteration * batch_size % count


def variables(record: int) -> dict[str, str]:
    """Environment variables that make Caffe begin with a given record; none for record 0.

    Raises OSError or CalledProcessError if the library does not compile.
    """
    if record == 0:
        return {}
    library = shared_library(SOURCE, VENV / 'native', ('-O2',), ('-ldl', '-lpthread'))
    # LD_PRELOAD gets the name only, and LD_LIBRARY_PATH the folder: a path in LD_PRELOAD ends at a blank.
    folders = ':'.join(filter(None, [str(library.parent), os.environ.get('LD_LIBRARY_PATH')]))
    others = os.environ.get('LD_PRELOAD')
    return {
        'LD_PRELOAD': ':'.join(filter(None, [library.name, others])), 'LD_LIBRARY_PATH': folders, 'FIRST_RECORD': str(record)
    }  # fmt: skip


def record_begun_with(line: str) -> int | None:
    """The record that Caffe began with, if `line` of its log states it."""
    match = _SAID.match(line)
    return int(match[1]) if match else None
