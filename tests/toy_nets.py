"""Random weights for the small networks of the table, and random images."""

from pathlib import Path

import numpy as np

from dataset_prep.records import save_split
from pretrained.caffemodel import write
from prototxt.networks import deploy
from prototxt.shapes import param_shapes
from tests.stored_maps import write_pairs

SIZES = {'a': (20, 28), 'b': (17, 31), 'c': (24, 24)}  # (height, width) of the images of a split
COLOUR_SPREAD = 50  # of pixel values around their mean; conv1_1 divides by it, so that scores come near 1


def random_weights(net_name: str, path: Path, seed: int = 0) -> Path:
    """A caffemodel for all layers of a network, scaled so that scores differ between pixels and between classes."""
    rng = np.random.default_rng(seed)
    weights = {}
    for layer, shapes in param_shapes(deploy(net_name)).items():
        spread = [np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1 for shape in shapes]
        if layer == 'conv1_1':
            spread[0] /= COLOUR_SPREAD
        weights[layer] = [rng.normal(0, std, shape).astype(np.float32) for std, shape in zip(spread, shapes, strict=True)]
    write(path, weights, net_name)
    return path


def random_image(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8 (height, width, 3) in blocks of 8x8 pixels, so that neighbouring cells differ."""
    rng = np.random.default_rng(seed)
    cells = rng.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    return np.kron(cells, np.ones((8, 8, 1), np.uint8))[:height, :width]


def make_split(folder: Path, sizes: dict[str, tuple[int, int]], *, dataset: str = 'toy', split: str = 'test') -> Path:
    """A split of random images. The truth is class 0 in the upper half, another class below, and one ignored pixel."""
    pairs = []
    for number, (name, size) in enumerate(sizes.items()):
        truth = np.zeros(size, np.uint8)
        truth[size[0] // 2 :], truth[0, 0] = number % 6 + 1, 255
        pairs.append((name, random_image(*size, seed=number), truth))
    save_split(folder, split, write_pairs(folder, pairs, dataset))
    return folder
