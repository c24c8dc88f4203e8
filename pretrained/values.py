"""Arrays that stay in their file until they are written: memory-mapped views, and matrices transposed while they are read."""

from collections.abc import Callable, Iterator
from math import prod

import numpy as np

from pretrained.caffemodel import Streamed

Values = np.ndarray | Streamed
Layers = dict[str, list[Values]]  # Caffe's layer name -> weights, bias

ROWS = 256  # rows of a matrix in memory at a time; 26 MB for fc6
LARGE = 1 << 24  # arrays with at least so many values are transposed in blocks: fc6 and fc7
DEEPEST = 99  # levels of nested containers
COLOURS = 3
BFLOAT16 = 'V2'  # the upper half of a 32-bit float; NumPy has no such type


def widened(halves: np.ndarray) -> np.ndarray:
    """bfloat16 values as 32-bit floats."""
    return (np.ascontiguousarray(halves).view('<u2').astype('<u4') << 16).view('<f4')


def leaves(tree: object, is_leaf: Callable[[object], bool]) -> dict[str, object]:
    """The parts of nested dictionaries and lists that `is_leaf` accepts, by path: 'state_dict.conv1_1.weight'.

    Each container is visited once, so one that holds itself ends. Raises ValueError for too deep nesting.
    """
    found: dict[str, object] = {}
    looked_into: set[int] = set()
    waiting: list[tuple[tuple[str, ...], object]] = [((), tree)]
    while waiting:
        way, node = waiting.pop()
        if is_leaf(node):
            found['.'.join(way)] = node
        elif isinstance(node, dict | list | tuple) and id(node) not in looked_into:
            if len(way) > DEEPEST:
                raise ValueError(f'containers nested more than {DEEPEST} deep')
            looked_into.add(id(node))
            parts = node.items() if isinstance(node, dict) else enumerate(node)
            waiting += reversed([((*way, str(key)), part) for key, part in parts])
    return found


def rows_of_columns(columns: Callable[[int, int], np.ndarray], shape: tuple[int, int], map_hwc: tuple | None) -> Streamed:
    """A matrix stored as `shape` (inputs, outputs), as rows of outputs; a block of rows is in memory at a time.

    `columns(first, last)` gives (inputs, last - first). With `map_hwc`, the inputs are a map flattened as (height, width,
    channels); the rows are (channels, height, width), as Caffe flattens it.
    """

    inputs, outputs = shape

    def pieces() -> Iterator[np.ndarray]:
        for first in range(0, outputs, ROWS):
            block = np.asarray(columns(first, min(first + ROWS, outputs)), np.float32)
            yield np.ascontiguousarray(block.reshape(*map_hwc, -1).transpose(3, 2, 0, 1) if map_hwc else block.T)

    return Streamed((outputs, inputs), pieces)


def outputs_first(kernel) -> Values:
    """A kernel stored as (height, width, in, out), as (out, in, height, width)."""
    height, width, inputs, outputs = kernel.shape
    if prod(kernel.shape) < LARGE:
        return np.asarray(kernel[...]).transpose(3, 2, 0, 1)

    def pieces() -> Iterator[np.ndarray]:
        for first in range(0, outputs, ROWS):
            yield np.ascontiguousarray(np.asarray(kernel[..., first : first + ROWS], np.float32).transpose(3, 2, 0, 1))

    return Streamed((outputs, inputs, height, width), pieces)


def turned_over(values: Values) -> Values:
    """A kernel (..., height, width) flipped in both axes, as a flipping convolution stores it."""
    if isinstance(values, Streamed):
        shape, pieces = values.shape, values.pieces
        return Streamed(shape, lambda: (piece.reshape(-1, *shape[1:])[..., ::-1, ::-1] for piece in pieces()))
    return values[..., ::-1, ::-1]


def all_finite(values: Values) -> bool:
    """Whether all values are finite; they are read block by block."""
    if isinstance(values, Streamed):
        return all(np.isfinite(piece).all() for piece in values.pieces())
    flat = values.reshape(-1)
    return all(np.isfinite(flat[first : first + (1 << 22)]).all() for first in range(0, flat.size, 1 << 22))


def scores(blobs: list[Values]) -> bool:
    """Whether a layer may score classes: a dense layer or a 1x1 convolution, but not one on colours."""
    shape = blobs[0].shape
    if len(shape) == 4 and shape[2:] == (1, 1):
        return shape[1] > COLOURS
    return len(shape) == 2 or (len(shape) == 4 and shape[:2] == (1, 1))
