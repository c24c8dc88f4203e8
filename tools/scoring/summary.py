"""Scores as JSON and as a table to read."""

from collections.abc import Mapping, Sequence
from math import isnan

import numpy as np

from tools.report.paper_tables import CATEGORIES, PaperRow
from tools.scoring.measures import category_iou, frequency_weighted_iou, iou, mean, mean_class_accuracy, mean_iou

# FCN's measures beside mean IoU, as keys of `summary` and in words.
OTHER_MEASURES = {
    'frequency_weighted_iou': 'frequency-weighted IoU',
    'mean_class_accuracy': 'mean class accuracy',
    'pixel_accuracy': 'pixel accuracy',
}


def summary(
    classes: Mapping[str, int] | Sequence[str], matrix: np.ndarray, categories: Mapping[str, Sequence[int]] | None = None
) -> dict:
    """Scores as fractions for JSON; None for a class or category that is in neither truth nor predictions: means leave it out.

    `classes` are the evaluated ids of `matrix` by name, or the names of all ids in order.
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
    """JSON has no NaN."""
    return None if isnan(value) else float(value)


def table(
    classes: Sequence[str], matrix: np.ndarray, paper: PaperRow | None = None, without_crf: np.ndarray | None = None
) -> str:
    """IoU in percent: a line for each class and for the mean, with the paper's beside it; absent classes are marked and named.

    `without_crf` is the confusion matrix of the same images before a CRF refined them, whose numbers get a column.
    """
    published = [*paper.class_iou, paper.mean_iou] if paper else [None] * (len(classes) + 1)
    unrefined = None if without_crf is None else [*iou(without_crf), mean_iou(without_crf)]
    lines = rows([*classes, 'mean IoU'], [*iou(matrix), mean_iou(matrix)], published, unrefined=unrefined)
    return '\n'.join(headed(lines, paper) + absent(classes, list(iou(matrix))))


def summary_table(scores: dict) -> str:
    """The same from what `summary` gave, with the categories and the other measures below the classes."""
    lines = rows([*scores['class_iou'], 'mean IoU'], [*scores['class_iou'].values(), scores['mean_iou']])
    lines += absent(list(scores['class_iou']), list(scores['class_iou'].values()))
    if 'category_iou' in scores:
        lines += ['', category_table(scores), '']
    return '\n'.join([*lines, other_measures(scores)])


def other_measures(scores: dict) -> str:
    """FCN's measures beside mean IoU in one line, from what `summary` gave."""
    return ', '.join(f'{words} {percent(scores[key])} %' for key, words in OTHER_MEASURES.items())


def category_table(scores: dict, paper: PaperRow | None = None) -> str:
    """IoU in percent: a line for each category and for the mean, with the paper's beside it."""
    named = scores['category_iou']
    published = dict(zip(CATEGORIES, paper.class_iou, strict=True)) if paper else {}
    beside = [*map(published.get, named), paper.mean_iou if paper else None]
    lines = rows([*named, 'mean IoU'], [*named.values(), scores['mean_category_iou']], beside, head='category')
    return '\n'.join(headed(lines, paper))


def headed(lines: list[str], paper: PaperRow | None) -> list[str]:
    """The lines with what the paper's numbers are of in the first."""
    return [f'{lines[0]}  {paper.table}, {paper.name}', *lines[1:]] if paper else lines


def rows(
    names: Sequence[str],
    values: Sequence[float | None],
    published: Sequence[float | None] | None = None,
    head: str = 'class',
    unrefined: Sequence[float | None] | None = None,
) -> list[str]:
    """A headed line for each name: its fraction in percent, the one without a CRF if there are such, and a published number, in
    percent already, where there is one."""
    width = max(map(len, names))
    beside = published or [None] * len(names)
    more = [f' {percent(value):>11}' for value in unrefined] if unrefined else [''] * len(names)
    lines = [f'{head:<{width}} {"IoU %":>7}' + (f' {"without CRF":>11}' if unrefined else '')]
    for name, value, known, plain in zip(names, values, beside, more, strict=True):
        lines.append(f'{name:<{width}} {percent(value):>7}{plain}' + ('' if known is None else f'  {known:.1f}'))
    return lines


def absent(names: Sequence[str], values: Sequence[float | None]) -> list[str]:
    """A line that names the classes without a value, if there are such."""
    missing = [name for name, value in zip(names, values, strict=True) if value is None or isnan(value)]
    return [f'not in truth or prediction, left out of the mean: {", ".join(missing)}'] if missing else []


def percent(value: float | None) -> str:
    """0.6712 -> 67.1; a dash where there is no number."""
    return '-' if value is None or isnan(value) else f'{100 * value:.1f}'
