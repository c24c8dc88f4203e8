"""The shared im2col buffer and the row-wise im2col: many convolutions in one thread, against plain loops."""

import itertools
import threading

import numpy as np
import pytest

from tools.support.caffe_import import import_caffe

caffe = import_caffe()
L = caffe.layers


def positions(x_shape, w_shape, stride, pad, dilation):
    """Pairs (output position, tap, input position) of a convolution, one position a spatial axis; outside the input left out."""
    spatial = range(len(w_shape))
    out = [(x_shape[a] + 2 * pad[a] - dilation[a] * (w_shape[a] - 1) - 1) // stride[a] + 1 for a in spatial]
    for place in np.ndindex(*out):
        for tap in np.ndindex(*w_shape):
            source = tuple(place[a] * stride[a] - pad[a] + tap[a] * dilation[a] for a in spatial)
            if all(0 <= source[a] < x_shape[a] for a in spatial):
                yield place, tap, source


def convolve(x, w, out_shape, **geometry):
    """Convolution of x (C, ...) with w (O, C, ...), as nested loops."""
    out = np.zeros((w.shape[0], *out_shape))
    for place, tap, source in positions(x.shape[1:], w.shape[2:], **geometry):
        out[(slice(None), *place)] += w[(slice(None), slice(None), *tap)] @ x[(slice(None), *source)]
    return out


def gradients(x, w, out_diff, **geometry):
    """Gradients of sum(convolve(x, w) * out_diff) by x and by w."""
    x_diff, w_diff = np.zeros_like(x), np.zeros_like(w)
    for place, tap, source in positions(x.shape[1:], w.shape[2:], **geometry):
        taps, diff = (slice(None), slice(None), *tap), out_diff[(slice(None), *place)]
        x_diff[(slice(None), *source)] += w[taps].T @ diff
        w_diff[taps] += np.outer(diff, x[(slice(None), *source)])
    return x_diff, w_diff


# name -> input shape, channels out, kernel, stride, pad, dilation, other fields
LAYERS = {
    'plain': ((3, 9, 11), 4, (3, 3), (1, 1), (0, 0), (1, 1), {}),
    'same_size': ((3, 9, 11), 2, (3, 3), (1, 1), (1, 1), (1, 1), {}),
    'dilated': ((2, 9, 11), 3, (3, 3), (1, 1), (4, 4), (4, 4), {}),
    'pad_beyond': ((2, 3, 4), 2, (3, 2), (1, 1), (5, 6), (2, 5), {}),  # whole rows of taps outside the image
    'strided': ((2, 9, 11), 3, (3, 2), (2, 3), (1, 2), (1, 2), {}),
    'stride_down_only': ((2, 9, 7), 3, (2, 3), (2, 1), (0, 1), (2, 1), {}),
    'nd_flat': ((2, 7, 6), 3, (3, 3), (1, 1), (2, 2), (2, 2), {'force_nd_im2col': True}),
    'nd_line': ((2, 13), 3, (3,), (2,), (1,), (2,), {}),
    'nd_volume': ((2, 5, 4, 6), 3, (2, 3, 2), (1, 1, 2), (1, 1, 0), (1, 1, 1), {}),
    'one_by_one': ((5, 9, 11), 3, (1, 1), (1, 1), (0, 0), (1, 1), {}),
}


@pytest.fixture(scope='module')
def net(tmp_path_factory):
    """All the layers in one net, each with an input of its own: every one of them uses the buffer after another has."""
    spec = caffe.NetSpec()
    for name, (shape, channels, kernel, stride, pad, dilation, more) in LAYERS.items():
        spec[f'{name}_in'] = L.Input(shape=dict(dim=[2, *shape]))
        spec[name] = L.Convolution(
            spec[f'{name}_in'], num_output=channels, kernel_size=list(kernel), stride=list(stride), pad=list(pad),
            dilation=list(dilation), bias_term=False, **more,
        )  # fmt: skip
    path = tmp_path_factory.mktemp('net') / 'net.prototxt'
    path.write_text(f'force_backward: true\n{spec.to_proto()}')
    net = caffe.Net(str(path), caffe.TEST)
    random = np.random.default_rng(1)
    for name in LAYERS:
        for array in (net.blobs[f'{name}_in'].data, net.params[name][0].data, net.blobs[name].diff):
            array[...] = random.standard_normal(array.shape)
    return net


def geometry(name):
    """Stride, pad and dilation of a layer."""
    return dict(zip(('stride', 'pad', 'dilation'), LAYERS[name][3:6], strict=True))


@pytest.mark.parametrize('name', LAYERS)
def test_forward(net, name):
    """Both images of the batch, against nested loops."""
    net.forward()
    blob = net.blobs[name].data
    expected = [convolve(x, net.params[name][0].data, blob.shape[2:], **geometry(name)) for x in net.blobs[f'{name}_in'].data]
    np.testing.assert_allclose(blob, expected, rtol=0, atol=1e-4)


def check_gradients(net):
    """The gradients that a net holds, of every layer, against nested loops."""
    for name in LAYERS:
        weights, inputs = net.params[name][0], net.blobs[f'{name}_in']
        pairs = zip(inputs.data, net.blobs[name].diff, strict=True)
        x_diffs, w_diffs = zip(*(gradients(x, weights.data, diff, **geometry(name)) for x, diff in pairs), strict=True)
        np.testing.assert_allclose(inputs.diff, x_diffs, rtol=0, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(weights.diff, sum(w_diffs), rtol=0, atol=1e-4, err_msg=name)


def clear(net):
    """Zero the gradients of the weights, which Caffe adds to."""
    for (weights,) in net.params.values():
        weights.diff[...] = 0


def test_backward(net):
    """All gradients after one backward pass through all layers."""
    net.forward()
    clear(net)
    net.backward()
    check_gradients(net)


def test_backward_in_a_thread_that_never_went_forward(net):
    """A thread's buffer fits also when another thread ran the forward pass, which sizes it."""
    net.forward()
    clear(net)
    thread = threading.Thread(target=net.backward)
    thread.start()
    thread.join()
    check_gradients(net)


def test_threads_do_not_share(net, tmp_path):
    """Two threads convolve at once, each with its own buffer: both get what one alone gets."""
    spec = caffe.NetSpec()
    spec.data = L.Input(shape=dict(dim=[1, 8, 64, 64]))
    spec.conv = L.Convolution(spec.data, num_output=8, kernel_size=5, weight_filler=dict(type='constant', value=1))
    (tmp_path / 'net.prototxt').write_text(str(spec.to_proto()))
    nets = [caffe.Net(str(tmp_path / 'net.prototxt'), caffe.TEST) for _ in range(2)]
    wrong = []

    def repeat(net, value):
        """Convolve an image of one value many times; every output is value * 8 * 5 * 5."""
        net.blobs['data'].data[...] = value
        for _ in range(50):
            net.forward()
            wrong.extend(np.unique(net.blobs['conv'].data[net.blobs['conv'].data != value * 200]))

    threads = [threading.Thread(target=repeat, args=(net, value)) for value, net in enumerate(nets, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize('sizes', list(itertools.permutations([6, 20, 11])), ids=str)
def test_input_size_may_change(sizes, tmp_path):
    """The buffer grows and is used in part: a net reshaped to other sizes in any order gives what loops give."""
    spec = caffe.NetSpec()
    spec.data = L.Input(shape=dict(dim=[1, 2, 8, 8]))
    spec.conv = L.Convolution(spec.data, num_output=3, kernel_size=3, pad=1, bias_term=False, weight_filler=dict(type='xavier'))
    (tmp_path / 'net.prototxt').write_text(str(spec.to_proto()))
    net = caffe.Net(str(tmp_path / 'net.prototxt'), caffe.TEST)
    for size in sizes:
        net.blobs['data'].reshape(1, 2, size, size)
        net.reshape()
        net.blobs['data'].data[...] = np.random.default_rng(size).standard_normal((1, 2, size, size))
        net.forward()
        same = dict(stride=(1, 1), pad=(1, 1), dilation=(1, 1))
        expected = convolve(net.blobs['data'].data[0], net.params['conv'][0].data, (size, size), **same)
        np.testing.assert_allclose(net.blobs['conv'].data[0], expected, rtol=0, atol=1e-4)
