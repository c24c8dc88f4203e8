"""Stages and networks with CRF-RNN in real Caffe, with narrow trunks: training end to end, and prediction."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from narrow_nets import stage_data, write_datums

from dataset_prep.datasets import IGNORE_LABEL, dataset
from dataset_prep.lmdb_store import iterate
from dataset_prep.order import shuffled
from pretrained import caffemodel
from prototxt.crf_rnn import LAYER
from prototxt.experiments import NETS, STAGES
from prototxt.lmdb_names import lmdb_of
from prototxt.networks import deploy, training, write
from prototxt.solver import solver
from tests.stored_maps import write_features, write_images_beside
from tests.toy_nets import random_image, random_weights
from tests.train_data import asked
from tools.crfs.mean_field import potts
from tools.inference import MapPredictor, Predictor
from tools.inference.upsampling import zoom
from tools.support.caffe_import import import_caffe
from tools.support.errors import UserError
from tools.training.preflight import check_lmdb

caffe = import_caffe()
ON_IMAGES = [name for name, stage in STAGES.items() if NETS[stage.net].crf_rnn and stage.start == 'data']
ON_MAPS = [name for name, stage in STAGES.items() if stage.beside_images]
CROP = 404  # 4 x 4 cells, 32 x 32 pixels


def start_of(net_name, path):
    """A caffemodel with random weights for all layers but CRF-RNN's."""
    weights = caffemodel.load(random_weights(net_name, path))
    caffemodel.write(path, {layer: blobs for layer, blobs in weights.items() if layer != LAYER})
    return path


@pytest.mark.parametrize('name', ON_IMAGES)
def test_the_layers_settings_are_the_authors(name):
    """These are the values in torrvision/caffe."""
    layer = next(layer for layer in training(name, 'x').layer if layer.name == LAYER)
    assert [param.lr_mult for param in layer.param] == [10_000, 10_000, 1_000]
    said = {'theta_alpha': 160, 'theta_beta': 3, 'theta_gamma': 3, 'iterations_train': 5, 'iterations_test': 10}
    assert json.loads(layer.python_param.param_str) == said


@pytest.mark.parametrize('name', [name for name, stage in STAGES.items() if NETS[stage.net].crf_rnn])
def test_solver_is_the_authors(name):
    """The values are those of torrvision/caffe, examples/segmentationcrfasrnn. The loss is a sum over one image."""
    message = solver(STAGES[name], 'net', 'snapshot')
    assert (message.base_lr, message.momentum) == (pytest.approx(1e-13), pytest.approx(0.99))
    assert (message.weight_decay, message.iter_size) == (pytest.approx(0.0005), 1)
    net = training(name, 'x')
    assert net.layer[-1].loss_param.normalization == caffe.proto.caffe_pb2.LossParameter.NONE
    assert {layer.data_param.batch_size for layer in net.layer if layer.type == 'Data'} == {1}


SIZE_HW, CELLS_HW, UPDATES = (24, 32), (3, 4), 300
SCORES = np.r_[3, np.zeros(10)]  # CamVid's 11 classes, in every cell; class 0 is so likely that the gradient stays constant
WRONG = 1  # the label of all pixels


def potts_loss(parameters):
    """The loss of a pixel (Zheng et al. 2015, Sec. 4). Normalized filters do not change constant probabilities.

    `parameters` (3, C): the diagonals of spatial weights, bilateral weights and compatibility.
    """
    spatial, bilateral, compatibility = parameters
    logits = SCORES
    for _ in range(5):
        q = np.exp(logits) / np.exp(logits).sum()
        logits = SCORES - compatibility * (spatial * q + bilateral * q)
    return np.log(np.exp(logits).sum()) - logits[WRONG]


def by_parameter(parameters, step=1e-6):
    """The derivative of potts_loss (3, C), from central differences."""
    found = np.zeros_like(parameters)
    for place in np.ndindex(parameters.shape):
        move = np.zeros_like(parameters)
        move[place] = step
        found[place] = (potts_loss(parameters + move) - potts_loss(parameters - move)) / (2 * step)
    return found


def after_updates(start, gradient, rate, momentum=0.99, decay=0.0005, updates=UPDATES):
    """A weight after updates v = momentum v + rate (gradient + decay w), w = w - v from v = 0 with a constant gradient.

    Its distance d from the point where decay balances the gradient follows
    d(t+1) = (1 + momentum - rate decay) d(t) - momentum d(t-1).
    """
    rest, trace = -gradient / decay, 1 + momentum - rate * decay
    slow, fast = (trace + sign * np.sqrt(trace**2 - 4 * momentum) for sign in (1, -1))
    slow, fast = slow / 2, fast / 2
    share = (1 - rate * decay - fast) / (slow - fast)  # as d(1) = (1 - rate decay) d(0)
    return rest + (start - rest) * (share * slow**updates + (1 - share) * fast**updates)


