"""Label maps as pictures to look at. All pictures are uint8 (H, W, 3) in OpenCV's channel order, BGR."""

from collections.abc import Sequence

import cv2
import numpy as np

from dataset_prep.datasets import Dataset

PANEL_WIDTH = 320  # pixels of one panel of a contact sheet
LEGEND_ROW, SWATCH = 20, 14


def colorize(label_map: np.ndarray, facts: Dataset) -> np.ndarray:
    """`label_map` (H, W) in the colours of the data set's classes; black where there is no class."""
    table = np.zeros((256, 3), np.uint8)
    table[: facts.num_classes] = np.array(facts.palette, np.uint8)[:, ::-1]
    return table[label_map]


def overlay(image_bgr: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Half image, half colours; the image alone where the colours are black."""
    mixed = cv2.addWeighted(image_bgr, 0.5, colours, 0.5, 0)
    return np.where(colours.any(axis=2, keepdims=True), mixed, image_bgr)


def strip(image_bgr: np.ndarray, truth: np.ndarray, prediction: np.ndarray, facts: Dataset) -> np.ndarray:
    """Side by side: image | truth | prediction | prediction over the image."""
    predicted = colorize(prediction, facts)
    return np.hstack([image_bgr, colorize(truth, facts), predicted, overlay(image_bgr, predicted)])


def shrink(picture: np.ndarray, width: int) -> np.ndarray:
    """`picture` scaled to `width` pixels, its shape kept."""
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def contact_sheet(strips: Sequence[np.ndarray], facts: Dataset) -> np.ndarray:
    """Strips of four panels below each other, shrunk to one width, above the names of the classes in their colours."""
    width = 4 * PANEL_WIDTH
    return np.vstack([*(shrink(picture, width) for picture in strips), legend(facts, width)])


def legend(facts: Dataset, width: int) -> np.ndarray:
    """A white band `width` pixels wide with a swatch and a name for each class."""
    column, columns = width // 6, 6
    rows = -(-facts.num_classes // columns)
    band = np.full((rows * LEGEND_ROW, width, 3), 255, np.uint8)
    for i, (name, rgb) in enumerate(zip(facts.classes, facts.palette, strict=True)):
        x, y = (i % columns) * column + 3, (i // columns) * LEGEND_ROW + 3
        cv2.rectangle(band, (x, y), (x + SWATCH, y + SWATCH), rgb[::-1], cv2.FILLED)
        cv2.putText(band, name, (x + SWATCH + 4, y + 11), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return band
