"""Geometry of stored maps: input sizes, labels at stride 8, and borders that later layers remove."""

import numpy as np

from dataset_prep.datasets import IGNORE_LABEL
from dataset_prep.padding import reflect
from prototxt.shapes import MARGIN, SHRINK, STRIDE, check_crop_size
from tools.support.errors import UserError


def input_size(size_hw: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the smallest input whose cells cover an image of `size_hw`: rounded up to 8, plus 372."""
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

    The authors' test.py fills a tile that is too small in the same way.
    """
    return filled_input(reflect(image, (MARGIN,) * 4), input_hw)


def filled_input(padded: np.ndarray, input_hw: tuple[int, int]) -> np.ndarray:
    """An image that has its margin already, reflected on below and to the right up to `input_hw`."""
    return reflect(padded, (0, input_hw[0] - padded.shape[0], 0, input_hw[1] - padded.shape[1]))


def cell_labels(label: np.ndarray, input_hw: tuple[int, int], stride: int = STRIDE) -> np.ndarray:
    """The labels of each score cell, uint8 (k, h, w), 255 outside the image.

    At stride 8, cell (i, j) has the label of pixel (8i, 8j), as in the authors' BinLabelData. At stride 1, for a loss on
    upsampled scores, it has the labels of 64 pixels: plane 8a+b holds pixel (8i+a, 8j+b), in the order of
    prototxt.layers.pixels_of_cells.
    """
    height, width = ((side - SHRINK) // STRIDE for side in input_hw)
    pixels = np.full((height * STRIDE, width * STRIDE), IGNORE_LABEL, np.uint8)
    pixels[: label.shape[0], : label.shape[1]] = label
    steps = range(0, STRIDE, stride)
    return np.stack([pixels[row::STRIDE, column::STRIDE] for row in steps for column in steps])


def label_planes(manifest: dict) -> int:
    """Channels of label that come after the maps in a Datum."""
    return (STRIDE // manifest.get('label_stride', STRIDE)) ** 2


def with_border(cells: np.ndarray, border: int) -> np.ndarray:
    """Score-cell labels (k, h, w) with `border` more cells of 255 on each side, for a map that is larger than the scores."""
    return np.pad(cells, ((0, 0), (border, border), (border, border)), constant_values=IGNORE_LABEL)


def without_border(labels: np.ndarray, border: int) -> np.ndarray:
    """The inverse of with_border."""
    _, height, width = labels.shape
    return labels[:, border : height - border, border : width - border]
