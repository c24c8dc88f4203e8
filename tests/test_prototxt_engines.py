"""Real Caffe beside equations written as loops, onnxruntime and OpenCV's DNN: the same networks give the same numbers."""

import numpy as np
import pytest

from prototxt.experiments import NETS
from prototxt.framing import input_hw
from prototxt.networks import deploy, write
from prototxt.reflect_pad import reflected
from tests.engines import in_onnxruntime, in_opencv
from tests.narrow_nets import narrow_nets  # noqa: F401
from tests.toy_nets import random_weights
from tools.support.caffe_import import import_caffe

caffe = import_caffe()


def run(message, folder, inputs, weights=None):
    """A caffe.Net of a NetParameter after one forward pass, with `weights` (a file) in it."""
    write(message, folder / 'net.prototxt')
    net = caffe.Net(str(folder / 'net.prototxt'), caffe.TEST)
    if weights:
        net.copy_from(str(weights))
    net.blobs[net.inputs[0]].data[...] = inputs
    net.forward()
    return net


def arrays(net):
    """The parameters of a caffe.Net by layer."""
    return {name: [blob.data for blob in blobs] for name, blobs in net.params.items()}


def convolution(message_fields: str):
    """NetParameter of one Convolution of blob `data`, 1x2x13x15."""
    message = caffe.proto.caffe_pb2.NetParameter()
    from google.protobuf import text_format

    shape = 'input_param { shape { dim: 1 dim: 2 dim: 13 dim: 15 } }'
    text = f'layer {{ name: "data" type: "Input" top: "data" {shape} }}'
    text += f'layer {{ name: "F" type: "Convolution" bottom: "data" top: "F" convolution_param {{ {message_fields} }} }}'
    return text_format.Parse(text, message)


@pytest.mark.parametrize('dilation', [1, 2, 3, 4])
def test_dilated_convolution_is_equation_2(dilation, tmp_path):
    """(F *_l k)(p) = sum over s + l t = p of F(s) k(t), written as loops; Caffe's weight at offset t stands for k(-t)."""
    rng, r = np.random.default_rng(dilation), 1
    image = rng.normal(size=(2, 13, 15)).astype(np.float32)
    weights = rng.normal(size=(1, 2, 3, 3)).astype(np.float32)
    net = run(convolution(f'num_output: 1 kernel_size: 3 dilation: {dilation} bias_term: false'), tmp_path, image)
    net.params['F'][0].data[...] = weights
    found = net.forward()['F'][0, 0]

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
    """Class probabilities of a 404 x 428 input, to float tolerance; OpenCV has no reflection layer to read."""
    context = NETS[name].context
    size_hw = input_hw(NETS[name], (404, 428))
    message = deploy(name, size_hw=size_hw)
    weights = random_weights(name, tmp_path / 'weights.caffemodel')
    inputs = np.random.default_rng(0).normal(0, 60, (1, 3, *size_hw)).astype(np.float32)
    net = run(message, tmp_path, inputs, weights)
    prob = net.blobs['prob'].data
    assert prob.std() > 1e-3  # not all the same, which any engine would get right
    # DeepLab-MSc adds six maps a pixel, and random ones are large: float32 holds a sum to some millionths of it.
    tolerance = 2e-6 * np.abs(net.blobs['fc_fusion'].data).max() if 'msc' in name else 2e-5
    np.testing.assert_allclose(in_onnxruntime(message, arrays(net), inputs), prob, atol=tolerance)
    if not context or context.pad != 'reflect':
        net.save(str(tmp_path / 'whole.caffemodel'))  # with the bilinear weights, which a filler makes
        found = in_opencv(tmp_path / 'net.prototxt', tmp_path / 'whole.caffemodel', inputs)
        np.testing.assert_allclose(found, prob, atol=tolerance)


def test_forward_at_full_width(tmp_path):
    """The released VOC network with all its channels, one tile of 2 x 3 cells."""
    message = deploy('dilation8_pascal_voc', size_hw=(388, 396))
    weights = random_weights('dilation8_pascal_voc', tmp_path / 'weights.caffemodel')
    inputs = np.random.default_rng(0).normal(0, 60, (1, 3, 388, 396)).astype(np.float32)
    net = run(message, tmp_path, inputs, weights)
    prob = net.blobs['prob'].data
    assert prob.shape == (1, 21, 2, 3) and prob.std() > 1e-3
    np.testing.assert_allclose(in_onnxruntime(message, arrays(net), inputs), prob, atol=1e-4)
    np.testing.assert_allclose(in_opencv(tmp_path / 'net.prototxt', weights, inputs), prob, atol=1e-4)


# Reflection


def padding_net(folder, pad, size_hw):
    """A caffe.Net of a ReflectPad layer alone."""
    from prototxt.layers import L, reflect_pad

    spec = caffe.NetSpec()
    spec.data = L.Input(shape=dict(dim=[2, 3, *size_hw]))
    spec.padded = reflect_pad(spec.data, pad)
    message = spec.to_proto()
    message.force_backward = True
    write(message, folder / 'net.prototxt')
    return caffe.Net(str(folder / 'net.prototxt'), caffe.TEST)


@pytest.mark.parametrize(('pad', 'size_hw'), [(2, (5, 7)), (33, (66, 40)), (33, (16, 5)), (33, (1, 2)), (0, (3, 3))])
def test_reflection_forward_and_backward(pad, size_hw, tmp_path):
    """Forward is NumPy's reflection, also where the pad is larger than the map; backward sums over every copy, by loops."""
    rng = np.random.default_rng(0)
    net = padding_net(tmp_path, pad, size_hw)
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
    places = np.pad(np.arange(maps[0, 0].size).reshape(size_hw), pad, mode='reflect')  # of which cell each is a copy
    for i, j in np.ndindex(places.shape):
        row, column = divmod(int(places[i, j]), size_hw[1])
        wanted[:, :, row, column] += diff[:, :, i, j]
    np.testing.assert_allclose(net.blobs['data'].diff, wanted, rtol=1e-4, atol=1e-4)


def test_reflection_follows_a_new_size(tmp_path):
    """Tools give a net tiles of different sizes."""
    net = padding_net(tmp_path, 3, (8, 9))
    net.blobs['data'].reshape(1, 3, 6, 5)
    net.reshape()
    assert net.blobs['padded'].data.shape == (1, 3, 12, 11)


def test_reflected_does_not_repeat_the_edge():
    """3 2 1 | 0 1 2 3 | 2 1 0: BORDER_REFLECT_101, as images are padded."""
    assert reflected(4, 3).tolist() == [3, 2, 1, 0, 1, 2, 3, 2, 1, 0]
