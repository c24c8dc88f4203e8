"""Label maps as pictures to look at. All pictures are uint8 (H, W, 3) in OpenCV's channel order, BGR."""

from collections.abc import Sequence

import numpy as np

from dataset_prep.datasets import Dataset
from tools.support.sheets import class_legend, colorize, overlay, scaled

__all__ = ['colorize', 'contact_sheet', 'overlay', 'strip']

PANEL_WIDTH = 320  # pixels of one panel of a contact sheet


def strip(image_bgr: np.ndarray, truth: np.ndarray, prediction: np.ndarray, facts: Dataset) -> np.ndarray:
    """Side by side: image | truth | prediction | prediction over the image."""
    predicted = colorize(prediction, facts)
    return np.hstack([image_bgr, colorize(truth, facts), predicted, overlay(image_bgr, predicted)])


def contact_sheet(strips: Sequence[np.ndarray], facts: Dataset) -> np.ndarray:
    """Strips of four panels below each other, shrunk to one width, above the names of the classes in their colours."""
    width = 4 * PANEL_WIDTH
    return np.vstack([*(scaled(picture, width=width) for picture in strips), class_legend(facts, width)])
