"""The loops over pixels of a mean-field iteration, compiled by numba.

All arrays but matrices (c, c) and norms (n,) are (n, c): pixels by classes. Pixels from `begin` to before `end` are done.
"""

import numpy as np

from tools.crf_rnn.compiled import compiled


@compiled
def softmax(begin, end, logits, out):
    """out: softmax of each row of `logits`, which may be `out` itself."""
    channels = logits.shape[1]
    for point in range(begin, end):
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


@compiled
def softmax_gradient(begin, end, q, gradient, more, out):
    """out: the derivative by the logits, given `q`, their softmax, and the derivative by it, `gradient` + `more`."""
    channels = q.shape[1]
    for point in range(begin, end):
        row, result = q[point], out[point]
        mean = row[0] - row[0]
        for c in range(channels):
            result[c] = gradient[point, c] + more[point, c]
            mean += row[c] * result[c]
        for c in range(channels):
            result[c] = row[c] * (result[c] - mean)


@compiled
def subtract_products(begin, end, unary, s, from_s, b, from_b, out):
    """out = unary - s from_s - b from_b."""
    channels = unary.shape[1]
    for point in range(begin, end):
        row = out[point]
        for c in range(channels):
            row[c] = unary[point, c]
        for k in range(channels):
            by_s, by_b = s[point, k], b[point, k]
            for c in range(channels):
                row[c] -= by_s * from_s[k, c] + by_b * from_b[k, c]


@compiled
def scaled_product(begin, end, values, matrix, norm, out):
    """out = values matrix, each row times its `norm`."""
    channels = values.shape[1]
    for point in range(begin, end):
        row = out[point]
        for c in range(channels):
            row[c] = 0
        for k in range(channels):
            value = values[point, k] * norm[point]
            for c in range(channels):
                row[c] += value * matrix[k, c]
