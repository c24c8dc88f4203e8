"""Measures of a confusion matrix, int64 (ids, ids): true ids in rows, predicted ids in columns. All are fractions.

The formula is that of PASCAL VOC's VOCevalseg.m and of cityscapesScripts' evalPixelLevelSemanticLabeling.py:
hits / (hits + misses + false alarms), where false alarms count only on pixels of ids that are evaluated.
Mean class accuracy and frequency-weighted IoU are those of Long et al. 2015 (FCN), Sec. 5.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import isnan, nan

import numpy as np


def group_iou(matrix: np.ndarray, ids: Sequence[int], evaluated: Iterable[int]) -> float:
    """IoU of the ids in `ids` taken as one class; NaN if they are in neither truth nor predictions.

    A pixel of the group that is predicted outside it is a miss. Pixels whose true id is not `evaluated` do not count.
    """
    group = list(ids)
    others = [label for label in evaluated if label not in group]
    hits = int(matrix[np.ix_(group, group)].sum())
    misses = int(matrix[group].sum()) - hits
    false_alarms = int(matrix[np.ix_(others, group)].sum())
    union = hits + misses + false_alarms
    return hits / union if union else nan


def iou(matrix: np.ndarray, evaluated: Sequence[int] | None = None) -> np.ndarray:
    """IoU of each evaluated id (default: all), float64; NaN for an id in neither truth nor predictions."""
    ids = range(len(matrix)) if evaluated is None else evaluated
    return np.array([group_iou(matrix, [label], ids) for label in ids])


def category_iou(matrix: np.ndarray, categories: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """IoU of each category, a group of ids: mistakes inside a category do not count."""
    evaluated = [label for ids in categories.values() for label in ids]
    return {name: group_iou(matrix, ids, evaluated) for name, ids in categories.items()}


def mean(values: Iterable[float]) -> float:
    """Mean of the values that are not NaN; NaN if all are."""
    present = [value for value in map(float, values) if not isnan(value)]
    return sum(present) / len(present) if present else nan


def mean_iou(matrix: np.ndarray) -> float:
    """Mean of `iou` over the classes that occur; NaN if none does."""
    return mean(iou(matrix))


def mean_class_accuracy(matrix: np.ndarray, evaluated: Sequence[int] | None = None) -> float:
    """Mean over the classes in the truth of hits / (hits + misses); NaN if there is none."""
    ids = list(range(len(matrix)) if evaluated is None else evaluated)
    pixels = matrix[ids].sum(axis=1)
    return mean(matrix[label, label] / count for label, count in zip(ids, pixels, strict=True) if count)


def frequency_weighted_iou(matrix: np.ndarray, evaluated: Sequence[int] | None = None) -> float:
    """Mean of `iou` weighted by each class's share of the true pixels; NaN if there are none."""
    ids = list(range(len(matrix)) if evaluated is None else evaluated)
    pixels = matrix[ids].sum(axis=1)
    return float(np.nan_to_num(iou(matrix, ids)) @ pixels / pixels.sum()) if pixels.sum() else nan


def pixel_accuracy(matrix: np.ndarray) -> float:
    """Fraction of the counted pixels that got their true class; NaN if no pixel counts."""
    total = matrix.sum()
    return float(np.trace(matrix) / total) if total else nan
