"""Scores near boundaries: bands against plain loops, and what the commands write."""

import json

import cv2
import numpy as np
import pytest
from PIL import Image

from dataset_prep.datasets import dataset
from tests.toy_nets import SIZES, make_split
from tools import score, scoring, test
from tools.scoring import trimap


def band(truth, width, void_rims):
    """Whether each pixel is in the band of a width. A plain loop searches the square around each pixel."""
    inside = np.zeros(truth.shape, bool)
    for row, column in np.ndindex(truth.shape):
        window = truth[max(0, row - width) : row + width + 1, max(0, column - width) : column + width + 1]
        near = (window == 255).any() if void_rims else (window != truth[row, column]).any()
        inside[row, column] = near and truth[row, column] != 255
    return inside


def blocks(seed):
    """A map of four classes and void in blocks of 7 pixels. The widest band covers all of it."""
    rng = np.random.default_rng(seed)
    values = rng.choice([0, 1, 2, 3, 255], (5, 3), p=[0.5, 0.2, 0.1, 0.1, 0.1]).astype(np.uint8)
    return np.kron(values, np.ones((7, 7), np.uint8))


@pytest.mark.parametrize('void_rims', [True, False])
@pytest.mark.parametrize('seed', range(3))
def test_bands_are_those_of_plain_loops(seed, void_rims):
    """Each band has the confusion matrix of the pixels that the loop finds."""
    truth = blocks(seed)
    prediction = np.random.default_rng(seed).integers(0, 4, truth.shape, np.uint8)
    found = trimap.confusions(truth, prediction, 4, 255, void_rims=void_rims)
    assert len(found) == 40
    for width in (1, 2, 3, 8, 20, 40):
        only = np.where(band(truth, width, void_rims), truth, 255).astype(np.uint8)
        np.testing.assert_array_equal(found[width - 1], scoring.confusion(only, prediction, 4))


def test_scores_of_bands_by_hand():
    """The prediction of 0 0 0 1 1 1 is wrong at the first and the last 1. The band of 1 pixel has 0 1, that of 2 has 0 0 1 1."""
    truth, prediction = np.array([[0, 0, 0, 1, 1, 1]], np.uint8), np.array([[0, 0, 0, 0, 1, 0]], np.uint8)
    found = trimap.curve(trimap.confusions(truth, prediction, 2, 255, void_rims=False))
    assert found['width_px'][:3] == [1, 2, 3] and found['pixels'][:4] == [2, 4, 6, 6]
    assert found['pixel_accuracy'][:3] == pytest.approx([1 / 2, 3 / 4, 4 / 6])
    assert found['mean_iou'][:3] == pytest.approx([(1 / 2 + 0) / 2, (2 / 3 + 1 / 2) / 2, (3 / 5 + 1 / 3) / 2])


@pytest.mark.parametrize('void_rims', [True, False])
def test_without_a_boundary_there_is_no_score(void_rims):
    """The whole image has one label."""
    flat = np.ones((50, 60), np.uint8)
    found = trimap.curve(trimap.confusions(flat, flat, 2, 255, void_rims=void_rims))
    assert found['pixels'] == [0] * 40 and found['mean_iou'] == found['pixel_accuracy'] == [None] * 40


def test_only_voc_has_rims_of_void():
    """Elsewhere void pixels are those that nobody labelled."""
    assert dataset('pascal_voc').void_rims
    assert not any(dataset(name).void_rims for name in ('camvid', 'kitti', 'cityscapes', 'toy'))


def check_curve(path):
    """The file is a picture that shows something."""
    picture = cv2.imread(str(path))
    assert picture is not None and len(np.unique(picture.reshape(-1, 3), axis=0)) > 10


@pytest.mark.parametrize(('name', 'void_rims'), [('pascal_voc', True), ('camvid', False)])
def test_score_draws_the_curve(name, void_rims, tmp_path, capsys):
    """--json has the scores of two images together, with the boundaries of the data set. Standard output has some of them."""
    total = 0
    for number in range(2):
        truth = blocks(number)
        prediction = np.random.default_rng(number).integers(0, 4, truth.shape, np.uint8)
        for folder, labels in (('gt', truth), ('pred', prediction)):
            (tmp_path / folder).mkdir(exist_ok=True)
            Image.fromarray(labels).save(tmp_path / folder / f'{number}.png')
        only = np.where(band(truth, 5, void_rims), truth, 255).astype(np.uint8)
        total = total + scoring.confusion(only, prediction, dataset(name).num_classes)
    folders = ['--pred', str(tmp_path / 'pred'), '--gt', str(tmp_path / 'gt')]
    files = ['--json', str(tmp_path / 'scores.json'), '--trimap', str(tmp_path / 'curve.png')]
    score.main(['--dataset', name, *folders, *files])
    found = json.loads((tmp_path / 'scores.json').read_text())['trimap']
    assert found['mean_iou'][4] == pytest.approx(scoring.mean_iou(total))
    assert found['pixel_accuracy'][4] == pytest.approx(scoring.pixel_accuracy(total))
    assert f'{100 * scoring.mean_iou(total):.1f} within 5 px' in capsys.readouterr().out
    check_curve(tmp_path / 'curve.png')


def test_test_draws_the_curve(front_weights, tmp_path, capsys):
    """The images have one boundary, between two rows. The band of 40 pixels is the whole image without the ignored pixel."""
    data = make_split(tmp_path / 'data', SIZES)
    options = ['--net', 'front-toy', '--weights', str(front_weights), '--data', str(data), '--out', str(tmp_path / 'out')]
    test.main([*options, '--tiling', 'tight', '--trimap'])
    scores = json.loads((tmp_path / 'out' / 'scores.json').read_text())
    assert scores['trimap']['mean_iou'][-1] == scores['mean_iou']
    assert scores['trimap']['pixels'][-1] == scores['pixels']
    assert scores['trimap']['pixels'][0] == 2 * sum(width for _, width in SIZES.values()) + 3 * 3  # and the neighbours of void
    assert 'mean IoU % near boundaries: ' in capsys.readouterr().out
    check_curve(tmp_path / 'out' / 'pictures' / 'trimap.png')
