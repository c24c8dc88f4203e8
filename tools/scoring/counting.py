"""Counts the pixels of each true label by predicted label."""

from ctypes import c_int64
from pathlib import Path

import cv2
import numpy as np

from dataset_prep.datasets import IGNORE_LABEL
from tools.support.native import library, pointer

LABELS_C = Path(__file__).with_name('labels.c')
VALUES = 256  # values of a one-byte label
EXACT = 1 << 24  # pixels that OpenCV counts without rounding: its counts are float32


class NoClass(ValueError):
    """A label map has an id that no class has."""


def confusion(truth: np.ndarray, prediction: np.ndarray, classes: int, ignore: int | None = IGNORE_LABEL) -> np.ndarray:
    """int64 (classes, classes): pixels of each true class (row) by predicted class (column).

    Both maps are uint8 (H, W). Pixels whose truth is `ignore` do not count; with None all pixels count. Raises ValueError if
    the sizes differ, and NoClass for ids without a class. A prediction may not hold `ignore`.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f'the prediction is {_size(prediction)}, the ground truth is {_size(truth)}')
    pairs = count_pairs(truth, prediction)
    wrong_truth = pairs.sum(axis=1)
    wrong_truth[:classes] = 0
    if ignore is not None:
        wrong_truth[ignore] = 0
    _refuse(prediction, pairs[:, classes:].sum(axis=0), classes, 'prediction', first=classes)
    _refuse(truth, wrong_truth, classes, 'ground truth')
    return pairs[:classes, :classes]


def count_pairs(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """int64 (256, 256): pixels of each true value (row) by predicted value (column). Both maps are uint8 of one shape."""
    truth, prediction = np.ascontiguousarray(truth, np.uint8), np.ascontiguousarray(prediction, np.uint8)
    total = np.zeros((VALUES, VALUES), np.int64)
    compiled = library(LABELS_C)
    if compiled:
        tables = np.zeros((4, VALUES * VALUES), np.uint32)
        compiled.count_pairs(pointer(truth), pointer(prediction), c_int64(truth.size), pointer(tables), pointer(total))
        return total
    rows = max(1, EXACT // max(1, truth.shape[1]))
    for top in range(0, len(truth), rows):
        maps = [labels[top : top + rows] for labels in (truth, prediction)]
        counts = cv2.calcHist(maps, [0, 1], None, [VALUES, VALUES], [0, VALUES, 0, VALUES])
        total += counts.astype(np.int64)
    return total


def _size(label_map: np.ndarray) -> str:
    return 'x'.join(map(str, label_map.shape))


def _refuse(label_map: np.ndarray, wrong: np.ndarray, classes: int, what: str, first: int = 0) -> None:
    """Raise NoClass with the first pixel that has a wrong label. `wrong` counts the pixels of each label from `first` on."""
    values = np.flatnonzero(wrong) + first
    if values.size:
        row, column = np.argwhere(np.isin(label_map, values))[0]
        label = label_map[row, column]
        raise NoClass(f'the {what} has label {label} at row {row}, column {column}; classes are 0-{classes - 1}')
