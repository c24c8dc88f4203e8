"""Arrays that stay in their file until they are written: views of memory-mapped files, and matrices turned as they are read."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from pretrained.caffemodel import Streamed
from tools.support.errors import UserError

Values = np.ndarray | Streamed
Layers = dict[str, list[Values]]  # Caffe's layer name -> weights, bias

ROWS = 256  # rows of a matrix in memory at once: of fc6, 26 MB


def mapped(path: Path) -> memoryview:
    """The bytes of a file, memory-mapped. Raises UserError if it is empty or cannot be read."""
    try:
        if size := path.stat().st_size:
            return memoryview(np.memmap(path, mode='r', shape=size))  # type: ignore[arg-type]
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror})') from error
    raise UserError(f'{path}: empty; get it again')


def rows_of_columns(columns: Callable[[int, int], np.ndarray], shape: tuple[int, int], map_hwc: tuple | None) -> Streamed:
    """A matrix stored as `shape`, (inputs, outputs), as rows of outputs, a block of rows in memory at a time.

    `columns(first, last)` gives (inputs, last - first). With `map_hwc`, the inputs are a map flattened as (height, width,
    channels); the rows are (channels, height, width), as Caffe flattens it.
    """

    inputs, outputs = shape

    def pieces() -> Iterator[np.ndarray]:
        for first in range(0, outputs, ROWS):
            block = np.asarray(columns(first, min(first + ROWS, outputs)), np.float32)
            yield np.ascontiguousarray(block.reshape(*map_hwc, -1).transpose(3, 2, 0, 1) if map_hwc else block.T)

    return Streamed((outputs, inputs), pieces)


def all_finite(values: Values) -> bool:
    """Whether no value is infinite or not a number; read block by block."""
    if isinstance(values, Streamed):
        return all(np.isfinite(piece).all() for piece in values.pieces())
    flat = values.reshape(-1)
    return all(np.isfinite(flat[first : first + (1 << 22)]).all() for first in range(0, flat.size, 1 << 22))
