"""Scores as JSON and as text tables."""

from collections.abc import Mapping, Sequence
from math import isnan

import numpy as np

from tools.report.paper_tables import CATEGORIES, PaperRow
from tools.scoring.measures import category_iou, frequency_weighted_iou, iou, mean, mean_class_accuracy, mean_iou
from tools.support.text_tables import columns

# FCN's measures other than mean IoU: keys of summary(), and names.
OTHER_MEASURES = {
    'frequency_weighted_iou': 'frequency-weighted IoU',
    'mean_class_accuracy': 'mean class accuracy',
    'pixel_accuracy': 'pixel accuracy',
}


def summary(
    classes: Mapping[str, int] | Sequence[str], matrix: np.ndarray, categories: Mapping[str, Sequence[int]] | None = None
) -> dict:
    """Scores as fractions for JSON. A class or category in neither truth nor predictions is None, and means leave it out.

    `classes`: the evaluated ids of `matrix` by name, or the names of all ids in order.
    """
    ids = classes if isinstance(classes, Mapping) else {name: i for i, name in enumerate(classes)}
    evaluated = list(ids.values())
    values = iou(matrix, evaluated)
    per_class = dict(zip(ids, map(fraction, values), strict=True))
    counted = matrix[evaluated]
    hits = int(matrix[evaluated, evaluated].sum())
    scores = {
        'mean_iou': fraction(mean(values)),
        'class_iou': per_class,
        'absent_classes': [name for name, value in per_class.items() if value is None],
        'frequency_weighted_iou': fraction(frequency_weighted_iou(matrix, evaluated)),
        'mean_class_accuracy': fraction(mean_class_accuracy(matrix, evaluated)),
        'pixel_accuracy': hits / int(counted.sum()) if counted.sum() else None,
        'confusion': matrix.tolist(),
        'pixels': int(counted.sum()),
    }
    if categories:
        by_category = category_iou(matrix, categories)
        scores['mean_category_iou'] = fraction(mean(by_category.values()))
        scores['category_iou'] = {name: fraction(value) for name, value in by_category.items()}
    return scores


def fraction(value: float) -> float | None:
    """The value, or None for NaN, which JSON lacks."""
    return None if isnan(value) else float(value)


def table(
    classes: Sequence[str], matrix: np.ndarray, paper: PaperRow | None = None, without_crf: np.ndarray | None = None
) -> str:
    """IoU in percent: a line for each class and for the mean, beside the paper's. Absent classes are marked and named.

    `without_crf`: the confusion matrix of the same images before the CRF; its numbers get a column.
    """
    shown = [('class', *classes, 'mean IoU'), ('IoU %', *map(percent, [*iou(matrix), mean_iou(matrix)]))]
    if without_crf is not None:
        shown.append(('without CRF', *map(percent, [*iou(without_crf), mean_iou(without_crf)])))
    if paper:
        shown.append(_published(paper, paper.class_iou))
    return '\n'.join(_lines(shown, '<>' if without_crf is None else '<>>') + absent(classes, list(iou(matrix))))


def summary_table(scores: dict) -> str:
    """A table from a summary(), with categories and other measures below the classes."""
    names, values = list(scores['class_iou']), list(scores['class_iou'].values())
    lines = _lines([('class', *names, 'mean IoU'), ('IoU %', *map(percent, [*values, scores['mean_iou']]))])
    lines += absent(names, values)
    if 'category_iou' in scores:
        lines += ['', category_table(scores), '']
    return '\n'.join([*lines, other_measures(scores)])


def other_measures(scores: dict) -> str:
    """The other measures of FCN in one line, from a summary()."""
    return ', '.join(f'{words} {percent(scores[key])} %' for key, words in OTHER_MEASURES.items())


def category_table(scores: dict, paper: PaperRow | None = None) -> str:
    """IoU in percent: a line for each category and for the mean, with the paper's beside it."""
    named = scores['category_iou']
    shown = [('category', *named, 'mean IoU'), ('IoU %', *map(percent, [*named.values(), scores['mean_category_iou']]))]
    if paper:
        by_name = dict(zip(CATEGORIES, paper.class_iou, strict=True))
        shown.append(_published(paper, [by_name.get(name) for name in named]))
    return '\n'.join(_lines(shown))


def _published(paper: PaperRow, values: Sequence[float | None]) -> tuple[str, ...]:
    """A column with the paper's `values` in percent and its mean; blank where the paper has none."""
    numbers = ('' if value is None else f'{value:.1f}' for value in [*values, paper.mean_iou])
    return f'{paper.table}, {paper.name}', *numbers


def _lines(shown: Sequence[tuple[str, ...]], align: str = '<>') -> list[str]:
    """The columns `shown` side by side; the paper's column is left-aligned under its long heading."""
    return columns(list(zip(*shown, strict=True)), f'{align}<')


def absent(names: Sequence[str], values: Sequence[float | None]) -> list[str]:
    """A line that names the classes without a value; empty if there are none."""
    missing = [name for name, value in zip(names, values, strict=True) if value is None or isnan(value)]
    return [f'not in truth or prediction, left out of the mean: {", ".join(missing)}'] if missing else []


def percent(value: float | None) -> str:
    """0.6712 -> 67.1; a dash for None."""
    return '-' if value is None or isnan(value) else f'{100 * value:.1f}'
