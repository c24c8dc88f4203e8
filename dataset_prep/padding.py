"""Adds borders to an image and its label, reflected as in the authors' data layer (OpenCV's BORDER_REFLECT_101)."""

import cv2
import numpy as np

from dataset_prep.datasets import IGNORE_LABEL

Border = tuple[int, int, int, int]  # pixels above, below, left, right


def reflect(image: np.ndarray, border: Border, out: np.ndarray | None = None) -> np.ndarray:
    """`image` (H, W) or (H, W, channels) with reflected borders, in `out` if given.

    The edge pixel is not repeated. A border wider than the image is reflected back and forth.
    """
    return cv2.copyMakeBorder(image, *border, cv2.BORDER_REFLECT_101, out)


def ignore(label: np.ndarray, border: Border, out: np.ndarray | None = None) -> np.ndarray:
    """`label` (H, W) with borders of 255, in `out` if given."""
    return cv2.copyMakeBorder(label, *border, cv2.BORDER_CONSTANT, out, IGNORE_LABEL)


def centred_border(size_hw: tuple[int, int], least: int) -> Border:
    """The border that makes both sides at least `least` pixels; an odd pixel goes to the bottom or right."""
    missing = [max(0, least - side) for side in size_hw]
    above, left = missing[0] // 2, missing[1] // 2
    return above, missing[0] - above, left, missing[1] - left


def pad_for_crops(
    image: np.ndarray,
    label: np.ndarray,
    margin_px: int,
    crop_size: int,
    columns: tuple[int, int] | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """One uint8 (4, H', W') array of B, G, R, label, with a margin on all sides, and both sides at least `crop_size` pixels.

    With `columns` (first, one past the last) it holds these columns and their margin. Where the image goes on, the margin holds
    the image's own pixels and labels, as in a tile of the authors' test.py, and no reflection. Written into `out` if given.
    """
    margin = (margin_px,) * 4
    first, last = columns or (0, label.shape[1])
    size = padded_size((label.shape[0], last - first), margin_px, crop_size)
    padded = np.empty((4, *size), np.uint8) if out is None else out
    rest = centred_border((label.shape[0] + 2 * margin_px, last - first + 2 * margin_px), crop_size)
    for plane, border, place in zip((*cv2.split(image), label), (reflect, reflect, reflect, ignore), padded, strict=True):
        if columns or any(rest):
            border(border(plane, margin)[:, first : last + 2 * margin_px], rest, place)
        else:
            border(plane, margin, place)
    return padded


def padded_size(size_hw: tuple[int, int], margin_px: int, crop_size: int) -> tuple[int, int]:
    """Height and width of what pad_for_crops makes of an image of `size_hw`."""
    height, width = (max(side + 2 * margin_px, crop_size) for side in size_hw)
    return height, width
