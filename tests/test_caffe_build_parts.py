"""A convolution whose columns are too many for one part: made some rows at a time, with the same result and less memory."""

import subprocess
import sys

import numpy as np
import pytest

from tools.support.caffe_import import import_caffe
from tools.support.paths import ROOT

caffe = import_caffe()
L = caffe.layers

# side, kernel, stride, pad, dilation, group: columns of 64 channels far above 256 MiB, with a last part of fewer rows
GEOMETRIES = {
    'plain': (450, 3, 1, 0, 1, 1),
    'dilated': (443, 3, 1, 4, 4, 1),
    'strided': (901, 3, 2, 1, 1, 1),
    'grouped': (447, 3, 1, 1, 1, 2),
}


def make_net(folder, side, kernel, stride, pad, dilation, group):
    """A net of one convolution of 64 channels to 4, on random input."""
    spec = caffe.NetSpec()
    spec.data = L.Input(shape=dict(dim=[1, 64, side, side]))
    spec.conv = L.Convolution(
        spec.data, num_output=4, kernel_size=kernel, stride=stride, pad=pad, dilation=dilation, group=group,
        weight_filler=dict(type='gaussian', std=0.05), bias_filler=dict(type='constant', value=0.5),
    )  # fmt: skip
    (folder / 'net.prototxt').write_text(str(spec.to_proto()))
    net = caffe.Net(str(folder / 'net.prototxt'), caffe.TEST)
    net.blobs['data'].data[...] = np.random.default_rng(3).standard_normal((1, 64, side, side), dtype=np.float32)
    return net


@pytest.mark.parametrize('name', GEOMETRIES)
def test_equals_sums_of_products(name, tmp_path):
    """Every output of some rows, those at the ends and those where parts meet among them, in double precision."""
    side, kernel, stride, pad, dilation, group = GEOMETRIES[name]
    net = make_net(tmp_path, *GEOMETRIES[name])
    net.forward()
    padded = np.pad(net.blobs['data'].data[0].astype(np.float64), ((0, 0), (pad, pad), (pad, pad)))
    weights, bias = (blob.data.astype(np.float64) for blob in net.params['conv'])
    scores = net.blobs['conv'].data[0]
    height, width = scores.shape[1:]
    in_part = (1 << 28) // (64 * kernel * kernel * width * 4)  # rows
    assert in_part < height
    for row in {0, 1, in_part - 1, in_part, in_part + 1, height - 2, height - 1}:
        expected = np.tile(bias[:, None], (1, width))
        for tap_row, tap_col in np.ndindex(kernel, kernel):
            line = padded[:, row * stride + tap_row * dilation, tap_col * dilation :: stride][:, :width]
            for part, block in enumerate(np.split(line, group)):
                outs = slice(part * 4 // group, (part + 1) * 4 // group)
                expected[outs] += weights[outs, :, tap_row, tap_col] @ block
        np.testing.assert_allclose(scores[:, row], expected, rtol=0, atol=2e-5)


def test_memory(tmp_path):
    """Columns of 1.1 GB cost a quarter of that: what a process has more after a forward pass, the buffer being kept."""
    code = (
        'import sys; from pathlib import Path; from tests.test_caffe_build_parts import make_net\n'
        'net = make_net(Path(sys.argv[1]), 700, 3, 1, 1, 1, 1)\n'
        'pages = lambda: int(Path("/proc/self/statm").read_text().split()[1])\n'
        'before = pages(); net.forward(); print((pages() - before) * 4096)'
    )
    finished = subprocess.run([sys.executable, '-c', code, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True)
    columns = 64 * 9 * 700 * 700 * 4
    assert columns / 5 < int(finished.stdout.split()[-1]) < columns / 3
