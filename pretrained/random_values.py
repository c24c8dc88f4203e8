"""Small random values in place of weights, for nets that only have to run."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod

import numpy as np

from pretrained.caffemodel import Shape, Streamed

STD = 0.01
_BLOCK = 1 << 20


def random_blobs(shapes: Mapping[str, Sequence[Shape]]) -> dict[str, list[Streamed]]:
    """Blobs of the given shapes by layer, normally distributed; one block of values is repeated."""
    return {layer: [Streamed(shape, _pieces(prod(shape))) for shape in blobs] for layer, blobs in shapes.items()}


def _pieces(count: int) -> Callable[[], Iterable[np.ndarray]]:
    def pieces() -> Iterable[np.ndarray]:
        block = np.random.default_rng(0).normal(0, STD, _BLOCK).astype(np.float32)
        return (block[: count - first] for first in range(0, count, _BLOCK))

    return pieces
