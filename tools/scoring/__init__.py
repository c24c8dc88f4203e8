"""Intersection over union as the benchmarks define it, from one confusion matrix over all pixels of all images."""

from tools.scoring.counting import confusion, count_pairs
from tools.scoring.measures import category_iou, frequency_weighted_iou, iou, mean, mean_class_accuracy, mean_iou, pixel_accuracy
from tools.scoring.score_tables import OTHER_MEASURES, category_table, other_measures, percent, summary, table

__all__ = [
    'OTHER_MEASURES', 'category_iou', 'category_table', 'confusion', 'count_pairs', 'frequency_weighted_iou', 'iou', 'mean',
    'mean_class_accuracy', 'mean_iou', 'other_measures', 'percent', 'pixel_accuracy', 'summary', 'table',
]  # fmt: skip
