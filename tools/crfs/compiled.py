"""How the loops here are compiled by numba, and spread over threads.

Compiled once a machine: numba keeps the code in __pycache__ beside the source (NUMBA_CACHE_DIR moves it).
The threads are Python's, which sleep while they wait; numba's own spin, which beside other busy programs, or Caffe's threads,
takes many times as long.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from numba import njit

compiled = njit(cache=True, nogil=True)
WORTH_THREADS = 1 << 17  # values, below which waking a thread takes longer than the work
Work = Callable[..., None]


def threads() -> int:
    """How many there may be: CRF_THREADS, or as many as cores that this process may use."""
    return int(os.environ.get('CRF_THREADS', 0)) or len(os.sched_getaffinity(0))


def over_threads(work: Work, size: int, values: int, *arrays: object) -> None:
    """Call work(begin, end, *arrays) for pieces that make up range(size), at once where there are many `values` to compute.

    `work` is compiled, and writes each output in one place whatever the pieces: results are the same in every bit with any number
    of threads.
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
    """Threads beside the one that calls; a forked process has none of its parent's."""
    return ThreadPoolExecutor(pieces, thread_name_prefix='crf')
