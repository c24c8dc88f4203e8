"""Draws label maps beside images. All pictures are uint8 (H, W, 3) in OpenCV's channel order, BGR."""

from collections.abc import Sequence

import numpy as np

from dataset_prep.datasets import Dataset
from tools.support.sheets import GAP, LINE, below, beside, caption, class_legend, colorize, framed, overlay, scaled

__all__ = ['HEADINGS', 'colorize', 'column', 'contact_sheet', 'overlay', 'panels', 'strip']

HEADINGS = ('image', 'ground truth', 'prediction', 'prediction over image')
PANEL_WIDTH = 320  # pixels of one panel of a contact sheet
LEAST_WIDTH = 150  # of a panel of a strip, so that its heading has room


def panels(image_bgr: np.ndarray, truth: np.ndarray, prediction: np.ndarray, facts: Dataset) -> list[np.ndarray]:
    """The four pictures that HEADINGS names."""
    predicted = colorize(prediction, facts)
    return [image_bgr, colorize(truth, facts), predicted, overlay(image_bgr, predicted)]


def strip(name: str, pictures: Sequence[np.ndarray]) -> np.ndarray:
    """The panels of an image side by side at full size, below its name and the headings."""
    width = pictures[0].shape[1]
    room = max(0, LEAST_WIDTH - width)
    row = beside([np.pad(picture, ((0, 0), (0, room), (0, 0)), constant_values=255) for picture in pictures])
    return framed(below([caption(name, row.shape[1]), _headings(width + room), row], 0))


def contact_sheet(rows: Sequence[tuple[str, Sequence[np.ndarray]]], facts: Dataset) -> np.ndarray:
    """A row of equally wide panels for each image, and below them a legend of the classes."""
    blocks = [_headings(PANEL_WIDTH)]
    for name, pictures in rows:
        row = beside([scaled(picture, width=PANEL_WIDTH, pure=0 < place < 3) for place, picture in enumerate(pictures)])
        blocks.append(below([caption(name, row.shape[1]), row], 0))
    return framed(below([*blocks, class_legend(facts, blocks[0].shape[1])]))


def column(sheet: np.ndarray, place: int, facts: Dataset) -> np.ndarray:
    """Column `place` (from 0) of a contact sheet: the panels of one heading, without heading and legend."""
    legend = class_legend(facts, len(HEADINGS) * (PANEL_WIDTH + GAP) - GAP)
    left = GAP + place * (PANEL_WIDTH + GAP)
    return sheet[GAP + LINE + GAP : -(legend.shape[0] + 2 * GAP), left : left + PANEL_WIDTH]


def _headings(width: int) -> np.ndarray:
    """A line with the headings of the panels."""
    return beside([caption(heading, width) for heading in HEADINGS])
