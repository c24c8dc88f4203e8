"""Intersection over union as the benchmarks define it, from one confusion matrix over all pixels of all images."""

from tools.scoring.counting import confusion, count_pairs
from tools.scoring.measures import category_iou, iou, mean, mean_iou, pixel_accuracy
from tools.scoring.summary import category_table, percent, summary, table

__all__ = [
    'category_iou', 'category_table', 'confusion', 'count_pairs', 'iou', 'mean', 'mean_iou', 'percent', 'pixel_accuracy',
    'summary', 'table',
]  # fmt: skip
