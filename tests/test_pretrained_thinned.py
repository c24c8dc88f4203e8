"""VGG-16 thinned to DeepLab's starts: which weights are kept, and when it is done."""

from dataclasses import replace

import numpy as np
import pytest

from pretrained import caffemodel, conversion, thinned, vgg16
from pretrained.caffemodel import Streamed
from pretrained.weights import WEIGHTS
from prototxt.experiments import FrontEnd
from prototxt.networks import deploy, training
from prototxt.shapes import param_shapes
from tests.train_data import asked
from tools.support.caffe_import import import_caffe, net_of
from tools.support.errors import UserError
from tools.training.preflight import check_weights

caffe = import_caffe()


def narrow():
    """Layers of a VGG-16 with 5 channels before fc6, and 24 in fc6 and fc7."""
    random = np.random.default_rng(0)
    shapes = {'conv5_3': (5, 5, 3, 3), 'fc6': (24, 5, 7, 7), 'fc7': (24, 24, 1, 1)}
    return {
        name: [random.standard_normal(shape, np.float32), random.standard_normal(shape[0], np.float32)]
        for name, shape in shapes.items()
    }


def run(path, weights, outputs, **window):
    """fc7 of random maps by real Caffe, through a caffemodel at `path`; `window` is fc6's."""
    net, layers = caffe.NetSpec(), caffe.layers
    net.map = layers.Input(shape={'dim': [1, 5, 9, 8]})
    net.fc6 = layers.Convolution(net.map, num_output=outputs, **window)
    net.relu6 = layers.ReLU(net.fc6, in_place=True)
    net.fc7 = layers.Convolution(net.relu6, num_output=outputs, kernel_size=1)
    caffemodel.write(path, weights)
    net = net_of(net.to_proto())
    net.copy_from(str(path))
    net.blobs['map'].data[...] = np.random.default_rng(1).normal(size=(1, 5, 9, 8))
    net.forward()
    return net.blobs['fc7'].data[0].copy()


@pytest.mark.parametrize(('name', 'kernel', 'taps', 'channels'), [('vgg16_20M', 3, 3, 4), ('vgg16_128', 4, 2, 1)])
def test_thinned_layers_compute_the_same_as_zeros_in_the_whole(name, kernel, taps, channels, tmp_path):
    """With a dilation of `taps`, the kept taps have their places in 7x7; a removed channel had no influence on fc7."""
    whole = narrow()
    found = thinned.thin(whole, thinned.STEPS[name])
    for row, column in np.ndindex(7, 7):
        if row % taps or column % taps:
            whole['fc6'][0][:, :, row, column] = 0
    for channel in range(24):
        if channel % channels:
            whole['fc7'][0][:, channel] = 0
    expected = run(tmp_path / 'w.caffemodel', whole, 24, kernel_size=7)[::channels]
    assert expected.shape == (24 // channels, 3, 2) and expected.std() > 1
    result = run(tmp_path / 'w.caffemodel', found, 24 // channels, kernel_size=kernel, dilation=taps)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-4)
    assert found['conv5_3'] is whole['conv5_3']


@pytest.mark.parametrize('rows', [1, 5, 8, 24])
def test_layers_that_are_read_in_pieces(rows):
    """Pieces with any number of outputs give the same result as the whole array."""
    whole = narrow()
    streamed = {
        name: [Streamed(blob.shape, lambda blob=blob: (blob[i : i + rows] for i in range(0, len(blob), rows))) for blob in blobs]
        for name, blobs in whole.items()
    }
    found, expected = (thinned.thin(layers, thinned.STEPS['vgg16_20M']) for layers in (streamed, whole))
    for name in ('fc6', 'fc7'):
        assert all((one == other).all() for one, other in zip(found[name], expected[name], strict=True))


@pytest.mark.parametrize(('start', 'net'), [('vgg16_20M', 'deeplab_largefov_pascal_voc'), ('vgg16_128', 'deeplab_pascal_voc')])
def test_shapes_are_those_of_deeplab(start, net):
    """Made from VGG-16's own shapes. The number of values is that of the row in the table of weights."""
    full = conversion.layer_shapes(FrontEnd())
    zeros = {name: [np.broadcast_to(np.float32(0), full[name]), np.zeros(full[name][0])] for name in full}
    shapes = {name: [blob.shape for blob in blobs] for name, blobs in thinned.thin(zeros, thinned.STEPS[start]).items()}
    wanted = param_shapes(deploy(net))
    assert shapes == {name: wanted[name] for name in shapes}
    assert 4 * sum(int(np.prod(shape)) for found in shapes.values() for shape in found) == WEIGHTS[start].min_size


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a VGG-16 of convolutions only; no host has the authors' file."""
    row = replace(WEIGHTS['vgg16_20M'], file=str(tmp_path / 'vgg16_20M.caffemodel'), urls=('http://127.0.0.1:9/none',))
    monkeypatch.setitem(WEIGHTS, 'vgg16_20M', row)
    shapes = conversion.layer_shapes(FrontEnd())
    layers = {name: [np.zeros(shapes[name], np.float32), np.zeros(shapes[name][0])] for name in shapes if name not in vgg16.FC}
    caffemodel.write(tmp_path / 'vgg.caffemodel', layers)
    monkeypatch.setattr(thinned, 'default_source', lambda: tmp_path / 'vgg.caffemodel')
    return tmp_path


def test_a_vgg16_without_fc_gives_its_convolutions(place, capsys):
    """The command says that the host does not answer and that fc6 and fc7 are missing; training asks for --random-fc."""
    thinned.main(['vgg16_20M'])
    said = capsys.readouterr()
    assert 'could not be fetched' in said.err and said.err.endswith('A VGG-16 is thinned instead.\n')
    assert 'fc6 and fc7: not in this source' in said.out and 'run: make weights-vgg16_20M' in said.out
    path, net = place / 'vgg16_20M.caffemodel', training('voc-deeplab-largefov', 'unused')
    with pytest.raises(UserError, match=r'no fc6 and fc7; put .*run make weights-vgg16_20M, or .*RANDOM_FC=1'):
        check_weights(asked('voc-deeplab-largefov'), net, [path])
    check_weights(asked('voc-deeplab-largefov', '--random-fc'), net, [path])


def test_the_authors_file_is_not_replaced(place, capsys):
    """The command leaves a whole file as it is, and refuses to replace its fc6 and fc7."""
    path = place / 'vgg16_20M.caffemodel'
    caffemodel.write(path, {name: [np.ones(5_200_000, np.float32)] for name in ('conv1_1', 'fc6', 'fc7', 'x')})
    before = path.stat().st_mtime_ns
    thinned.main(['vgg16_20M'])
    assert path.stat().st_mtime_ns == before and 'is here' in capsys.readouterr().out
    with pytest.raises(UserError, match='has fc6 and fc7, which would be lost'):
        thinned.main(['vgg16_20M', str(place / 'vgg.caffemodel')])
