"""The Python layers of CRF-RNN in real Caffe."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest

from pretrained import caffemodel
from tools.crfs.mean_field import MeanField, Parameters, Thetas, bilateral_kernel, potts, spatial_kernel
from tools.inference.upsampling import zoom
from tools.support.caffe_import import import_caffe
from tools.support.paths import CAFFE
from tools.support.wire import bytes_field
from tools.training.process import _environment

caffe = import_caffe()
CLASSES, HW = 3, (10, 13)
THETAS = Thetas(alpha=20, beta=30, gamma=2)
PARAM_STR = {'theta_alpha': 20, 'theta_beta': 30, 'theta_gamma': 2, 'iterations_train': 2, 'iterations_test': 4}

INPUT = """
layer {{ name: "d" type: "Input" top: "unary" top: "image" top: "label"
  input_param {{ shape {{ dim: 2 dim: {c} dim: {h} dim: {w} }} shape {{ dim: 2 dim: {channels} dim: {h} dim: {w} }}
                 shape {{ dim: 2 dim: 1 dim: {h} dim: {w} }} }} }}
force_backward: true
"""
CONSTANT = """
layer {{ name: "d" type: "DummyData" top: "unary" top: "image" top: "label" dummy_data_param {{
  shape {{ dim: 1 dim: {c} dim: {h} dim: {w} }} shape {{ dim: 1 dim: {channels} dim: {h} dim: {w} }}
  shape {{ dim: 1 dim: 1 dim: {h} dim: {w} }}
  data_filler {{ type: "constant" value: 1 }} data_filler {{ type: "constant" value: 9 }}
  data_filler {{ type: "constant" value: 1 }} }} }}
"""
LAYER = """
layer {{ name: "inference1" type: "Python" bottom: "unary" bottom: "image" top: "pred" {params}
  python_param {{ module: "tools.crfs.crf_rnn_layers" layer: "MultiStageMeanfield" param_str: '{param_str}' }} }}
layer {{ name: "loss" type: "SoftmaxWithLoss" bottom: "pred" bottom: "label" top: "loss" }}
"""


def net_text(data: str = INPUT, param_str: object = PARAM_STR, channels: int = 3, params: str = '') -> str:
    """A net with the layer between the blobs of `data` and a loss."""
    text = param_str if isinstance(param_str, str) else json.dumps(param_str)
    return (data + LAYER).format(c=CLASSES, h=HW[0], w=HW[1], channels=channels, param_str=text, params=params)


def net(folder: Path, phase=caffe.TRAIN, **options):
    """This net in Caffe; its input blobs hold noise, different for each image."""
    (folder / 'net.prototxt').write_text(net_text(**options))
    made = caffe.Net(str(folder / 'net.prototxt'), phase)
    random = np.random.default_rng(0)
    made.blobs['unary'].data[...] = random.normal(0, 1, made.blobs['unary'].data.shape)
    made.blobs['image'].data[...] = random.integers(0, 256, made.blobs['image'].data.shape)
    made.blobs['label'].data[...] = random.integers(0, CLASSES, made.blobs['label'].data.shape)
    return made


def expected(made, number: int, iterations: int, keep: bool = False) -> tuple[MeanField, np.ndarray]:
    """The mean field of one image of the batch, and its logits (n, C), in double precision."""
    unary, image = (made.blobs[name].data[number].astype(float) for name in ('unary', 'image'))
    field = MeanField(spatial_kernel(HW, THETAS, np.float64), bilateral_kernel(image, THETAS))
    return field, field.forward(pixels(unary), parameters_of(made), iterations, keep=keep)


def pixels(maps: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(maps.reshape(len(maps), -1).T.astype(float))


def parameters_of(made) -> Parameters:
    return Parameters(*(blob.data[0, 0].astype(float) for blob in made.params['inference1']))


def shake(made) -> None:
    """Adds noise to the parameters."""
    for number, blob in enumerate(made.params['inference1']):
        blob.data[...] += np.random.default_rng(number).normal(0, 0.3, blob.data.shape)


def test_parameters_are_the_authors(tmp_path):
    """Three blobs of 1 x 1 x C x C start with 3, 5 and -1 on the diagonal and 0 elsewhere."""
    blobs = [blob.data for blob in net(tmp_path).params['inference1']]
    assert [blob.shape for blob in blobs] == [(1, 1, CLASSES, CLASSES)] * 3
    for blob, value in zip(blobs, (3, 5, -1), strict=True):
        np.testing.assert_array_equal(blob[0, 0], value * np.eye(CLASSES))


@pytest.mark.parametrize(('phase', 'iterations'), [(caffe.TRAIN, 2), (caffe.TEST, 4)])
def test_the_top_is_the_mean_field_of_each_image(tmp_path, phase, iterations):
    """The number of iterations depends on the phase."""
    made = net(tmp_path, phase)
    shake(made)
    made.forward()
    for number in range(2):
        np.testing.assert_allclose(pixels(made.blobs['pred'].data[number]), expected(made, number, iterations)[1], atol=1e-4)


def test_the_default_settings_are_the_authors(tmp_path):
    """Without a param_str, the result is that of the authors' settings."""
    theirs = {'theta_alpha': 160, 'theta_beta': 3, 'theta_gamma': 3, 'iterations_train': 5, 'iterations_test': 10}
    results = {}
    for phase in (caffe.TRAIN, caffe.TEST):
        for param_str in ('', theirs):
            made = net(tmp_path, phase, param_str=param_str)
            made.forward()
            results[phase, bool(param_str)] = made.blobs['pred'].data.copy()
        np.testing.assert_array_equal(results[phase, False], results[phase, True])
    assert np.abs(results[caffe.TRAIN, True] - results[caffe.TEST, True]).max() > 1e-3


