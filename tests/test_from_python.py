"""The names for notebooks: the document's example as printed, and what they refuse."""

import re
import subprocess
import sys

import cv2
import numpy as np
import pytest

from tests.toy_nets import random_image, random_weights
from tools.inference import Predictor, colorize, dataset
from tools.support.errors import UserError
from tools.support.paths import ROOT


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Random weights of front_toy."""
    return random_weights('front_toy', tmp_path_factory.mktemp('weights') / 'front.caffemodel')


def test_the_example_of_the_document_runs(weights, tmp_path):
    """In another folder, with a network and weights that are here in place of those that it names."""
    section = (ROOT / 'tools' / 'README.md').read_text().split('## From Python\n')[1]
    lines = re.search(r'```python\n(.*?)```', section, re.DOTALL)[1]
    assert "'dilation8_camvid'" in lines and "'pretrained/dilation8_camvid.caffemodel'" in lines
    lines = lines.replace('pretrained/dilation8_camvid.caffemodel', str(weights)).replace('dilation8_camvid', 'front_toy')
    image = random_image(21, 34)
    cv2.imwrite(str(tmp_path / 'street.png'), image)
    done = subprocess.run(
        [sys.executable, '-c', lines.replace("'camvid'", "'toy'")], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    labels = Predictor('front_toy', [weights]).label_map(image)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / 'street_color.png')), colorize(labels, dataset('toy')))
    shares = [float(line.split(': ')[1].split('%')[0]) for line in done.stdout.splitlines()]
    assert shares == pytest.approx([100 * (labels == label).mean() for label in range(7)], abs=0.051)


def test_probabilities_are_of_pixels_and_agree_with_labels(weights):
    """One map a class, as large as the image; they add up to one, and the largest is the label's."""
    image = random_image(21, 34)
    predictor = Predictor('front_toy', weights, tiling='tight')
    prob = predictor.probabilities(image)
    assert prob.shape == (7, 21, 34) and prob.dtype == np.float32
    np.testing.assert_allclose(prob.sum(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(prob.argmax(axis=0), predictor.label_map(image))


@pytest.mark.parametrize('files', [str, lambda path: path, lambda path: [path], lambda path: [str(path)]])
def test_weights_may_be_given_as_people_write_them(files, weights):
    """A text, a path, a list of either; and the network by a shorter name."""
    assert Predictor('front-toy', files(weights), tiling='tight').label_map(random_image(9, 13)).shape == (9, 13)


@pytest.mark.parametrize('image', [
    np.zeros((9, 13), np.uint8), np.zeros((9, 13, 4), np.uint8), np.zeros((9, 13, 3)), np.zeros((0, 13, 3), np.uint8),
])  # fmt: skip
def test_arrays_that_are_no_image_are_refused(image, weights):
    """Grey, with alpha, floating-point values (of 0 to 1 usually), empty."""
    with pytest.raises(ValueError, match=r'an image is uint8 \(H, W, 3\), blue first; this array is '):
        Predictor('front_toy', weights, tiling='tight').label_map(image)


def test_a_network_that_there_is_not_is_named(weights):
    """With those that there are."""
    with pytest.raises(UserError, match='no network resnet; .*there are: dilation8_pascal_voc'):
        Predictor('resnet', weights)
