"""Compiles the loops of this package by numba, and runs them on several threads.

numba compiles once per machine and keeps the code in __pycache__ beside the source (NUMBA_CACHE_DIR moves it).
The threads are Python's, which sleep while they wait. numba's own threads spin, which takes many times as long beside Caffe's
threads or other busy programs.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from numba import njit

compiled = njit(cache=True, nogil=True)
WORTH_THREADS = 1 << 17  # values; for fewer, waking a thread takes longer than the work
Work = Callable[..., None]


def threads() -> int:
    """The number of threads: CRF_THREADS, or the number of cores that this process may use."""
    return int(os.environ.get('CRF_THREADS', 0)) or len(os.sched_getaffinity(0))


def over_threads(work: Work, size: int, values: int, *arrays: object) -> None:
    """Call work(begin, end, *arrays) for pieces that make up range(size), on several threads if there are many `values`.

    `work` is compiled and computes each output in one piece, so the results are equal in every bit for any number of threads.
    """
    pieces = threads() if values >= WORTH_THREADS else 1
    if pieces == 1:
        work(0, size, *arrays)
        return
    edges = [size * piece // pieces for piece in range(pieces + 1)]
    waiting = [
        _pool(os.getpid(), pieces).submit(work, begin, end, *arrays) for begin, end in zip(edges[1:], edges[2:], strict=False)
    ]
    work(0, edges[1], *arrays)
    for future in waiting:
        future.result()


@cache
def _pool(_process: int, pieces: int) -> ThreadPoolExecutor:
    """The threads besides the calling one. They are per process, because a forked process has none of its parent's threads."""
    return ThreadPoolExecutor(pieces, thread_name_prefix='crf')
