"""Measures against hand computations and plain loops; the printed tables."""

import numpy as np
import pytest

from dataset_prep.datasets import dataset
from tools import scoring
from tools.report.paper_tables import TABLE

# Four classes, the third in neither map. By hand:
#   class 0: truth 3, predicted 2, both 2 -> 2 / (3 + 2 - 2) = 2/3
#   class 1: truth 2, predicted 4, both 2 -> 2 / (2 + 4 - 2) = 1/2
#   class 3: truth 1, predicted 0         -> 0
#   right: 4 of 6; the last two pixels are ignored
TRUTH = np.array([[0, 0, 0, 1], [1, 3, 255, 255]], np.uint8)
PREDICTION = np.array([[0, 0, 1, 1], [1, 1, 0, 3]], np.uint8)


def test_confusion_has_truth_in_rows():
    """The pixels are counted by hand."""
    expected = [[2, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert scoring.confusion(TRUTH, PREDICTION, 4).tolist() == expected


def test_measures_by_hand():
    """An absent class has no IoU and does not count in the mean; a missed class counts as 0.

    The classes in the truth have accuracies 2/3, 2/2 and 0/1, and 3, 2 and 1 of the 6 pixels.
    """
    matrix = scoring.confusion(TRUTH, PREDICTION, 4)
    np.testing.assert_allclose(scoring.iou(matrix), [2 / 3, 1 / 2, np.nan, 0])
    assert scoring.mean_iou(matrix) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert scoring.pixel_accuracy(matrix) == pytest.approx(4 / 6)
    assert scoring.mean_class_accuracy(matrix) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert scoring.frequency_weighted_iou(matrix) == pytest.approx(3 / 6 * 2 / 3 + 2 / 6 * 1 / 2)


def test_a_class_that_is_only_predicted():
    """Its IoU is 0, as in VOC's evaluation, with weight 0. It has no true pixels, so it has no accuracy."""
    matrix = scoring.confusion(np.zeros((1, 2), np.uint8), np.array([[0, 1]], np.uint8), 2)
    assert scoring.iou(matrix).tolist() == [0.5, 0]
    assert (scoring.mean_class_accuracy(matrix), scoring.frequency_weighted_iou(matrix)) == (0.5, 0.5)


def test_fcns_measures_against_plain_loops():
    """Long et al. 2015, Sec. 5, on random maps of four classes with void."""
    rng = np.random.default_rng(5)
    truth, prediction = rng.integers(0, 4, (2, 23, 31), np.uint8)
    truth[rng.random(truth.shape) < 0.1] = 255
    pixels = [(int(t), int(p)) for t, p in zip(truth.flat, prediction.flat, strict=True) if t != 255]
    n = {(i, j): pixels.count((i, j)) for i in range(4) for j in range(4)}
    t = [sum(n[i, j] for j in range(4)) for i in range(4)]
    accuracy = sum(n[i, i] / t[i] for i in range(4)) / 4
    weighted = sum(t[i] * n[i, i] / (t[i] + sum(n[j, i] for j in range(4)) - n[i, i]) for i in range(4)) / sum(t)
    matrix = scoring.confusion(truth, prediction, 4)
    assert scoring.mean_class_accuracy(matrix) == pytest.approx(accuracy)
    assert scoring.frequency_weighted_iou(matrix) == pytest.approx(weighted)


def test_ids_that_are_not_evaluated():
    """Ids 0 and 2 are evaluated. A pixel of id 0 that is predicted as 1 is a miss; pixels whose true id is 1 do not count."""
    matrix = np.array([[3, 1, 0], [5, 5, 5], [0, 0, 2]])
    scores = scoring.summary({'road': 0, 'car': 2}, matrix)
    assert scores['mean_class_accuracy'] == pytest.approx((3 / 4 + 2 / 2) / 2)
    assert scores['frequency_weighted_iou'] == pytest.approx(4 / 6 * 3 / 4 + 2 / 6 * 1)
    assert scores['pixel_accuracy'] == pytest.approx(5 / 6)


def test_the_other_measures_are_one_line():
    """It gives them in percent with their names."""
    scores = scoring.summary(['a', 'b', 'c', 'd'], scoring.confusion(TRUTH, PREDICTION, 4))
    assert scoring.other_measures(scores) == 'frequency-weighted IoU 50.0 %, mean class accuracy 55.6 %, pixel accuracy 66.7 %'


def test_nothing_labelled_has_no_score():
    """Every measure is NaN if all pixels are ignored."""
    matrix = scoring.confusion(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8), 3)
    measures = scoring.mean_iou, scoring.pixel_accuracy, scoring.mean_class_accuracy, scoring.frequency_weighted_iou
    assert all(np.isnan(measure(matrix)) for measure in measures)


def test_the_papers_row_stands_beside():
    """Dilation8 on CamVid: Building 82.6, mean 65.3 (paper Table 5)."""
    classes = dataset('camvid').classes
    lines = scoring.table(classes, np.eye(11, dtype=np.int64), TABLE[5].row('Dilation8')).splitlines()
    assert 'paper Table 5, Dilation8' in lines[0]
    assert lines[1].split() == ['Building', '100.0', '82.6'] and lines[-1].split() == ['mean', 'IoU', '100.0', '65.3']


def test_the_papers_categories_stand_beside_ours_by_name():
    """Table 8 prints flat 98.2, nature 91.4, object 62.3; its mean is 86.3."""
    scores = {'category_iou': {'flat': 1.0, 'object': 0.5, 'nature': 0.25}, 'mean_category_iou': 0.6}
    lines = scoring.category_table(scores, TABLE[8].rows[0]).splitlines()
    assert 'paper Table 8, Dilation10' in lines[0]
    assert [line.split()[1:] for line in lines[1:4]] == [['100.0', '98.2'], ['50.0', '62.3'], ['25.0', '91.4']]
    assert lines[-1].split() == ['mean', 'IoU', '60.0', '86.3']