@pytest.mark.parametrize(('base_lr', 'labelled'), [(1e-13, True), (1e-13, False), (2.5e-8, False)])
def test_parameters_follow_momentum_sgd_with_decay(base_lr, labelled, tmp_path):
    """After 300 updates on a constant image, the diagonals of the blobs are those of the closed form.

    Without labels there is only decay. It changes nothing at the authors' rate of 1e-13, and 5 to 4.99 at 2.5e-8.
    """
    maps = np.tile(SCORES[:, None, None], (1, *CELLS_HW))
    write_datums(tmp_path / 'maps', [np.concatenate([maps, np.full((1, *CELLS_HW), IGNORE_LABEL)])])
    image = np.full((4, *SIZE_HW), WRONG if labelled else IGNORE_LABEL, np.uint8)
    write_datums(tmp_path / 'train_whole', [image])
    write(training('camvid-cpu-front-crfrnn', str(tmp_path / 'maps')), tmp_path / 'net.prototxt')
    stage = replace(STAGES['camvid-cpu-front-crfrnn'], max_iter=UPDATES, base_lr=base_lr)
    message = solver(stage, str(tmp_path / 'net.prototxt'), str(tmp_path / 'snapshot'), display=0)
    write(message, tmp_path / 'solver.prototxt')
    ours = caffe.SGDSolver(str(tmp_path / 'solver.prototxt'))
    ours.step(UPDATES)
    starts = np.array([[3.0], [5], [-1]]) * np.ones(len(SCORES))
    gradient = by_parameter(starts) * np.prod(SIZE_HW) * labelled
    expected = after_updates(starts, gradient, base_lr * np.array([[10_000], [10_000], [1_000]]))
    found = np.array([blob.data[0, 0].diagonal() for blob in ours.net.params[LAYER]])
    np.testing.assert_allclose(found, expected, rtol=0, atol=0.01 * np.abs(expected - starts).max() + 3e-6)


@pytest.mark.parametrize('name', ON_IMAGES)
@pytest.mark.usefixtures('narrow_nets')
def test_training_reaches_every_layer(name, tmp_path):
    """The loss is that of pixels. Two updates of the stage's solver change all layers; CRF-RNN starts as a Potts model."""
    stage = STAGES[name]
    lmdb = stage_data(stage, tmp_path / 'lmdb', stage.label_stride, CROP)
    net_param = training(name, str(lmdb), CROP)
    write(net_param, tmp_path / 'net.prototxt')
    step = replace(stage, max_iter=2, base_lr=1e-6)  # the stage's own rate is too small for float32 to show in two updates
    message = solver(step, str(tmp_path / 'net.prototxt'), str(tmp_path / 'snapshot'))
    write(message, tmp_path / 'solver.prototxt')
    ours = caffe.SGDSolver(str(tmp_path / 'solver.prototxt'))
    weights = start_of(stage.net, tmp_path / 'start.caffemodel')
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


PLAIN_PYCAFFE = 'import sys, caffe; print(caffe.Net(sys.argv[1], caffe.TEST).forward()["prob"].shape)'


@pytest.mark.usefixtures('narrow_nets')
def test_plain_pycaffe_runs_a_deploy_net(tmp_path):
    """After `make caffe`, `import caffe` and the file are enough, in any folder."""
    write(deploy('front_pascal_voc_crfrnn', size_hw=(404, 412)), tmp_path / 'deploy.prototxt')
    command = [sys.executable, '-c', PLAIN_PYCAFFE, 'deploy.prototxt']
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, '(1, 21, 32, 40)\n'), done.stderr[-2000:]


@pytest.mark.parametrize('name', ON_IMAGES)
@pytest.mark.usefixtures('narrow_nets')
def test_prediction_at_every_pixel(name, tmp_path):
    """The Predictor labels each pixel. With zero weights, CRF-RNN changes nothing; with those of the Potts model it does."""
    net_name = STAGES[name].net
    weights = start_of(net_name, tmp_path / 'start.caffemodel')
    image = random_image(21, 30)
    plain = [np.zeros((1, 1, 21, 21), np.float32)] * 2 + [-np.eye(21, dtype=np.float32)[None, None]]
    caffemodel.write(tmp_path / 'none.caffemodel', {LAYER: plain})
    predictor = Predictor(net_name, [weights, tmp_path / 'none.caffemodel'], tiling='tight')
    prob = predictor.predict_scores(image)
    np.testing.assert_array_equal(predictor.label_map(image), prob[:, :21, :30].argmax(axis=0))
    net = predictor.net
    scores = net.blobs[net.bottom_names['upscore'][0]].data[0]
    logits = zoom(scores, prob.shape[1:], 8)
    expected = np.exp(logits) / np.exp(logits).sum(axis=0)
    np.testing.assert_allclose(prob, expected, atol=1e-5)
    blobs = [blob[None, None] for blob in potts(21)]
    caffemodel.write(tmp_path / 'potts.caffemodel', {LAYER: blobs})
    smoothed = Predictor(net_name, [weights, tmp_path / 'potts.caffemodel'], tiling='tight').predict_scores(image)
    assert np.abs(smoothed - prob).max() > 0.01


