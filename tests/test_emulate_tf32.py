"""TF32 by rounding on the CPU: the rounding itself, and that each convolution of a net multiplies rounded factors."""

import numpy as np
import pytest

from prototxt.networks import deploy
from tests.narrow_nets import narrow_nets  # noqa: F401
from tests.toy_nets import random_weights
from tools.gpu_bench.emulate_tf32 import Moved, line, main, round_factors, to_tf32
from tools.inference.caffe_net import forward, load_net
from tools.support.errors import UserError


@pytest.mark.parametrize(
    ('value', 'rounded'),
    [
        (1.0, 1.0), (1 + 2**-10, 1 + 2**-10), (1 + 2**-12, 1.0), (1 + 2**-11, 1 + 2**-10), (-1 - 2**-11, -1 - 2**-10),
        (2 - 2**-13, 2.0), (0.0, 0.0),
    ],
)  # fmt: skip
def test_ten_bits_of_mantissa_are_left(value, rounded):
    """To the nearest, halves away from zero, into the next power of two where that is nearest."""
    assert to_tf32(np.array([[value]], np.float32)) == np.array([[rounded]], np.float32)


@pytest.mark.usefixtures('narrow_nets')
def test_every_convolution_multiplies_rounded_factors(tmp_path):
    """Inputs, of the first layer too, and weights; the net's outputs move, and not far."""
    weights = random_weights('dilation8_camvid', tmp_path / 'weights.caffemodel')
    message = deploy('dilation8_camvid', size_hw=(380, 388))
    plain, rounded = (load_net(message, [weights]) for _ in range(2))
    image = np.random.default_rng(0).normal(0, 60, (3, 380, 388)).astype(np.float32)
    round_factors(rounded)
    before, after = forward(plain, image), forward(rounded, image)
    assert not np.array_equal(before, after)
    np.testing.assert_allclose(after, before, atol=2e-2)
    for name, blobs in rounded.params.items():
        read = rounded.blobs[rounded.bottom_names[name][0]].data
        np.testing.assert_array_equal(read, to_tf32(read), name)
        np.testing.assert_array_equal(blobs[0].data, to_tf32(plain.params[name][0].data), name)


def test_what_is_said_of_two_images():
    """The largest of both, and labels of all pixels."""
    said = line('2 images', [Moved(0.25, 0.001, 1, 1000), Moved(0.5, 0.003, 3, 1000)])
    assert said == '2 images: probabilities move by 2.0e-03 on average, 5.0e-01 at most; 0.200 % of the labels change'


def test_a_missing_image_is_told_before_weights_are_looked_for(tmp_path):
    """As tools/predict.py does."""
    with pytest.raises(UserError, match=f'no image at {tmp_path}/none.png'):
        main(['--net', 'front_toy', '--weights', str(tmp_path / 'none'), '--images', str(tmp_path / 'none.png')])
