"""Intersection over union, from one confusion matrix over all pixels of all images (PASCAL VOC's definition)."""

from collections.abc import Sequence

import numpy as np

from dataset_prep.datasets import IGNORE_LABEL
from tools.paper_tables import PaperRow


def confusion(truth: np.ndarray, prediction: np.ndarray, classes: int, ignore: int = IGNORE_LABEL) -> np.ndarray:
    """int64 (classes, classes): pixels of each true class (row) by predicted class (column).

    Pixels whose truth is `ignore` do not count. Raises ValueError if the two label maps differ in size, or hold ids that are no
    class; `ignore` may not be predicted.
    """
    if truth.shape != prediction.shape:
        raise ValueError(f'the prediction is {_size(prediction)}, the ground truth is {_size(truth)}')
    _check_ids(prediction, np.ones(prediction.shape, bool), classes, 'prediction')
    counted = truth != ignore
    _check_ids(truth, counted, classes, 'ground truth')
    pairs = truth[counted].astype(np.int64) * classes + prediction[counted]
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


def iou(matrix: np.ndarray) -> np.ndarray:
    """Per class, hits / (truth + predictions - hits) as a fraction; NaN for a class that is in neither truth nor predictions."""
    hits = np.diag(matrix).astype(np.float64)
    union = matrix.sum(axis=0) + matrix.sum(axis=1) - np.diag(matrix)
    return np.divide(hits, union, out=np.full(len(matrix), np.nan), where=union > 0)


def mean_iou(matrix: np.ndarray) -> float:
    """Mean of `iou` over the classes that occur; NaN if none does."""
    present = iou(matrix)
    present = present[~np.isnan(present)]
    return float(present.mean()) if present.size else float('nan')


def pixel_accuracy(matrix: np.ndarray) -> float:
    """Pixels given their true class, as a fraction of those that count; NaN if none does."""
    total = matrix.sum()
    return float(np.trace(matrix) / total) if total else float('nan')


def table(classes: Sequence[str], matrix: np.ndarray, paper: PaperRow | None = None) -> str:
    """IoU in percent: a line for each class and for the mean, with the paper's beside it; absent classes are marked and named."""
    names, values = [*classes, 'mean IoU'], [*iou(matrix), mean_iou(matrix)]
    published = [*paper.class_iou, paper.mean_iou] if paper else [None] * len(names)
    width = max(map(len, names))
    head = f'{"class":<{width}} {"IoU %":>7}' + (f'  {paper.table}, {paper.name}' if paper else '')
    rows = zip(names, values, published, strict=True)
    lines = [f'{name:<{width}} {_percent(value):>7}{_beside(known)}' for name, value, known in rows]
    absent = [name for name, value in zip(classes, values, strict=False) if np.isnan(value)]
    if absent:
        lines.append(f'not in truth or prediction, left out of the mean: {", ".join(absent)}')
    return '\n'.join([head, *lines])


def _percent(fraction: float) -> str:
    return '-' if np.isnan(fraction) else f'{100 * fraction:.1f}'


def _beside(known: float | None) -> str:
    return '' if known is None else f'  {known:.1f}'


def _size(label_map: np.ndarray) -> str:
    return 'x'.join(map(str, label_map.shape))


def _check_ids(label_map: np.ndarray, counted: np.ndarray, classes: int, what: str) -> None:
    """ValueError naming the first pixel among `counted` whose id is not 0 to classes - 1."""
    wrong = np.argwhere((label_map >= classes) & counted)
    if len(wrong):
        row, column = wrong[0]
        label = label_map[row, column]
        raise ValueError(f'the {what} has label {label} at row {row}, column {column}; classes are 0-{classes - 1}')