@pytest.mark.parametrize('phase', [caffe.TRAIN, caffe.TEST])
def test_gradients_add_up_over_passes(tmp_path, phase):
    """iter_size needs the sum of the parameters' gradients over passes. The gradient by the unary is that of the last pass."""
    made = net(tmp_path, phase)
    shake(made)
    iterations = {caffe.TRAIN: 2, caffe.TEST: 4}[phase]
    for _ in range(2):
        made.forward()
        made.backward()
    sums = [np.zeros((CLASSES, CLASSES)) for _ in range(3)]
    for number in range(2):
        field, _ = expected(made, number, iterations, keep=True)
        at_unary, at_parameters = field.backward(pixels(made.blobs['pred'].diff[number]), parameters_of(made))
        np.testing.assert_allclose(pixels(made.blobs['unary'].diff[number]), at_unary, atol=1e-5)
        for total, one in zip(sums, at_parameters, strict=True):
            total += 2 * one
    for blob, total in zip(made.params['inference1'], sums, strict=True):
        np.testing.assert_allclose(blob.diff[0, 0], total, atol=1e-4)
        assert np.abs(total).max() > 1e-2
    assert not made.blobs['image'].diff.any()


def test_the_layer_takes_another_size(tmp_path):
    """The bottoms get another batch size, height and width."""
    made = net(tmp_path, caffe.TEST)
    made.forward()
    random = np.random.default_rng(4)
    for name, channels in (('unary', CLASSES), ('image', 3), ('label', 1)):
        made.blobs[name].reshape(1, channels, 6, 7)
        made.blobs[name].data[...] = random.integers(0, 3, made.blobs[name].data.shape)
    made.forward()
    unary, image = (made.blobs[name].data[0].astype(float) for name in ('unary', 'image'))
    field = MeanField(spatial_kernel((6, 7), THETAS, np.float64), bilateral_kernel(image, THETAS))
    np.testing.assert_allclose(
        pixels(made.blobs['pred'].data[0]), field.forward(pixels(unary), parameters_of(made), 4), atol=1e-4
    )


def test_the_authors_weight_file_loads(tmp_path):
    """Their layer inference1 has three blobs of 1 x 1 x C x C, and a parameter message that stock Caffe does not know."""
    random = np.random.default_rng(0)
    blobs = [random.normal(0, 1, (1, 1, CLASSES, CLASSES)).astype(np.float32) for _ in range(3)]
    path = tmp_path / 'theirs.caffemodel'
    layer = caffe.proto.caffe_pb2.LayerParameter(name='inference1', type='MultiStageMeanfield')
    for blob in blobs:
        proto = layer.blobs.add()
        proto.shape.dim.extend(blob.shape)
        proto.data.extend(blob.ravel().tolist())
    theirs = layer.SerializeToString() + bytes_field(900, b'\x08\x05')
    path.write_bytes(bytes_field(100, theirs))
    made = net(tmp_path)
    made.copy_from(str(path))
    for blob, wanted in zip(made.params['inference1'], blobs, strict=True):
        np.testing.assert_array_equal(blob.data, wanted)
    assert [blob.shape for blob in caffemodel.stored(path)['inference1']] == [(1, 1, CLASSES, CLASSES)] * 3


