"""Times matrix products in one BLAS library: python products.py LIBRARY PREFIX SHAPES REPEAT

SHAPES is a JSON list of (m, n, k) of row-major float32 products. LIBRARY is `numpy`, or a file whose functions begin with
PREFIX. Prints a JSON list with the fastest time of each. Each library needs its own process, as it brings its own threads.
"""

import ctypes
import json
import sys
import time
from collections.abc import Callable

import numpy as np

ROW_MAJOR, NO_TRANSPOSE = 101, 111  # of cblas.h


def main() -> None:
    """Measure as the command line says."""
    library, prefix, shapes, repeat = sys.argv[1:]
    multiply = numpy_product if library == 'numpy' else product_of(library, prefix)
    print(json.dumps([fastest(multiply, shape, int(repeat)) for shape in json.loads(shapes)]))


def fastest(multiply: Callable, shape: tuple[int, int, int], repeat: int) -> float:
    """Seconds of the fastest of `repeat` products of one shape, after one that is not counted."""
    m, n, k = shape
    rng = np.random.default_rng(1)
    a, b = rng.random((m, k), np.float32), rng.random((k, n), np.float32)
    c = np.zeros((m, n), np.float32)
    multiply(a, b, c)
    found = []
    for _ in range(repeat):
        begun = time.perf_counter()
        multiply(a, b, c)
        found.append(time.perf_counter() - begun)
    return min(found)


def numpy_product(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
    """c = a b by NumPy's library."""
    np.matmul(a, b, out=c)


def product_of(library: str, prefix: str) -> Callable[[np.ndarray, np.ndarray, np.ndarray], None]:
    """c = a b by the cblas_sgemm of a library."""
    sgemm = getattr(ctypes.CDLL(library), f'{prefix}cblas_sgemm')
    number, matrix = ctypes.c_int, ctypes.c_void_p
    sgemm.argtypes = [number] * 6 + [ctypes.c_float, matrix, number, matrix, number, ctypes.c_float, matrix, number]
    sgemm.restype = None

    def multiply(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> None:
        (m, n), k = c.shape, a.shape[1]
        pointers = a.ctypes.data, b.ctypes.data, c.ctypes.data
        sgemm(ROW_MAJOR, NO_TRANSPOSE, NO_TRANSPOSE, m, n, k, 1, pointers[0], k, pointers[1], n, 0, pointers[2], n)

    return multiply


if __name__ == '__main__':
    main()
