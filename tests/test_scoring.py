"""Scores against hand computations and plain loops; the paper's rows against the paper's own means."""

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
    """Counted by hand."""
    expected = [[2, 1, 0, 0], [0, 2, 0, 0], [0, 0, 0, 0], [0, 1, 0, 0]]
    assert scoring.confusion(TRUTH, PREDICTION, 4).tolist() == expected


def test_scores_by_hand():
    """An absent class has no IoU and does not count in the mean; a missed class counts as 0."""
    matrix = scoring.confusion(TRUTH, PREDICTION, 4)
    np.testing.assert_allclose(scoring.iou(matrix), [2 / 3, 1 / 2, np.nan, 0])
    assert scoring.mean_iou(matrix) == pytest.approx((2 / 3 + 1 / 2 + 0) / 3)
    assert scoring.pixel_accuracy(matrix) == pytest.approx(4 / 6)


def test_fcns_measures_by_hand():
    """Accuracies 2/3, 2/2 and 0/1 of the three classes in the truth; IoU 2/3, 1/2, 0 weighted by 3, 2 and 1 of 6 pixels."""
    matrix = scoring.confusion(TRUTH, PREDICTION, 4)
    assert scoring.mean_class_accuracy(matrix) == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert scoring.frequency_weighted_iou(matrix) == pytest.approx(3 / 6 * 2 / 3 + 2 / 6 * 1 / 2)


def test_a_class_predicted_but_not_there_has_no_accuracy():
    """It has no true pixels to be right about; its IoU, 0, has no weight."""
    matrix = scoring.confusion(np.zeros((1, 2), np.uint8), np.array([[0, 1]], np.uint8), 2)
    assert (scoring.mean_class_accuracy(matrix), scoring.frequency_weighted_iou(matrix)) == (0.5, 0.5)


def test_fcns_measures_against_plain_loops():
    """Sec. 5 of Long et al. 2015, written out pixel by pixel over random maps of four classes with void."""
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


def test_ids_that_are_not_evaluated_only_take_pixels_away():
    """Of ids 0 and 2 evaluated: a road pixel predicted as id 1 is a miss, truth of id 1 does not count."""
    matrix = np.array([[3, 1, 0], [5, 5, 5], [0, 0, 2]])
    scores = scoring.summary({'road': 0, 'car': 2}, matrix)
    assert scores['mean_class_accuracy'] == pytest.approx((3 / 4 + 2 / 2) / 2)
    assert scores['frequency_weighted_iou'] == pytest.approx(4 / 6 * 3 / 4 + 2 / 6 * 1)
    assert scores['pixel_accuracy'] == pytest.approx(5 / 6)


def test_the_other_measures_are_one_line():
    """In percent, with their names."""
    scores = scoring.summary(['a', 'b', 'c', 'd'], scoring.confusion(TRUTH, PREDICTION, 4))
    assert scoring.other_measures(scores) == 'frequency-weighted IoU 50.0 %, mean class accuracy 55.6 %, pixel accuracy 66.7 %'


def test_a_class_predicted_but_not_there_counts_as_zero():
    """As VOC's evaluation does: its union is not empty."""
    matrix = scoring.confusion(np.zeros((1, 2), np.uint8), np.array([[0, 1]], np.uint8), 2)
    assert scoring.iou(matrix).tolist() == [0.5, 0]


def test_nothing_labelled_has_no_score():
    """All pixels ignored: no number, rather than a wrong one."""
    matrix = scoring.confusion(np.full((2, 2), 255, np.uint8), np.zeros((2, 2), np.uint8), 3)
    measures = scoring.mean_iou, scoring.pixel_accuracy, scoring.mean_class_accuracy, scoring.frequency_weighted_iou
    assert all(np.isnan(measure(matrix)) for measure in measures)


def test_iou_against_plain_loops():
    """Random maps of 21 classes, intersections and unions counted pixel by pixel."""
    rng = np.random.default_rng(3)
    truth, prediction = rng.integers(0, 21, (2, 37, 53), np.uint8)
    truth[rng.random(truth.shape) < 0.1] = 255
    both, either = [0] * 21, [0] * 21
    for true, predicted in zip(truth.flat, prediction.flat, strict=True):
        if true != 255:
            both[true] += int(true == predicted)
            for label in {true, predicted}:
                either[label] += 1
    np.testing.assert_allclose(scoring.iou(scoring.confusion(truth, prediction, 21)), np.array(both) / np.array(either))


def test_images_add_up():
    """One matrix over all pixels of all images, not a mean over images."""
    parts = [scoring.confusion(TRUTH[i : i + 1], PREDICTION[i : i + 1], 4) for i in range(2)]
    np.testing.assert_array_equal(sum(parts), scoring.confusion(TRUTH, PREDICTION, 4))


def test_maps_of_two_sizes_are_refused():
    """With both sizes."""
    with pytest.raises(ValueError, match='prediction is 2x3, the ground truth is 2x4'):
        scoring.confusion(TRUTH, PREDICTION[:, :3], 4)


@pytest.mark.parametrize('what, maps', [('ground truth', (PREDICTION + 3, PREDICTION)), ('prediction', (TRUTH, PREDICTION + 3))])
def test_labels_that_are_no_class_are_refused(what, maps):
    """The first is at row 0, column 2: 1 + 3 = 4 of four classes."""
    with pytest.raises(ValueError, match=f'the {what} has label 4 at row 0, column 2; classes are 0-3'):
        scoring.confusion(*maps, 4)


def test_predicting_the_ignored_label_is_refused():
    """Nothing may be left out of a prediction."""
    with pytest.raises(ValueError, match='the prediction has label 255'):
        scoring.confusion(PREDICTION, np.full_like(PREDICTION, 255), 4)


def test_the_table_marks_absent_classes():
    """Percentages, a dash, and the name of what was left out."""
    lines = scoring.table(['road', 'tree', 'train', 'car'], scoring.confusion(TRUTH, PREDICTION, 4)).splitlines()
    assert [line.split() for line in lines[1:5]] == [['road', '66.7'], ['tree', '50.0'], ['train', '-'], ['car', '0.0']]
    assert lines[5].split() == ['mean', 'IoU', '38.9']
    assert lines[6].endswith('left out of the mean: train')


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
