"""Gaussian filtering of points in a few dimensions by the permutohedral lattice, in time linear in their number.

A. Adams, J. Baek, M. A. Davis: Fast High-Dimensional Filtering Using the Permutohedral Lattice. Eurographics 2010.
Three linear steps: splat the values of the points onto the vertices around them, blur along the d + 1 axes of the lattice, and
slice the values at the points. The result approximates sum_j exp(-|f_i - f_j|^2 / 2) v_j; tools/crfs/README.md has its errors.
"""

import numpy as np

from tools.crfs.compiled import compiled, over_threads

LARGEST_FEATURE = 1e6  # standard deviations; vertices are numbered in 32 bits
EMPTY = np.int32(-1)
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio, Knuth's multiplicative hashing


class Lattice:
    """The lattice around given points, in single or double precision."""

    def __init__(self, features: np.ndarray) -> None:
        """`features`, float (n, d), are the points in standard deviations of the Gaussian.

        Raises ValueError for features that are not finite or larger than LARGEST_FEATURE.
        """
        features = np.ascontiguousarray(features)
        n, d = features.shape
        if not np.abs(features).max(initial=0) <= LARGEST_FEATURE:
            raise ValueError(f'features must be numbers of at most {LARGEST_FEATURE:g} standard deviations')
        origins, ranks = np.empty((n, d + 1), np.int32), np.empty((n, d + 1), np.int8)
        self._weights = np.empty((n, d + 1), features.dtype)
        over_threads(embed, n, n * d * d, features, origins, ranks, self._weights)
        self._corners = np.empty((n, d + 1), np.int32)
        keys, table = number_vertices(origins, ranks, self._corners)
        self.vertices = len(keys)
        self._neighbours = np.empty((d + 1, self.vertices, 2), np.int32)
        over_threads(find_neighbours, self.vertices, self._neighbours.size * d, keys, table, self._neighbours)
        self._starts, self._places = points_of_vertices(self._corners, self.vertices)
        # Blurring by (1/2, 1, 1/2) doubles the sum along each axis. This constant of Kraehenbuehl's code gives a blurred impulse
        # the value 1 at its own point.
        self._scale = np.full(n, 1 / (1 + 2.0**-d), features.dtype)
        self._buffers: tuple[np.ndarray, np.ndarray] | None = None

    def filter(
        self, values: np.ndarray, out: np.ndarray, scale: np.ndarray | None = None, *, transposed: bool = False
    ) -> np.ndarray:
        """Write to `out` (n, c), and return, the filtered `values` (n, c), each point's result times `scale` (n,).

        All arrays have the dtype of the features. `transposed` applies the transpose of the filter's matrix, which gradients
        need; it blurs along the axes in reverse order.
        """
        front, back = self._vertex_values(values)
        work = self._weights.size * values.shape[1]
        over_threads(splat, self.vertices, work, values, self._weights, self._starts, self._places, front)
        for neighbours in self._neighbours[::-1] if transposed else self._neighbours:
            over_threads(blur, self.vertices, 2 * front.size, front, neighbours, back)
            front, back = back, front
        own = self._scale if scale is None else self._scale * scale
        over_threads(slice_at_points, len(values), work, front, self._corners, self._weights, own, out)
        return out

    def _vertex_values(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Two buffers (m + 1, c), kept between calls. The last row stands for a missing neighbour and is 0."""
        shape = self.vertices + 1, values.shape[1]
        if self._buffers is None or self._buffers[0].shape != shape or self._buffers[0].dtype != values.dtype:
            self._buffers = np.zeros(shape, values.dtype), np.zeros(shape, values.dtype)
        return self._buffers


# The loops. Those with `begin` and `end` work on the points, or vertices, from `begin` to `end` - 1.


@compiled
def embed(begin, end, features, origins, ranks, weights):
    """Find the simplex of each point and the barycentric coordinates in it (Adams et al. 2010, Sec. 3.1 and 3.2).

    features: float (n, d), in standard deviations. The other arrays are written. origins, int32 (n, d + 1): the simplex's vertex
    of remainder 0, in multiples of d + 1. ranks, int8 (n, d + 1): the rank of each coordinate by its difference to that vertex,
    largest first. weights, (n, d + 1): those of the vertices of remainder 0 to d; their sum is 1.
    """
    d = features.shape[1]
    elevated = np.empty(d + 1)
    for point in range(begin, end):
        _elevate(features[point], elevated)
        origin, rank = origins[point], ranks[point]
        total = 0
        for i in range(d + 1):
            multiple = int(np.floor(elevated[i] / (d + 1) + 0.5))
            origin[i] = multiple * (d + 1)
            rank[i] = 0
            total += multiple
        for i in range(d):
            for j in range(i + 1, d + 1):
                if elevated[i] - origin[i] < elevated[j] - origin[j]:
                    rank[i] += 1
                else:
                    rank[j] += 1
        _onto_plane(origin, rank, total)
        _barycentric(elevated, origin, rank, weights[point])


@compiled
def _elevate(feature, elevated):
    """Map a point of d coordinates into the plane of d + 1 coordinates whose sum is 0 (Adams et al. 2010, eq. 2 and 3).

    It is scaled so that blurring each axis by (1/4, 1/2, 1/4) has a standard deviation of 1 in the units of `feature`.
    """
    d = feature.shape[0]
    deviation = np.sqrt(2.0 / 3.0) * (d + 1)
    tail = 0.0
    for i in range(d, 0, -1):
        scaled = feature[i - 1] * deviation / np.sqrt(i * (i + 1.0))
        elevated[i] = tail - i * scaled
        tail += scaled
    elevated[0] = tail


@compiled
def _onto_plane(origin, rank, total):
    """Move the rounded point back onto the plane, where rounding costs least. The sum of its coordinates is `total` (d + 1)."""
    sides = origin.shape[0]
    for i in range(sides):
        rank[i] += total
        if rank[i] < 0:
            rank[i] += sides
            origin[i] += sides
        elif rank[i] >= sides:
            rank[i] -= sides
            origin[i] -= sides


@compiled
def _barycentric(elevated, origin, rank, weights):
    """The weights of the simplex's vertices, from the sorted differences between the point and the vertex of remainder 0."""
    sides = origin.shape[0]
    falling = np.empty(sides + 1)
    for i in range(sides):
        falling[rank[i]] = (elevated[i] - origin[i]) / sides
    falling[sides] = falling[0] - 1
    for remainder in range(sides):
        weights[remainder] = falling[sides - 1 - remainder] - falling[sides - remainder]


@compiled
def _vertex_key(origin, rank, remainder, key):
    """The first d coordinates of the simplex's vertex of `remainder`. The last one follows, because the sum is 0."""
    sides = origin.shape[0]
    for i in range(sides - 1):
        key[i] = origin[i] + remainder - (sides if rank[i] >= sides - remainder else 0)


@compiled
def _hash(key):
    mixed = np.uint64(0)
    for i in range(key.shape[0]):
        mixed = (mixed ^ np.uint64(np.int64(key[i]))) * _MULTIPLIER
        mixed ^= mixed >> np.uint64(29)
    return mixed


@compiled
def _slot(table, keys, key):
    """The place of `key` in the hash table, or the free place for it. The size is a power of 2; probing is linear."""
    mask = np.uint64(table.shape[0] - 1)
    slot = _hash(key) & mask
    while table[slot] != EMPTY and not _equal(keys[table[slot]], key):
        slot = (slot + np.uint64(1)) & mask
    return slot


@compiled
def _equal(key, other):
    for i in range(key.shape[0]):  # noqa: SIM110 -- numba has no all() of a generator
        if key[i] != other[i]:
            return False
    return True


@compiled
def number_vertices(origins, ranks, corners):
    """Number the vertices in the order of the points; returns their keys, int32 (m, d), and the hash table.

    Writes corners, int32 (n, d + 1): the vertices of each point's simplex.
    """
    n, sides = origins.shape
    d = sides - 1
    keys = np.empty((1024, d), np.int32)
    table = np.full(4096, EMPTY)
    key = np.empty(d, np.int32)
    count = 0
    for point in range(n):
        for remainder in range(sides):
            _vertex_key(origins[point], ranks[point], remainder, key)
            slot = _slot(table, keys, key)
            if table[slot] == EMPTY:
                if count == keys.shape[0]:
                    more = np.empty((2 * count, d), np.int32)
                    more[:count] = keys
                    keys = more
                    table = _rehashed(keys, count, 8 * count)
                    slot = _slot(table, keys, key)
                keys[count] = key
                table[slot] = count
                count += 1
            corners[point, remainder] = table[slot]
    return keys[:count].copy(), table


@compiled
def _rehashed(keys, count, size):
    table = np.full(size, EMPTY)
    for vertex in range(count):
        table[_slot(table, keys, keys[vertex])] = vertex
    return table


@compiled
def find_neighbours(begin, end, keys, table, neighbours):
    """Write neighbours, int32 (d + 1, m, 2): the vertices before and after each vertex along each axis, or m if there is none.

    A step along axis j adds d to coordinate j and subtracts 1 from all others.
    """
    m, d = keys.shape
    key = np.empty(d, np.int32)
    for axis in range(d + 1):
        for vertex in range(begin, end):
            for side in range(2):
                step = 2 * side - 1
                for i in range(d):
                    key[i] = keys[vertex, i] + (step * d if i == axis else -step)
                found = table[_slot(table, keys, key)]
                neighbours[axis, vertex, side] = m if found == EMPTY else found


@compiled
def points_of_vertices(corners, m):
    """The inverse of `corners`: starts, int64 (m + 1), and places, int32 (n (d + 1)), in the flattened `corners`.

    The places of vertex v are places[starts[v]:starts[v + 1]], ascending.
    """
    flat = corners.reshape(-1)
    starts = np.zeros(m + 1, np.int64)
    for place in range(flat.shape[0]):
        starts[flat[place] + 1] += 1
    for vertex in range(m):
        starts[vertex + 1] += starts[vertex]
    places = np.empty(flat.shape[0], np.int32)
    free = starts[:-1].copy()
    for place in range(flat.shape[0]):
        vertex = flat[place]
        places[free[vertex]] = place
        free[vertex] += 1
    return starts, places


@compiled
def splat(begin, end, values, weights, starts, places, out):
    """out (m + 1, c): the weighted sum of the values (n, c) of each vertex's points."""
    sides, channels = weights.shape[1], values.shape[1]
    flat = weights.reshape(-1)
    for vertex in range(begin, end):
        row = out[vertex]
        for c in range(channels):
            row[c] = 0
        for entry in range(starts[vertex], starts[vertex + 1]):
            place = places[entry]
            weight, value = flat[place], values[place // sides]
            for c in range(channels):
                row[c] += weight * value[c]


@compiled
def blur(begin, end, values, neighbours, out):
    """out (m + 1, c): `values` (m + 1, c) blurred by (1/2, 1, 1/2) along one axis with its `neighbours` (m, 2)."""
    channels = values.shape[1]
    half = values.dtype.type(0.5)
    for vertex in range(begin, end):
        row, here = out[vertex], values[vertex]
        before, after = values[neighbours[vertex, 0]], values[neighbours[vertex, 1]]
        for c in range(channels):
            row[c] = here[c] + half * (before[c] + after[c])


@compiled
def slice_at_points(begin, end, values, corners, weights, scale, out):
    """out (n, c): the weighted sum of the values (m + 1, c) of the vertices around each point, times its `scale` (n,)."""
    sides, channels = corners.shape[1], values.shape[1]
    for point in range(begin, end):
        row = out[point]
        for c in range(channels):
            row[c] = 0
        for remainder in range(sides):
            weight, value = scale[point] * weights[point, remainder], values[corners[point, remainder]]
            for c in range(channels):
                row[c] += weight * value[c]