@pytest.mark.parametrize(('options', 'fault'), [
    ({'channels': 4}, 'image .* must be of the size of unary'),
    ({'param_str': 'theta_alpha: 3'}, 'give a JSON object'),
    ({'param_str': {'theta_delta': 3}}, 'there are theta_alpha, theta_beta'),
    ({'param_str': {'theta_beta': 0}}, 'theta_beta 0 is not positive'),
])  # fmt: skip
def test_what_does_not_fit_is_an_exception(tmp_path, options, fault):
    """Caffe does not abort."""
    with pytest.raises(ValueError, match=fault):
        net(tmp_path, **options)


SOLVER = 'net: "net.prototxt" base_lr: 1 lr_policy: "fixed" max_iter: 1 snapshot_prefix: "s" solver_mode: CPU iter_size: {}'


def test_caffe_train_finds_the_layer_and_splits_batches(tmp_path):
    """After one update, three passes give the same step as one pass, at the rates of the layer."""
    params = 'param { lr_mult: 10 } param { lr_mult: 5 } param { lr_mult: 0 }'
    (tmp_path / 'net.prototxt').write_text(net_text(CONSTANT, params=params))
    steps = []
    for passes in (1, 3):
        (tmp_path / 'solver.prototxt').write_text(SOLVER.format(passes))
        command = [str(CAFFE), 'train', '--solver', 'solver.prototxt']
        subprocess.run(command, cwd=tmp_path, env=_environment(), check=True, capture_output=True)
        blobs = caffemodel.load(tmp_path / 's_iter_1.caffemodel')['inference1']
        steps.append([blob[0, 0] - start for blob, start in zip(blobs, potts(CLASSES), strict=True)])
    for one, split in zip(*steps, strict=True):
        np.testing.assert_allclose(one, split, atol=1e-5)
    spatial, bilateral, compatibility = steps[0]
    assert np.abs(spatial).max() > 0.1 and not compatibility.any()
    np.testing.assert_allclose(spatial, 2 * bilateral, atol=1e-4)  # rates 10 and 5: on a flat image both kernels are equal


ZOOM = """
layer {{ name: "d" type: "Input" top: "scores" top: "image"
  input_param {{ shape {{ dim: 2 dim: 3 dim: 4 dim: 5 }} shape {{ dim: 2 dim: 3 dim: 29 dim: 37 }} }} }}
layer {{ name: "upscore" type: "Python" bottom: "scores" {size} top: "upscore"
  python_param {{ module: "tools.crfs.crf_rnn_layers" layer: "BilinearZoom" }} }}
force_backward: true
"""


@pytest.mark.parametrize(('size', 'size_hw'), [('', (32, 40)), ('bottom: "image"', (29, 37))])
def test_the_zoom_layer_is_zoom(tmp_path, size, size_hw):
    """It enlarges scores as tools/test.py does, and may cut them to an image. Its gradient is the transpose."""
    (tmp_path / 'net.prototxt').write_text(ZOOM.format(size=size))
    made = caffe.Net(str(tmp_path / 'net.prototxt'), caffe.TEST)
    random = np.random.default_rng(0)
    scores = made.blobs['scores'].data[...] = random.normal(0, 1, (2, 3, 4, 5)).astype(np.float32)
    made.forward()
    for number in range(2):
        np.testing.assert_allclose(made.blobs['upscore'].data[number], zoom(scores[number], size_hw, 8), atol=1e-6)
    gradient = made.blobs['upscore'].diff[...] = random.normal(0, 1, (2, 3, *size_hw)).astype(np.float32)
    made.backward()
    inner = (gradient * made.blobs['upscore'].data).sum()
    assert (made.blobs['scores'].diff * scores).sum() == pytest.approx(inner, rel=1e-4)
