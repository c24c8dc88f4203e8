"""One thread of BLAS a test process: tests are small, and several may run at once."""

import os

os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
