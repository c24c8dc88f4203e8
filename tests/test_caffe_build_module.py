"""What the patches mend in Caffe's loading of weights and in its Python package, on today's libraries."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from skimage.io import imsave

from prototxt import networks
from tools.support.caffe_import import import_caffe

caffe = import_caffe()
L = caffe.layers


@pytest.fixture
def memory_folder(tmp_path):
    """A folder in memory where the system has one, for files of half a gigabyte that disks are slow to write."""
    shared = Path('/dev/shm')
    roomy = shared.is_dir() and shutil.disk_usage(shared).free > 1 << 30
    with tempfile.TemporaryDirectory(dir=shared if roomy else tmp_path) as folder:
        yield Path(folder)


def test_weights_larger_than_512_mib_load(memory_folder):
    """The full-size VGG front end, written and read back: every value returns."""
    networks.write(networks.deploy('front_camvid', size_hw=(380, 380)), memory_folder / 'net.prototxt')
    net, other = (caffe.Net(str(memory_folder / 'net.prototxt'), caffe.TEST) for _ in range(2))
    for blobs in net.params.values():
        for blob in blobs:
            blob.data.flat[::4097] = 1 + np.arange(len(blob.data.flat[::4097]))
    path = memory_folder / 'large.caffemodel'
    net.save(str(path))
    assert path.stat().st_size > 512 << 20
    other.copy_from(str(path))
    for name, blobs in net.params.items():
        for blob, again in zip(blobs, other.params[name], strict=True):
            assert np.array_equal(blob.data, again.data), name


def test_weights_load_from_hdf5(tmp_path):
    """`weights` may be an HDF5 file, as in BVLC's own Caffe."""
    spec = caffe.NetSpec()
    spec.data = L.Input(shape=dict(dim=[1, 2, 4, 4]))
    spec.conv = L.Convolution(spec.data, num_output=3, kernel_size=3, weight_filler=dict(type='gaussian', std=1))
    (tmp_path / 'net.prototxt').write_text(str(spec.to_proto()))
    first, second = (caffe.Net(str(tmp_path / 'net.prototxt'), caffe.TEST) for _ in range(2))
    first.save_hdf5(str(tmp_path / 'weights.h5'))
    assert not np.array_equal(first.params['conv'][0].data, second.params['conv'][0].data)
    second.copy_from(str(tmp_path / 'weights.h5'))
    assert np.array_equal(first.params['conv'][0].data, second.params['conv'][0].data)


def test_datum_round_trip():
    """Bytes of a Datum come back as a writable uint8 array of the same shape."""
    image = np.random.default_rng(1).integers(0, 256, (4, 5, 7), dtype=np.uint8)
    datum = caffe.io.array_to_datum(image, label=3)
    back = caffe.io.datum_to_array(datum)
    assert datum.data == image.tobytes()
    assert back.dtype == np.uint8 and np.array_equal(back, image) and back.flags.writeable


def test_load_image(tmp_path):
    """Colour as RGB in [0, 1], grey as one channel."""
    imsave(tmp_path / 'image.png', np.array([[[255, 0, 51], [0, 0, 0]]], np.uint8), check_contrast=False)
    colour = caffe.io.load_image(str(tmp_path / 'image.png'))
    grey = caffe.io.load_image(str(tmp_path / 'image.png'), color=False)
    np.testing.assert_allclose(colour, [[[1, 0, 0.2], [0, 0, 0]]], atol=1e-6)
    np.testing.assert_allclose(grey, [[[0.2125 + 0.2 * 0.0721], [0]]], atol=1e-6)  # Rec. 709 luma


def test_resize_image_does_not_blur():
    """Half the size, by interpolation alone: 0.5 input pixels off the centre, so the mean of 2x2 and nothing of the next ones."""
    image = np.zeros((8, 8, 3), np.float32)
    image[4, 4] = 1
    small = caffe.io.resize_image(image, (4, 4))
    expected = np.zeros((4, 4, 3))
    expected[2, 2] = 0.25
    np.testing.assert_allclose(small, expected, atol=1e-6)


def test_oversample_and_transformer():
    """The ten crops, and the way to Caffe's input and back."""
    image = np.random.default_rng(1).random((6, 8, 3)).astype(np.float32)
    crops = caffe.io.oversample([image], (4, 4))
    assert crops.shape == (10, 4, 4, 3)
    assert np.array_equal(crops[4], image[1:5, 2:6]) and np.array_equal(crops[9], image[1:5, 2:6][:, ::-1])
    transformer = caffe.io.Transformer({'data': (1, 3, 6, 8)})
    transformer.set_transpose('data', (2, 0, 1))
    transformer.set_channel_swap('data', (2, 1, 0))
    transformer.set_mean('data', np.array([0.1, 0.2, 0.3]))
    ready = transformer.preprocess('data', image)
    np.testing.assert_allclose(ready, image[..., ::-1].transpose(2, 0, 1) - np.array([0.1, 0.2, 0.3])[:, None, None], atol=1e-6)
    np.testing.assert_allclose(transformer.deprocess('data', ready), image, atol=1e-6)


TOGETHER = """
import {first}, {second}
import numpy as np
image = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)
assert np.array_equal(cv2.imdecode(cv2.imencode('.png', image)[1], cv2.IMREAD_COLOR), image)
datum = caffe.proto.caffe_pb2.Datum(data=cv2.imencode('.png', image)[1].tobytes(), encoded=True)
with lmdb.open('db', map_size=1 << 20) as environment, environment.begin(write=True) as transaction:
    transaction.put(b'0', datum.SerializeToString())
open('net.prototxt', 'w').write(
    'layer {{ name: "data" type: "Data" top: "data" data_param {{ source: "db" backend: LMDB batch_size: 1 }} }}')
net = caffe.Net('net.prototxt', caffe.TEST)
assert np.array_equal(net.forward()['data'][0].transpose(1, 2, 0), image)
"""


@pytest.mark.parametrize(('first', 'second'), [('cv2', 'caffe'), ('caffe', 'cv2')])
def test_two_opencvs_in_one_process(first, second, tmp_path):
    """The OpenCV of the package opencv-python and Debian's, which Caffe decodes with, get along, in either order."""
    program = 'import lmdb\n' + TOGETHER.format(first=first, second=second)
    finished = subprocess.run([sys.executable, '-c', program], cwd=tmp_path, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


PYTHON_LAYER = """
import caffe

class Doubles(caffe.Layer):
    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = 2 * bottom[0].data
"""


def test_python_layer(tmp_path, monkeypatch):
    """A layer written in Python, with today's NumPy."""
    (tmp_path / 'doubles.py').write_text(PYTHON_LAYER)
    monkeypatch.syspath_prepend(tmp_path)
    spec = caffe.NetSpec()
    spec.data = L.Input(shape=dict(dim=[2, 3]))
    spec.twice = L.Python(spec.data, module='doubles', layer='Doubles')
    (tmp_path / 'net.prototxt').write_text(str(spec.to_proto()))
    net = caffe.Net(str(tmp_path / 'net.prototxt'), caffe.TEST)
    out = net.forward(data=np.arange(6).reshape(2, 3))
    assert out['twice'].tolist() == [[0, 2, 4], [6, 8, 10]]
