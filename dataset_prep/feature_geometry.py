"""Where the cells of a stored map lie on an image: sizes of inputs, labels at stride 8, borders that a later layer takes off."""

import numpy as np

from dataset_prep.datasets import IGNORE_LABEL
from dataset_prep.padding import ignore, reflect
from prototxt.shapes import FC6_CELLS, MARGIN, SHRINK, STRIDE, TRUNK_END, check_crop_size
from tools.support.errors import UserError


def input_size(size_hw: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the input whose score cells just cover an image of `size_hw` pixels: the image rounded up, and 372."""
    height, width = (-(-side // STRIDE) * STRIDE + SHRINK for side in size_hw)
    return height, width


def check_input_size(input_hw: tuple[int, int], size_hw: tuple[int, int], name: str) -> None:
    """Raise UserError unless score cells of an input of `input_hw` are whole and cover the image `name` of `size_hw` pixels."""
    least = input_size(size_hw)
    for side in input_hw:
        check_crop_size(side)
    if input_hw[0] < least[0] or input_hw[1] < least[1]:
        raise UserError(
            f'{name} is {size_hw[0]}x{size_hw[1]} pixels (height x width) and needs an input of at least {least[0]}x{least[1]}, '
            f'not {input_hw[0]}x{input_hw[1]}; give --size-hw'
        )


def padded_input(image: np.ndarray, input_hw: tuple[int, int]) -> np.ndarray:
    """`image` (H, W, 3) with the margin reflected on each side, then reflected on below and to the right up to `input_hw`.

    As the authors' test.py fills a tile that is short.
    """
    padded = reflect(image, (MARGIN,) * 4)
    return reflect(padded, (0, input_hw[0] - padded.shape[0], 0, input_hw[1] - padded.shape[1]))


def cell_labels(label: np.ndarray, input_hw: tuple[int, int]) -> np.ndarray:
    """The label of each score cell, uint8 (h, w): that of pixel (8i, 8j), 255 outside the image (authors' BinLabelData)."""
    cells = np.full([(side - SHRINK) // STRIDE for side in input_hw], IGNORE_LABEL, np.uint8)
    sampled = label[::STRIDE, ::STRIDE]
    cells[: sampled.shape[0], : sampled.shape[1]] = sampled
    return cells


def pixel_labels(label: np.ndarray, input_hw: tuple[int, int]) -> np.ndarray:
    """The labels of all pixels of each score cell, uint8 (64, h, w): plane 8a + b holds those of pixels (8i + a, 8j + b).

    255 outside the image. What a loss at label stride 1 compares upsampled scores with (prototxt.layers.pixels_of_cells).
    """
    height, width = ((side - SHRINK) // STRIDE for side in input_hw)
    pixels = np.full((height * STRIDE, width * STRIDE), IGNORE_LABEL, np.uint8)
    pixels[: label.shape[0], : label.shape[1]] = label
    cells = pixels.reshape(height, STRIDE, width, STRIDE)
    return cells.transpose(1, 3, 0, 2).reshape(STRIDE**2, height, width)


def border_cells(blob: str) -> int:
    """Cells on each side by which a map of `blob` is larger than the scores: what fc6 takes off, 12, before it; none after."""
    return FC6_CELLS // 2 if blob == TRUNK_END else 0


def with_border(cells: np.ndarray, border: int) -> np.ndarray:
    """Score-cell labels (h, w) laid out over a larger map: `border` cells of 255 on each side."""
    return ignore(cells, (border,) * 4)


def without_border(labels: np.ndarray, border: int) -> np.ndarray:
    """The inverse of with_border."""
    height, width = labels.shape
    return labels[border : height - border, border : width - border]
