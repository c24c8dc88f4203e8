"""Mean-field inference of a dense CRF, unrolled, forward and backward (Zheng et al., ICCV 2015, Sec. 4).

One iteration from logits x (n pixels, C classes), given the unary logits U:
    q = softmax(x),   s = K_s q / K_s 1,   b = K_b q / K_b 1,   x' = U - (s W_s^T + b W_b^T) M^T
K_s is a Gaussian over positions, K_b one over positions and colours; W_s, W_b, M (C, C) are learned and shared by all iterations.
The first iteration begins at U. A pixel's own value is part of its filtered value, as in Zheng's and Kraehenbuehl's code.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tools.crfs.compiled import Work, compiled, over_threads
from tools.crfs.lattice import Lattice

TINY = 1e-20  # keeps the division by K 1 from failing, as in Kraehenbuehl's code


@dataclass(frozen=True)
class Thetas:
    """Standard deviations of the Gaussians: `alpha` and `gamma` in pixels, `beta` in grey levels of 0-255."""

    alpha: float = 160.0  # positions of the bilateral kernel
    beta: float = 3.0  # colours of the bilateral kernel
    gamma: float = 3.0  # positions of the spatial kernel


class Parameters(NamedTuple):
    """The learned matrices, each (C, C); a row belongs to the class that is influenced. Gradients have the same form."""

    spatial: np.ndarray
    bilateral: np.ndarray
    compatibility: np.ndarray


def potts(classes: int, spatial: float = 3.0, bilateral: float = 5.0, dtype=np.float32) -> Parameters:
    """The Potts model from which CRF-RNN starts: diagonal weights, and compatibility -1 for equal classes."""
    one = np.eye(classes, dtype=dtype)
    return Parameters(one * dtype(spatial), one * dtype(bilateral), -one)


class Kernel:
    """A Gaussian kernel over the pixels of an image. Each row is divided by its sum, K 1."""

    def __init__(self, features: np.ndarray) -> None:
        """`features` (n, d) are in standard deviations. Raises ValueError if they do not fit into the lattice."""
        self._lattice = Lattice(features)
        ones = np.ones((len(features), 1), features.dtype)
        self.norm = 1 / (self._lattice.filter(ones, np.empty_like(ones))[:, 0] + features.dtype.type(TINY))

    def filter(self, values: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Write to `out` (n, c), and return, the kernel's mean of `values` (n, c) around each pixel."""
        return self._lattice.filter(values, out, self.norm)

    def transposed(self, normed: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Write to `out` (n, c), and return, the derivative by the `values` of `filter`.

        `normed` is the derivative by the result of `filter`, times `norm`. `norm` itself has no derivative.
        """
        return self._lattice.filter(normed, out, transposed=True)


def spatial_kernel(size_hw: tuple[int, int], thetas: Thetas, dtype=np.float32) -> Kernel:
    """The kernel K_s of an image of `size_hw` pixels."""
    return Kernel(_positions(size_hw, thetas.gamma, dtype))


def bilateral_kernel(image: np.ndarray, thetas: Thetas) -> Kernel:
    """The kernel K_b of `image`, float (3, H, W) in grey levels. Subtracting a constant from the image does not change it."""
    colours = image.reshape(3, -1).T / image.dtype.type(thetas.beta)
    return Kernel(np.hstack([_positions(image.shape[1:], thetas.alpha, image.dtype.type), colours]))


class Step(NamedTuple):
    """Arrays of one iteration, each (n, C)."""

    q: np.ndarray
    s: np.ndarray
    b: np.ndarray


class MeanField:
    """The iterations on one image, whose two kernels are given."""

    def __init__(self, spatial: Kernel, bilateral: Kernel) -> None:
        self._spatial, self._bilateral = spatial, bilateral
        self._steps: list[Step] = []

    @property
    def kept(self) -> bool:
        """Whether `forward` kept what `backward` needs."""
        return bool(self._steps)

    def forward(self, unary: np.ndarray, parameters: Parameters, iterations: int, *, keep: bool = False) -> np.ndarray:
        """Logits (n, C) after `iterations` from logits `unary` (n, C). `keep` stores three arrays an iteration for `backward`."""
        from_s, from_b = _folded(parameters)
        self._steps = []
        logits, step = unary.copy(), _new_step(unary)
        for _ in range(iterations):
            _each_pixel(softmax_rows, logits, step.q)
            self._spatial.filter(step.q, step.s)
            self._bilateral.filter(step.q, step.b)
            _each_pixel(subtract_products, unary, step.s, from_s, step.b, from_b, logits)
            if keep:
                self._steps.append(step)
                step = _new_step(unary)
        return logits

    def backward(self, gradient: np.ndarray, parameters: Parameters) -> tuple[np.ndarray, Parameters]:
        """The derivatives by the unary logits (n, C) and by each parameter, after `forward` with `keep`.

        `gradient` (n, C) is the derivative by the result of `forward`.
        """
        from_s, from_b = _folded(parameters)
        to_s, to_b = np.ascontiguousarray(-from_s.T), np.ascontiguousarray(-from_b.T)
        at_s, at_b = np.zeros_like(from_s), np.zeros_like(from_b)
        at_unary, gradient = np.zeros_like(gradient), gradient.copy()
        scratch = _new_step(gradient)
        for q, s, b in reversed(self._steps):
            at_unary += gradient
            # x' = U - s A - b B: the derivatives by A and B are added up; at the end they give those by the parameters.
            at_s -= s.T @ gradient
            at_b -= b.T @ gradient
            _each_pixel(scaled_product, gradient, to_s, self._spatial.norm, scratch.q)
            self._spatial.transposed(scratch.q, scratch.s)
            _each_pixel(scaled_product, gradient, to_b, self._bilateral.norm, scratch.q)
            self._bilateral.transposed(scratch.q, scratch.b)
            _each_pixel(softmax_gradient, q, scratch.s, scratch.b, gradient)
        return at_unary + gradient, _unfolded(at_s, at_b, parameters)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax of each row of `logits` (n, C)."""
    out = np.empty_like(logits)
    _each_pixel(softmax_rows, logits, out)
    return out


def _each_pixel(work: Work, values: np.ndarray, *others: np.ndarray) -> None:
    """Run a compiled loop on all rows of its first argument, `values` (n, C)."""
    over_threads(work, len(values), values.size, values, *others)


def _new_step(like: np.ndarray) -> Step:
    return Step(np.empty_like(like), np.empty_like(like), np.empty_like(like))


def _positions(size_hw: tuple[int, ...], deviation: float, dtype) -> np.ndarray:
    """(n, 2): column and row of each pixel, in standard deviations."""
    rows, columns = np.indices(size_hw).reshape(2, -1)
    return (np.stack([columns, rows], axis=1) / deviation).astype(dtype)


def _folded(parameters: Parameters) -> tuple[np.ndarray, np.ndarray]:
    """A = (M W_s)^T and B = (M W_b)^T: each combines weights and compatibility, and multiplies from the right."""
    spatial, bilateral, compatibility = parameters
    return np.ascontiguousarray((compatibility @ spatial).T), np.ascontiguousarray((compatibility @ bilateral).T)


def _unfolded(at_s: np.ndarray, at_b: np.ndarray, parameters: Parameters) -> Parameters:
    """The derivatives by W_s, W_b and M from the derivatives by A and B."""
    spatial, bilateral, compatibility = parameters
    return Parameters(compatibility.T @ at_s.T, compatibility.T @ at_b.T, at_s.T @ spatial.T + at_b.T @ bilateral.T)


# The loops over pixels. Matrices are (c, c) and norms (n,); all other arrays are (n, c): pixels by classes. Each loop works on
# the pixels from `begin` to `end` - 1.


@compiled
def softmax_rows(begin, end, logits, out):
    """out = softmax of each row of `logits`. Both may be the same array."""
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
    """out = the derivative by the logits. `q` is their softmax; `gradient` + `more` is the derivative by `q`."""
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
