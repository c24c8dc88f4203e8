"""The rows with CRF-RNN in real Caffe, their trunks narrow: training end to end by `caffe train`, prediction at every pixel."""

import json

import numpy as np
import pytest
from narrow_nets import narrow_nets, stage_data  # noqa: F401 -- a fixture

from pretrained import caffemodel
from prototxt.crf_rnn import LAYER
from prototxt.experiments import NETS, STAGES
from prototxt.names import resolve
from prototxt.networks import deploy, training, write
from prototxt.shapes import param_shapes
from prototxt.solver import solver
from tests.toy_nets import random_image
from tests.train_data import asked
from tools.crf_rnn.mean_field import potts
from tools.inference import Predictor
from tools.inference.upsampling import zoom
from tools.structured import packages
from tools.support.caffe_import import import_caffe
from tools.support.errors import UserError
from tools.training.preflight import check_lmdb

caffe = import_caffe()
ROWS = [name for name, row in NETS.items() if row.crf_rnn]
CROP = 404  # 4 x 4 cells, 32 x 32 pixels


def start_of(net_param, path):
    """A caffemodel with random weights for all layers but CRF-RNN's."""
    random = np.random.default_rng(0)
    shapes = {name: blobs for name, blobs in param_shapes(net_param).items() if name != LAYER}
    weights = {
        name: [random.normal(0, np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1, shape) for shape in blobs]
        for name, blobs in shapes.items()
    }
    weights['conv1_1'][0] /= 50
    caffemodel.write(path, {name: [blob.astype(np.float32) for blob in blobs] for name, blobs in weights.items()})
    return path


def test_names_of_table_3():
    """Front end, + Basic, + Large as the issue and the paper call them."""
    assert resolve('front-large-crfrnn', NETS) == 'voc-large-crfrnn'
    assert resolve('front_basic_crfrnn', NETS) == 'voc-basic-crfrnn'
    assert resolve('front-crfrnn', NETS) == 'voc-front-crfrnn'


@pytest.mark.parametrize('name', ROWS)
def test_rates_are_the_authors(name):
    """lr_mult 10000, 10000, 1000 (torrvision/caffe); 5 and 10 iterations; theta_alpha 160, theta_beta 3, theta_gamma 3."""
    layer = next(layer for layer in training(name, 'x').layer if layer.name == LAYER)
    assert [param.lr_mult for param in layer.param] == [10_000, 10_000, 1_000]
    said = {'theta_alpha': 160, 'theta_beta': 3, 'theta_gamma': 3, 'iterations_train': 5, 'iterations_test': 10}
    assert json.loads(layer.python_param.param_str) == said
    # 1e-13 on the sum of the loss over 500 x 500 pixels, as they have it, is this on its mean
    assert STAGES[name].base_lr == pytest.approx(1e-13 * 500 * 500) and STAGES[name].momentum == 0.99


@pytest.mark.parametrize('name', ROWS)
@pytest.mark.usefixtures('narrow_nets')
def test_training_reaches_every_layer(name, tmp_path):
    """Two updates of the stage's own solver: the loss is that of pixels, all layers have moved, CRF-RNN from the Potts model."""
    stage = STAGES[name]
    lmdb = stage_data(stage, tmp_path / 'lmdb', stage.label_stride, CROP)
    net_param = training(name, str(lmdb), CROP)
    write(net_param, tmp_path / 'net.prototxt')
    message = solver(name, str(tmp_path / 'net.prototxt'), str(tmp_path / 'snapshot'), max_iter=2)
    message.base_lr = 1e-6  # the row's own is too small for single precision to show in two updates
    write(message, tmp_path / 'solver.prototxt')
    ours = caffe.SGDSolver(str(tmp_path / 'solver.prototxt'))
    weights = start_of(net_param, tmp_path / 'start.caffemodel')
    ours.net.copy_from(str(weights))
    before = {layer: [blob.data.copy() for blob in blobs] for layer, blobs in ours.net.params.items()}
    for blob, start in zip(before[LAYER], potts(21), strict=True):
        np.testing.assert_array_equal(blob[0, 0], start)
    ours.step(2)
    assert ours.net.blobs['label'].data.shape == (1, 1, 32, 32)
    assert ours.net.blobs[LAYER].data.shape == (1, 21, 32, 32)
    assert np.isfinite(ours.net.blobs['loss'].data)
    moved = {layer for layer, blobs in ours.net.params.items() if any((blob.data != old).any()
             for blob, old in zip(blobs, before[layer], strict=True))}  # fmt: skip
    assert moved == set(before)


def test_missing_packages_and_lmdb_are_named(monkeypatch, tmp_path):
    """Before Caffe starts: make crf-packages; make lmdb-voc with the crop that whole images need."""
    with monkeypatch.context() as patch, pytest.raises(UserError, match='run: make crf-packages'):
        patch.setattr(packages, 'find_spec', lambda name: None)
        packages.check_packages(deploy('voc-front-crfrnn'))
    packages.check_packages(deploy('voc-front-crfrnn'))
    with pytest.raises(UserError, match='make lmdb-voc DATA=FOLDER CROP_SIZE=884'):
        check_lmdb(asked('voc-front-crfrnn', '--lmdb', tmp_path / 'none'))


@pytest.mark.parametrize('name', ROWS)
@pytest.mark.usefixtures('narrow_nets')
def test_prediction_at_every_pixel(name, tmp_path):
    """The Predictor's labels are those of the deploy net's pixels; without weights in CRF-RNN they are the net's without it."""
    message = deploy(name)
    weights = start_of(message, tmp_path / 'start.caffemodel')
    image = random_image(21, 30)
    plain = [np.zeros((1, 1, 21, 21), np.float32)] * 2 + [-np.eye(21, dtype=np.float32)[None, None]]
    caffemodel.write(tmp_path / 'none.caffemodel', {LAYER: plain})
    predictor = Predictor(name, [weights, tmp_path / 'none.caffemodel'], tiling='tight')
    prob = predictor.predict_scores(image)
    np.testing.assert_array_equal(predictor.label_map(image), prob[:, :21, :30].argmax(axis=0))
    net = predictor.net
    scores = net.blobs[net.bottom_names['upscore'][0]].data[0]
    logits = zoom(scores, prob.shape[1:], 8)
    expected = np.exp(logits) / np.exp(logits).sum(axis=0)
    np.testing.assert_allclose(prob, expected, atol=1e-5)
    blobs = [blob[None, None] for blob in potts(21)]
    caffemodel.write(tmp_path / 'potts.caffemodel', {LAYER: blobs})
    smoothed = Predictor(name, [weights, tmp_path / 'potts.caffemodel'], tiling='tight').predict_scores(image)
    assert np.abs(smoothed - prob).max() > 0.01
