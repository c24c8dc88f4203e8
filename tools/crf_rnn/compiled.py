"""How numba compiles the loops here.

Once a machine: the code is kept in __pycache__ beside the source (NUMBA_CACHE_DIR moves it). Parallel loops write each output in
one place and add in one order, so results are the same in every bit with any number of threads (NUMBA_NUM_THREADS).
"""

import os

from numba import config, njit

# Numba would choose TBB or OpenMP, whose threads spin while they wait for each other: beside other busy programs, or Caffe's own
# threads, that takes many times as long. Threads of `workqueue` sleep.
if 'NUMBA_THREADING_LAYER' not in os.environ:
    config.THREADING_LAYER = 'workqueue'

serial = njit(cache=True, nogil=True)
parallel = njit(parallel=True, cache=True, nogil=True)
