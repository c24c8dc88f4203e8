"""The loops over pixels of a mean-field iteration, compiled by numba.

All arrays but matrices (c, c) and norms (n,) are (n, c): pixels by classes.
"""

import numpy as np
from numba import prange

from tools.crf_rnn.compiled import parallel


@parallel
def softmax(logits, out):
    """out: softmax of each row of `logits`, which may be `out` itself."""
    n, channels = logits.shape
    for point in prange(n):
        row, result = logits[point], out[point]
        top = row[0]
        for c in range(1, channels):
            top = max(top, row[c])
        total = row[0] - row[0]
        for c in range(channels):
            result[c] = np.exp(row[c] - top)
            total += result[c]
        for c in range(channels):
            result[c] /= total


@parallel
def softmax_gradient(q, gradient, more, out):
    """out: the derivative by the logits, given `q`, their softmax, and the derivative by it, `gradient` + `more`."""
    n, channels = q.shape
    for point in prange(n):
        row, result = q[point], out[point]
        mean = row[0] - row[0]
        for c in range(channels):
            result[c] = gradient[point, c] + more[point, c]
            mean += row[c] * result[c]
        for c in range(channels):
            result[c] = row[c] * (result[c] - mean)


@parallel
def subtract_products(unary, s, from_s, b, from_b, out):
    """out = unary - s from_s - b from_b."""
    n, channels = unary.shape
    for point in prange(n):
        row = out[point]
        for c in range(channels):
            row[c] = unary[point, c]
        for k in range(channels):
            by_s, by_b = s[point, k], b[point, k]
            for c in range(channels):
                row[c] -= by_s * from_s[k, c] + by_b * from_b[k, c]


@parallel
def scaled_product(values, matrix, norm, out):
    """out = values matrix, each row times its `norm`."""
    n, channels = values.shape
    for point in prange(n):
        row = out[point]
        for c in range(channels):
            row[c] = 0
        for k in range(channels):
            value = values[point, k] * norm[point]
            for c in range(channels):
                row[c] += value * matrix[k, c]
