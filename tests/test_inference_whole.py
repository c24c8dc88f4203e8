"""Networks that take whole images: their inputs, and tools/test.py with the networks of Table 2."""

import json

import cv2
import numpy as np
import pytest

from prototxt.experiments import NETS
from prototxt.networks import deploy
from tests.toy_nets import make_split, random_image, random_weights
from tools import test
from tools.inference import Predictor
from tools.inference.caffe_net import forward, load_net
from tools.netinfo.fit import fit_tile
from tools.support.errors import UserError

pytestmark = pytest.mark.usefixtures('narrow_nets')
FCN_MEAN, DEEPLAB_MEAN = (104.00699, 116.66877, 122.67892), (104.008, 116.669, 122.675)  # of their own training


def by_hand(name, weights, image, mean, size_hw, mode):
    """Probabilities of an image minus its mean, extended to `size_hw` at its bottom and right."""
    centred = image.astype(np.float64) - mean
    below, right = size_hw[0] - image.shape[0], size_hw[1] - image.shape[1]
    filled = np.pad(centred, ((0, below), (0, right), (0, 0)), mode=mode).astype(np.float32)
    return forward(load_net(deploy(name, size_hw=size_hw), [weights]), filled.transpose(2, 0, 1))


@pytest.mark.parametrize(('name', 'mean', 'image_hw', 'size_hw', 'mode', 'tight_hw'), [
    ('fcn8s_pascal_voc', FCN_MEAN, (37, 51), (37, 51), 'constant', (37, 51)),
    ('deeplab_pascal_voc', DEEPLAB_MEAN, (37, 51), (514, 514), 'constant', (42, 58)),
    ('deeplab_largefov_pascal_voc', DEEPLAB_MEAN, (37, 51), (513, 513), 'constant', (41, 57)),
    ('deeplab_msc_largefov_pascal_voc', DEEPLAB_MEAN, (37, 520), (513, 521), 'constant', (41, 521)),
    ('front_pascal_voc_padding', (102.93, 111.36, 116.52), (37, 51), (40, 56), 'reflect', (5, 7)),
])  # fmt: skip
def test_input_is_the_rows(name, mean, image_hw, size_hw, mode, tight_hw, tmp_path):
    """Each row has its mean, size and border. With tight tiling the image is not extended. The label map is cropped."""
    weights = random_weights(name, tmp_path / 'weights.caffemodel')
    image = random_image(*image_hw)
    predictor = Predictor(name, [weights])
    prob, expected = predictor.predict_scores(image), by_hand(name, weights, image, mean, size_hw, mode)
    assert expected.std() > 1e-4
    np.testing.assert_allclose(prob, expected, atol=5e-5)
    labels = predictor.label_map(image)
    assert labels.shape == image_hw
    if NETS[name].pixels:
        np.testing.assert_array_equal(labels, prob.argmax(axis=0)[: image_hw[0], : image_hw[1]])
    smaller = Predictor(name, [weights], tiling='tight').predict_scores(image)
    assert smaller.shape[1:] == tight_hw


@pytest.mark.parametrize(
    'name', ['fcn8s_pascal_voc', 'deeplab_pascal_voc', 'deeplab_largefov_pascal_voc', 'deeplab_msc_largefov_pascal_voc']
)
def test_the_command_labels_and_scores(name, tmp_path):
    """tools/test.py writes label maps of the images' sizes and scores, as for any network."""
    sizes = {'a': (30, 44), 'b': (25, 31)}
    data = make_split(tmp_path / 'data', sizes, dataset='pascal_voc', split='val')
    weights = random_weights(name, tmp_path / 'weights.caffemodel')
    words = ['--net', name, '--weights', weights, '--data', data, '--out', tmp_path / 'out']
    test.main([str(word) for word in words])
    for stem, size_hw in sizes.items():
        found = cv2.imread(str(tmp_path / 'out' / f'{stem}.png'), cv2.IMREAD_UNCHANGED)
        assert found.shape == size_hw and found.max() < 21
    scores = json.loads((tmp_path / 'out' / 'scores.json').read_text())
    assert scores['images'] == 2 and scores['settings']['net'] == name


def test_a_memory_limit_that_whole_images_exceed(tmp_path, capsys):
    """There is no smaller tile. If the images fit, nothing changes."""
    weights = random_weights('fcn8s_pascal_voc', tmp_path / 'weights.caffemodel')
    assert fit_tile('fcn8s_pascal_voc', [weights], [(37, 51)], 10**12) is None
    assert 'a tile of 37x51' in capsys.readouterr().err
    with pytest.raises(UserError, match='fcn8s_pascal_voc takes images whole, and 375x500 needs'):
        fit_tile('fcn8s_pascal_voc', [weights], [(37, 51), (375, 500)], 10**6)
