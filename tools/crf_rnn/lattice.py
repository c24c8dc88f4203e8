"""Gaussian filtering of points in a few dimensions, linear in their number, by the permutohedral lattice.

A. Adams, J. Baek, M. A. Davis: Fast High-Dimensional Filtering Using the Permutohedral Lattice. Eurographics 2010.
Three linear steps: splat the values of the points onto the vertices around them, blur along the lattice's d + 1 axes, slice back.
An approximation of sum_j exp(-|f_i - f_j|^2 / 2) v_j; tools/structured/README.md says how near it comes.
"""

import numpy as np

from tools.crf_rnn import lattice_kernels as kernels
from tools.crf_rnn.compiled import spread

LARGEST_FEATURE = 1e6  # standard deviations; vertices are numbered in 32 bits


class Lattice:
    """The lattice of given points, in single or double precision."""

    def __init__(self, features: np.ndarray) -> None:
        """`features`, float (n, d): where the points are, in standard deviations of the Gaussian.

        Raises ValueError for features that are no number, or larger than LARGEST_FEATURE.
        """
        features = np.ascontiguousarray(features)
        n, d = features.shape
        if not np.abs(features).max(initial=0) <= LARGEST_FEATURE:
            raise ValueError(f'features must be numbers of at most {LARGEST_FEATURE:g} standard deviations')
        origins, ranks = np.empty((n, d + 1), np.int32), np.empty((n, d + 1), np.int8)
        self._weights = np.empty((n, d + 1), features.dtype)
        spread(kernels.embed, n, n * d * d, features, origins, ranks, self._weights)
        self._corners = np.empty((n, d + 1), np.int32)
        keys, table = kernels.number_vertices(origins, ranks, self._corners)
        self.vertices = len(keys)
        self._neighbours = np.empty((d + 1, self.vertices, 2), np.int32)
        spread(kernels.find_neighbours, self.vertices, self._neighbours.size * d, keys, table, self._neighbours)
        self._starts, self._places = kernels.points_of_vertices(self._corners, self.vertices)
        # Blurring by (1/2, 1, 1/2) doubles a value along each axis; a blurred impulse is to be worth 1 at its own point, as in
        # Kraehenbuehl's code, whose constant this is.
        self._scale = np.full(n, 1 / (1 + 2.0**-d), features.dtype)
        self._buffers: tuple[np.ndarray, np.ndarray] | None = None

    def filter(
        self, values: np.ndarray, out: np.ndarray, scale: np.ndarray | None = None, *, transposed: bool = False
    ) -> np.ndarray:
        """`out` (n, c): `values` (n, c) filtered, each point's result times `scale` (n,); all of the features' dtype.

        `transposed` applies the transpose of the filter's matrix, which blurs along the axes in reverse order: the gradient.
        """
        front, back = self._vertex_values(values)
        work = self._weights.size * values.shape[1]
        spread(kernels.splat, self.vertices, work, values, self._weights, self._starts, self._places, front)
        for neighbours in self._neighbours[::-1] if transposed else self._neighbours:
            spread(kernels.blur, self.vertices, 2 * front.size, front, neighbours, back)
            front, back = back, front
        own = self._scale if scale is None else self._scale * scale
        spread(kernels.slice_at_points, len(values), work, front, self._corners, self._weights, own, out)
        return out

    def _vertex_values(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Two buffers (m + 1, c), kept between calls; the last row, a neighbour that is not there, is 0."""
        shape = self.vertices + 1, values.shape[1]
        if self._buffers is None or self._buffers[0].shape != shape or self._buffers[0].dtype != values.dtype:
            self._buffers = np.zeros(shape, values.dtype), np.zeros(shape, values.dtype)
        return self._buffers
