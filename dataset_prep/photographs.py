"""Draws pictures, with labels, that are as hard to decode and compress as photographs."""

from pathlib import Path

import cv2
import numpy as np

from dataset_prep.datasets import IGNORE_LABEL, dataset
from dataset_prep.records import Record

JPEG_QUALITY = 92
GRAIN = 4.0  # standard deviation of the finest detail; each coarser octave has more, as in photographs (1/f)
SEGMENTS = 12


def draw(folder: Path, count: int, size_wh: tuple[int, int], suffix: str, dataset_name: str, seed: int = 0) -> list[Record]:
    """`count` records of pictures of one size in `folder`, drawn if they are missing; images are .jpg or .png files."""
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for number in range(count):
        name = f'{number:06d}'
        image, label = folder / f'{name}{suffix}', folder / f'{name}_label.png'
        if not label.exists():
            pixels, ids = draw_picture(size_wh, dataset(dataset_name).num_classes, np.random.default_rng((seed, number)))
            cv2.imwrite(str(image), pixels, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY] if suffix == '.jpg' else [])
            cv2.imwrite(str(label), ids)
        records.append(Record(name, image, label, dataset_name))
    return records


def draw_picture(size_wh: tuple[int, int], classes: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A picture, uint8 (H, W, 3), and its label, uint8 (H, W).

    Each segment has a colour and a class. Edges are ignored. Over it lies detail at all scales.
    """
    segments = _segments(size_wh, rng)
    colours = rng.uniform(40, 215, (SEGMENTS, 3)).astype(np.float32)
    ids = rng.integers(0, classes, SEGMENTS).astype(np.uint8)[segments]
    edges = cv2.morphologyEx(segments.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    pixels = colours[segments] + _detail(size_wh, rng)
    return np.clip(pixels, 0, 255).astype(np.uint8), np.where(edges, IGNORE_LABEL, ids).astype(np.uint8)


def _segments(size_wh: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """The segment of each pixel, (H, W): which of SEGMENTS smooth random surfaces is the highest there."""
    surfaces = [cv2.resize(rng.random((5, 7), np.float32), size_wh, interpolation=cv2.INTER_CUBIC) for _ in range(SEGMENTS)]
    return np.argmax(surfaces, axis=0)


def _detail(size_wh: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Noise at all scales, float32 (H, W, 3), mostly the same in all channels."""
    width, height = size_wh
    detail = np.zeros((height, width, 3), np.float32)
    for octave in range(7):
        step = 2**octave
        shape = (height // step + 2, width // step + 2)
        grey = rng.standard_normal((*shape, 1), np.float32) + 0.3 * rng.standard_normal((*shape, 3), np.float32)
        detail += cv2.resize(grey, size_wh, interpolation=cv2.INTER_CUBIC) * (GRAIN * step**0.5)
    return detail