@pytest.mark.usefixtures('narrow_nets')
def test_stored_scores_and_the_image_give_what_the_whole_network_gives(tmp_path):
    """The stored scores and the image go through the rest of the network."""
    weights = [start_of('basic_camvid_fc128_crfrnn', tmp_path / 'start.caffemodel'), tmp_path / 'potts.caffemodel']
    caffemodel.write(weights[1], {LAYER: [blob[None, None] for blob in potts(11)]})
    image = random_image(24, 32)
    whole = Predictor('basic_camvid_fc128_crfrnn', weights, size_hw=(372 + 24, 372 + 32))
    expected = whole.predict_scores(image)
    rest = MapPredictor('basic_camvid_fc128_crfrnn', weights, 'final', (5, 9))  # the maps have another size
    maps = whole.net.blobs['final'].data[0].copy()
    assert rest.reads_image and maps.shape == (11, 3, 4)
    np.testing.assert_allclose(rest.predict_scores(maps, image), expected, atol=1e-6)
    np.testing.assert_array_equal(rest.label_map(maps, (24, 32), image), whole.label_map(image))


def maps_and_images(folder, cells_hw=(3, 4), size_hw=(24, 32)):
    """LMDBs of three images of CamVid and of their maps, as the recipe stores them."""
    random = np.random.default_rng(0)
    rows = [
        (name, random.normal(0, 1, (11, *cells_hw)).astype(np.float32), np.full(cells_hw, 255, np.uint8))
        for name in shuffled(['a', 'b', 'c'], 1)
    ]
    said = {'dataset': 'camvid', 'classes': 11, 'blob': 'final', 'split': 'train', 'weights': 'of no file'}
    write_features(folder / 'maps', rows, said)
    return folder / 'maps', write_images_beside(folder / 'maps', size_hw, dataset='camvid', split='train', classes=11)


@pytest.mark.usefixtures('narrow_nets')
def test_each_map_comes_with_its_own_image_and_labels(tmp_path):
    """In each pass of the training net, the maps, the image minus the mean and the labels are those of one record."""
    maps, images = maps_and_images(tmp_path)
    write(training('camvid-cpu-basic-crfrnn', str(maps)), tmp_path / 'net.prototxt')
    net = caffe.Net(str(tmp_path / 'net.prototxt'), caffe.TRAIN)
    stored = zip(iterate(maps), iterate(images), strict=True)
    for (name, of_maps), (name_of_image, of_image) in stored:
        net.forward()
        assert name == name_of_image
        np.testing.assert_array_equal(net.blobs['final'].data[0], of_maps[:11])
        mean = np.float32(dataset('camvid').mean_bgr)[:, None, None]
        np.testing.assert_allclose(net.blobs['image'].data[0], of_image[:3] - mean, atol=1e-4)
        np.testing.assert_array_equal(net.blobs['label'].data[0, 0], of_image[3])
        assert net.blobs[LAYER].data.shape == (1, 11, 24, 32)


def test_images_that_are_not_those_of_the_maps_are_refused(tmp_path):
    """They are missing, of another size, or have a margin. The message has the command."""
    maps, images = maps_and_images(tmp_path)
    check = partial(check_lmdb, asked('camvid-cpu-front-crfrnn', '--lmdb', maps))
    assert check()['blob'] == 'final'
    shutil.move(images, tmp_path / 'aside')
    with pytest.raises(UserError, match='train_whole.*make lmdb-camvid.* WHOLE=1'):
        check()
    other, _ = maps_and_images(tmp_path / 'other', size_hw=(24, 40))
    shutil.copytree(other.with_name('train_whole'), images)
    with pytest.raises(UserError, match='covers 24x32 pixels, [abc] has 24x40'):
        check()
    shutil.rmtree(images)
    shutil.copytree(tmp_path / 'aside', images)
    manifest = json.loads((images / 'manifest.json').read_text())
    (images / 'manifest.json').write_text(json.dumps(manifest | {'margin_px': 186}))
    with pytest.raises(UserError, match='without a margin'):
        check()


@pytest.mark.parametrize('name', ON_MAPS)
def test_rows_on_maps_read_the_plain_scores(name):
    """They use the LMDB of the context stage, with labels at stride 8, but have a loss at every pixel."""
    stage = STAGES[name]
    assert lmdb_of(stage) == lmdb_of(STAGES['camvid-cpu-basic'])
    assert stage.label_stride == 1 and stage.stored_label_stride == 8
