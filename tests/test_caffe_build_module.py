"""What the patches mend in Caffe's Python package on today's libraries, and what a failed CHECK does."""

import subprocess
import sys

import numpy as np
import pytest
from skimage.io import imsave

from tools.support.caffe_import import import_caffe
from tools.support.paths import ROOT

caffe = import_caffe()


def test_datum_round_trip():
    """Bytes of a Datum come back as a writable uint8 array of the same shape."""
    image = np.random.default_rng(1).integers(0, 256, (4, 5, 7), dtype=np.uint8)
    datum = caffe.io.array_to_datum(image, label=3)
    back = caffe.io.datum_to_array(datum)
    assert datum.data == image.tobytes()
    assert back.dtype == np.uint8 and np.array_equal(back, image) and back.flags.writeable


def test_load_image(tmp_path):
    """A colour image is RGB in [0, 1]; a grey one has one channel."""
    imsave(tmp_path / 'image.png', np.array([[[255, 0, 51], [0, 0, 0]]], np.uint8), check_contrast=False)
    colour = caffe.io.load_image(str(tmp_path / 'image.png'))
    grey = caffe.io.load_image(str(tmp_path / 'image.png'), color=False)
    np.testing.assert_allclose(colour, [[[1, 0, 0.2], [0, 0, 0]]], atol=1e-6)
    np.testing.assert_allclose(grey, [[[0.2125 + 0.2 * 0.0721], [0]]], atol=1e-6)  # Rec. 709 luma


def test_resize_image_does_not_blur():
    """At half the size each pixel is the mean of its own 2x2, with nothing of the pixels around them."""
    image = np.zeros((8, 8, 3), np.float32)
    image[4, 4] = 1
    expected = np.zeros((4, 4, 3))
    expected[2, 2] = 0.25
    np.testing.assert_allclose(caffe.io.resize_image(image, (4, 4)), expected, atol=1e-6)


def test_oversample_and_transformer():
    """The ten crops; and an image in the form of Caffe's input, and back."""
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
import lmdb
import {first}, {second}
import numpy as np
from tools.caffe_build.probe import net_of
image = np.random.default_rng(1).integers(0, 256, (30, 40, 3), dtype=np.uint8)
assert np.array_equal(cv2.imdecode(cv2.imencode('.png', image)[1], cv2.IMREAD_COLOR), image)
datum = caffe.proto.caffe_pb2.Datum(data=cv2.imencode('.png', image)[1].tobytes(), encoded=True)
with lmdb.open('db', map_size=1 << 20) as environment, environment.begin(write=True) as transaction:
    transaction.put(b'0', datum.SerializeToString())
net = net_of('layer {{ name: "data" type: "Data" top: "data" data_param {{ source: "db" backend: LMDB batch_size: 1 }} }}', caffe)
assert np.array_equal(net.forward()['data'][0].transpose(1, 2, 0), image)
"""


@pytest.mark.parametrize(('first', 'second'), [('cv2', 'caffe'), ('caffe', 'cv2')])
def test_two_opencvs_in_one_process(first, second, tmp_path):
    """The package opencv-python and Debian's OpenCV, with which Caffe decodes, work side by side in either order."""
    program = TOGETHER.format(first=first, second=second)
    finished = subprocess.run([sys.executable, '-c', program], cwd=tmp_path, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def test_a_failed_check_is_a_line_and_status_1(tmp_path):
    """A CHECK that fails in Caffe ends a command with one line and status 1, not with abort() and a core dump."""
    (tmp_path / 'net.prototxt').write_text('layer { name: "a" type: "Nope" top: "a" }')
    code = 'import sys; from tools.support.caffe_import import import_caffe\nimport_caffe().Net(sys.argv[1], 1)'
    command = [sys.executable, '-c', code, str(tmp_path / 'net.prototxt')]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 1
    assert 'Unknown layer type: Nope' in finished.stderr
    assert finished.stderr.endswith('error: Caffe stopped; the failed check is named above\n')
