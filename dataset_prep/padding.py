"""Borders around an image and its label, reflected as the authors' data layer does (OpenCV's BORDER_REFLECT_101)."""

import cv2
import numpy as np

from dataset_prep.datasets import IGNORE_LABEL

Border = tuple[int, int, int, int]  # pixels above, below, left, right


def reflect(image: np.ndarray, border: Border) -> np.ndarray:
    """`image` (H, W, channels) with reflected borders; the edge pixel is not repeated, and a border wider than the image
    goes on reflecting back and forth."""
    return cv2.copyMakeBorder(image, *border, cv2.BORDER_REFLECT_101)


def ignore(label: np.ndarray, border: Border) -> np.ndarray:
    """`label` (H, W) with borders of 255."""
    return cv2.copyMakeBorder(label, *border, cv2.BORDER_CONSTANT, value=IGNORE_LABEL)


def centred_border(size_hw: tuple[int, int], least: int) -> Border:
    """The border that brings both sides to at least `least` pixels; an odd pixel goes below or to the right."""
    missing = [max(0, least - side) for side in size_hw]
    above, left = missing[0] // 2, missing[1] // 2
    return above, missing[0] - above, left, missing[1] - left


def pad_for_crops(
    image: np.ndarray, label: np.ndarray, margin_px: int, crop_size: int, columns: tuple[int, int] | None = None
) -> np.ndarray:
    """One uint8 (4, H', W') array of B, G, R, label: a margin all round, then both sides at least `crop_size` pixels.

    With `columns` (first, one past the last) only those of the image and their margin: where the image goes on, the margin
    holds its own pixels and labels, as a tile of the authors' test.py does, not a reflection.
    """
    margin = (margin_px,) * 4
    image, label = reflect(image, margin), ignore(label, margin)
    if columns:
        window = slice(columns[0], columns[1] + 2 * margin_px)
        image, label = image[:, window], label[:, window]
    rest = centred_border(image.shape[:2], crop_size)
    return np.concatenate([reflect(image, rest).transpose(2, 0, 1), ignore(label, rest)[None]])


def padded_size(size_hw: tuple[int, int], margin_px: int, crop_size: int) -> tuple[int, int]:
    """Height and width of what pad_for_crops makes of an image of `size_hw`."""
    height, width = (max(side + 2 * margin_px, crop_size) for side in size_hw)
    return height, width
