"""The patches to Caffe's convolution: the shared im2col buffer, im2col by rows, and columns made in parts."""

import subprocess
import sys
import threading

import numpy as np
import pytest

from tools.support.caffe_import import import_caffe, net_of
from tools.support.paths import ROOT

caffe = import_caffe()
L = caffe.layers


def positions(x_shape, w_shape, stride, pad, dilation):
    """Triples (output position, tap, input position) of a convolution; those outside the input are left out."""
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
def net():
    """All the layers in one net, each with its own input, so that they use the shared buffer in turn."""
    spec = caffe.NetSpec()
    for name, (shape, channels, kernel, stride, pad, dilation, more) in LAYERS.items():
        spec[f'{name}_in'] = L.Input(shape=dict(dim=[2, *shape]))
        spec[name] = L.Convolution(
            spec[f'{name}_in'], num_output=channels, kernel_size=list(kernel), stride=list(stride), pad=list(pad),
            dilation=list(dilation), bias_term=False, **more,
        )  # fmt: skip
    message = spec.to_proto()
    message.force_backward = True
    net = net_of(message)
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
    """Both images of a batch give what nested loops give."""
    net.forward()
    blob = net.blobs[name].data
    expected = [convolve(x, net.params[name][0].data, blob.shape[2:], **geometry(name)) for x in net.blobs[f'{name}_in'].data]
    np.testing.assert_allclose(blob, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize('in_new_thread', [False, True])
def test_backward(net, in_new_thread):
    """All gradients are those of nested loops, even if another thread ran the forward pass, which sizes the buffer."""
    net.forward()
    for (weights,) in net.params.values():
        weights.diff[...] = 0  # Caffe adds to it
    if in_new_thread:
        thread = threading.Thread(target=net.backward)
        thread.start()
        thread.join()
    else:
        net.backward()
    for name in LAYERS:
        weights, inputs = net.params[name][0], net.blobs[f'{name}_in']
        pairs = zip(inputs.data, net.blobs[name].diff, strict=True)
        x_diffs, w_diffs = zip(*(gradients(x, weights.data, diff, **geometry(name)) for x, diff in pairs), strict=True)
        np.testing.assert_allclose(inputs.diff, x_diffs, rtol=0, atol=1e-4, err_msg=name)
        np.testing.assert_allclose(weights.diff, sum(w_diffs), rtol=0, atol=1e-4, err_msg=name)


def test_threads_do_not_share():
    """Two threads that convolve at once have a buffer each: every output is the image's value times 8 * 5 * 5."""
    spec = caffe.NetSpec()
    spec.data = L.Input(shape=dict(dim=[1, 8, 64, 64]))
    spec.conv = L.Convolution(spec.data, num_output=8, kernel_size=5, weight_filler=dict(type='constant', value=1))
    wrong = []

    def repeat(net, value):
        net.blobs['data'].data[...] = value
        for _ in range(50):
            net.forward()
            wrong.extend(np.unique(net.blobs['conv'].data[net.blobs['conv'].data != value * 200]))

    nets = [net_of(spec.to_proto()) for _ in range(2)]
    threads = [threading.Thread(target=repeat, args=(net, value)) for value, net in enumerate(nets, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_input_size_may_change():
    """A net that is reshaped, from each of three sizes to each other one, gives what loops give."""
    spec = caffe.NetSpec()
    spec.data = L.Input(shape=dict(dim=[1, 2, 8, 8]))
    spec.conv = L.Convolution(spec.data, num_output=3, kernel_size=3, pad=1, bias_term=False, weight_filler=dict(type='xavier'))
    net = net_of(spec.to_proto())
    for size in (6, 20, 11, 6, 11, 20, 6):
        net.blobs['data'].reshape(1, 2, size, size)
        net.reshape()
        net.blobs['data'].data[...] = np.random.default_rng(size).standard_normal((1, 2, size, size))
        net.forward()
        same = dict(stride=(1, 1), pad=(1, 1), dilation=(1, 1))
        expected = convolve(net.blobs['data'].data[0], net.params['conv'][0].data, (size, size), **same)
        np.testing.assert_allclose(net.blobs['conv'].data[0], expected, rtol=0, atol=1e-4)


# side, kernel, stride, pad, dilation, group: the columns of 64 channels far exceed 256 MiB, and the last part has fewer rows
IN_PARTS = {
    'plain': (450, 3, 1, 0, 1, 1),
    'dilated': (443, 3, 1, 4, 4, 1),
    'strided': (901, 3, 2, 1, 1, 1),
    'grouped': (447, 3, 1, 1, 1, 2),
}


def large_net(side, kernel, stride, pad, dilation, group):
    """A net of one convolution of 64 channels to 4, on random input."""
    spec = caffe.NetSpec()
    spec.data = L.Input(shape=dict(dim=[1, 64, side, side]))
    spec.conv = L.Convolution(
        spec.data, num_output=4, kernel_size=kernel, stride=stride, pad=pad, dilation=dilation, group=group,
        weight_filler=dict(type='gaussian', std=0.05), bias_filler=dict(type='constant', value=0.5),
    )  # fmt: skip
    net = net_of(spec.to_proto())
    net.blobs['data'].data[...] = np.random.default_rng(3).standard_normal((1, 64, side, side), dtype=np.float32)
    return net


@pytest.mark.parametrize('name', IN_PARTS)
def test_columns_in_parts(name):
    """The rows at the ends, and those where two parts meet, are sums of products in double precision."""
    side, kernel, stride, pad, dilation, group = IN_PARTS[name]
    net = large_net(*IN_PARTS[name])
    net.forward()
    padded = np.pad(net.blobs['data'].data[0].astype(np.float64), ((0, 0), (pad, pad), (pad, pad)))
    weights, bias = (blob.data.astype(np.float64) for blob in net.params['conv'])
    scores = net.blobs['conv'].data[0]
    height, width = scores.shape[1:]
    rows_in_part = (1 << 28) // (64 * kernel * kernel * width * 4)
    assert rows_in_part < height
    for row in {0, 1, rows_in_part - 1, rows_in_part, rows_in_part + 1, height - 2, height - 1}:
        expected = np.tile(bias[:, None], (1, width))
        for tap_row, tap_col in np.ndindex(kernel, kernel):
            line = padded[:, row * stride + tap_row * dilation, tap_col * dilation :: stride][:, :width]
            for part, block in enumerate(np.split(line, group)):
                outs = slice(part * 4 // group, (part + 1) * 4 // group)
                expected[outs] += weights[outs, :, tap_row, tap_col] @ block
        np.testing.assert_allclose(scores[:, row], expected, rtol=0, atol=2e-5)


def test_memory_of_columns_in_parts():
    """Columns of 1.1 GB take a quarter of that: what a process holds more after a forward pass, as the buffer is kept."""
    code = (
        'from pathlib import Path; from tests.test_caffe_build_convolutions import large_net\n'
        'net = large_net(700, 3, 1, 1, 1, 1)\n'
        'pages = lambda: int(Path("/proc/self/statm").read_text().split()[1])\n'
        'before = pages(); net.forward(); print((pages() - before) * 4096)'
    )
    finished = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True)
    columns = 64 * 9 * 700 * 700 * 4
    assert columns / 5 < int(finished.stdout.split()[-1]) < columns / 3
