"""Real Caffe against equations written as loops, onnxruntime, OpenCV's DNN and NumPy: the same networks, the same numbers."""

import numpy as np
import pytest

from prototxt.experiments import NETS
from prototxt.framing import input_hw
from prototxt.layers import L, reflect_pad
from prototxt.networks import deploy, write
from prototxt.reflect_pad import reflected
from tests.engines import in_onnxruntime, in_opencv
from tests.toy_nets import random_weights
from tools.support.caffe_import import import_caffe, net_of

caffe = import_caffe()


def run(message, folder, inputs, weights):
    """A caffe.Net of a NetParameter with the weights of a file, after one forward pass."""
    write(message, folder / 'net.prototxt')
    net = caffe.Net(str(folder / 'net.prototxt'), caffe.TEST)
    net.copy_from(str(weights))
    net.blobs[net.inputs[0]].data[...] = inputs
    net.forward()
    return net


def arrays(net):
    """The parameters of a caffe.Net by layer."""
    return {name: [blob.data for blob in blobs] for name, blobs in net.params.items()}


@pytest.mark.parametrize('dilation', [1, 2, 3, 4])
def test_dilated_convolution_is_equation_2(dilation):
    """(F *_l k)(p) is the sum of F(s) k(t) over s + l t = p, here as loops; Caffe's weight at offset t is k(-t)."""
    rng, r = np.random.default_rng(dilation), 1
    image = rng.normal(size=(2, 13, 15)).astype(np.float32)
    weights = rng.normal(size=(1, 2, 3, 3)).astype(np.float32)
    spec = caffe.NetSpec()
    spec.data = L.Input(shape=dict(dim=[1, 2, 13, 15]))
    spec.F = L.Convolution(spec.data, num_output=1, kernel_size=3, dilation=dilation, bias_term=False)
    net = net_of(spec.to_proto())
    net.params['F'][0].data[...] = weights
    found = net.forward(data=image[None])['F'][0, 0]

    def k(channel, t):
        return float(weights[0, channel, r - t[0], r - t[1]])

    reach = dilation * r
    assert found.shape == (13 - 2 * reach, 15 - 2 * reach)
    for i, j in np.ndindex(found.shape):
        p, total = (i + reach, j + reach), 0.0
        for channel in range(2):
            for s in np.ndindex(13, 15):
                t = [(p[axis] - s[axis]) / dilation for axis in (0, 1)]
                if all(value.is_integer() and abs(value) <= r for value in t):
                    total += float(image[channel][s]) * k(channel, [int(value) for value in t])
        assert found[i, j] == pytest.approx(total, rel=1e-4, abs=1e-5)


@pytest.mark.usefixtures('narrow_nets')
@pytest.mark.parametrize('name', [name for name, row in NETS.items() if not row.crf_rnn])
def test_forward_is_onnxruntimes_and_opencvs(name, tmp_path):
    """All three give the same class probabilities of a 404 x 428 input; OpenCV lacks the reflection layer."""
    context = NETS[name].context
    size_hw = input_hw(NETS[name], (404, 428))
    message = deploy(name, size_hw=size_hw)
    weights = random_weights(name, tmp_path / 'weights.caffemodel')
    inputs = np.random.default_rng(0).normal(0, 60, (1, 3, *size_hw)).astype(np.float32)
    net = run(message, tmp_path, inputs, weights)
    prob = net.blobs['prob'].data
    assert prob.std() > 1e-3  # any engine would get equal probabilities right
    # DeepLab-MSc adds six maps, large ones with random weights; float32 keeps a sum to a few millionths.
    tolerance = 2e-6 * np.abs(net.blobs['fc_fusion'].data).max() if 'msc' in name else 2e-5
    np.testing.assert_allclose(in_onnxruntime(message, arrays(net), inputs), prob, atol=tolerance)
    if not context or context.pad != 'reflect':
        net.save(str(tmp_path / 'whole.caffemodel'))  # with the bilinear weights of the filler
        found = in_opencv(tmp_path / 'net.prototxt', tmp_path / 'whole.caffemodel', inputs)
        np.testing.assert_allclose(found, prob, atol=tolerance)


def test_forward_at_full_width(tmp_path):
    """The released VOC network with all its channels, on a tile of 2 x 3 cells."""
    message = deploy('dilation8_pascal_voc', size_hw=(388, 396))
    weights = random_weights('dilation8_pascal_voc', tmp_path / 'weights.caffemodel')
    inputs = np.random.default_rng(0).normal(0, 60, (1, 3, 388, 396)).astype(np.float32)
    net = run(message, tmp_path, inputs, weights)
    prob = net.blobs['prob'].data
    assert prob.shape == (1, 21, 2, 3) and prob.std() > 1e-3
    np.testing.assert_allclose(in_onnxruntime(message, arrays(net), inputs), prob, atol=1e-4)
    np.testing.assert_allclose(in_opencv(tmp_path / 'net.prototxt', weights, inputs), prob, atol=1e-4)


# Reflection


def padding_net(pad, size_hw):
    """A caffe.Net of one ReflectPad layer."""
    spec = caffe.NetSpec()
    spec.data = L.Input(shape=dict(dim=[2, 3, *size_hw]))
    spec.padded = reflect_pad(spec.data, pad)
    message = spec.to_proto()
    message.force_backward = True
    return net_of(message)


@pytest.mark.parametrize(('pad', 'size_hw'), [(2, (5, 7)), (33, (66, 40)), (33, (16, 5)), (33, (1, 2)), (0, (3, 3))])
def test_reflection_forward_and_backward(pad, size_hw):
    """Forward is NumPy's reflection, even if the pad exceeds the map; backward sums the gradients of all copies of a cell."""
    rng = np.random.default_rng(0)
    net = padding_net(pad, size_hw)
    maps = rng.normal(size=(2, 3, *size_hw)).astype(np.float32)
    net.blobs['data'].data[...] = maps
    net.forward()
    np.testing.assert_array_equal(
        net.blobs['padded'].data, np.pad(maps, ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode='reflect')
    )
    diff = rng.normal(size=net.blobs['padded'].data.shape).astype(np.float32)
    net.blobs['padded'].diff[...] = diff
    net.backward()
    wanted = np.zeros(maps.shape)
    places = np.pad(np.arange(maps[0, 0].size).reshape(size_hw), pad, mode='reflect')  # the cell that each one copies
    for i, j in np.ndindex(places.shape):
        row, column = divmod(int(places[i, j]), size_hw[1])
        wanted[:, :, row, column] += diff[:, :, i, j]
    np.testing.assert_allclose(net.blobs['data'].diff, wanted, rtol=1e-4, atol=1e-4)


def test_reflection_follows_a_new_size():
    """A net that is reshaped pads the new size."""
    net = padding_net(3, (8, 9))
    net.blobs['data'].reshape(1, 3, 6, 5)
    net.reshape()
    assert net.blobs['padded'].data.shape == (1, 3, 12, 11)


def test_reflected_does_not_repeat_the_edge():
    """3 2 1 | 0 1 2 3 | 2 1 0, which OpenCV calls BORDER_REFLECT_101; images are padded so too."""
    assert reflected(4, 3).tolist() == [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]
