"""Identity initialization: compared with the paper's equations written as loops, and run in real Caffe."""

import numpy as np
import pytest

from dataset_prep.datasets import dataset
from pretrained import caffemodel, identity
from pretrained.identity import identity_kernel, identity_weights
from prototxt.experiments import NETS
from prototxt.networks import deploy, write
from tools.support.caffe_import import import_caffe
from tools.support.errors import UserError

caffe = import_caffe()
WITH_CONTEXT = [name for name, row in NETS.items() if row.context]


def by_loops(c_in, c_out, size, num_classes, noise):
    """Paper eq. 5, element by element; `noise` is the equation's epsilon."""
    weights = np.array(noise)
    for b in range(c_out):
        for a in range(c_in):
            if (a * num_classes) // c_in == (b * num_classes) // c_out:
                weights[b, a, size // 2, size // 2] = num_classes / c_out
    return weights


@pytest.mark.parametrize(('c_in', 'c_out', 'size'), [(3, 3, 3), (3, 6, 3), (6, 12, 3), (12, 6, 3), (6, 6, 3), (24, 3, 1)])
@pytest.mark.parametrize('std', [0, 0.5])
def test_kernel_is_equation_5(c_in, c_out, size, std):
    """In groups of channels, with noise at every place. With c_in = c_out = C it is equation 4."""
    noise = np.random.default_rng(7).normal(0, std, (c_out, c_in, size, size)).astype(np.float32)
    found = identity_kernel(c_in, c_out, size, 3, std, np.random.default_rng(7))
    assert found.dtype == np.float32
    assert np.array_equal(found, by_loops(c_in, c_out, size, 3, noise))


def test_channel_numbers_that_are_no_multiples_of_the_classes_are_refused():
    """Paper Sec. 3: C divides both c_i and c_{i+1}."""
    with pytest.raises(ValueError, match='3 classes do not divide 6 and 7'):
        identity_kernel(6, 7, 3, 3, 0, np.random.default_rng(0))


def test_noise_is_the_authors():
    """Outside the centre taps: mean 0 and standard deviation 0.01 C / c, within five standard errors."""
    for name, multiple in (('ct_conv1_1', 2), ('ct_conv4_1', 16), ('ct_fc1', 32)):
        weights, _ = identity_weights('dilation8_pascal_voc')[name]
        noise = weights[:, :, 0, 0]  # a corner: no centre tap here
        std = 0.01 / multiple
        error = std / np.sqrt(noise.size)
        assert abs(noise.mean()) < 5 * error and abs(noise.std() - std) < 5 * error
    off_group = weights[0, 32:, 1, 1]  # output 0 belongs to class 0, whose inputs are maps 0 to 31
    assert np.count_nonzero(off_group) == off_group.size and abs(off_group).max() < 0.1


@pytest.mark.parametrize('name', WITH_CONTEXT)
def test_noise_is_far_below_the_centre_tap(name):
    """sigma << C / c_{i+1} (paper eq. 5): at most a fiftieth of the tap in each layer."""
    for layer, (weights, _) in identity_weights(name).items():
        tap = weights.max()  # the largest weight: a centre tap
        assert np.median(abs(weights)) / 0.6745 < tap / 50, layer  # 0.6745: the median of |N(0, 1)|


def test_seed_repeats_and_layers_differ():
    """A seed always gives the same values; other seeds and other layers have other noise."""
    one, again, other = (identity_weights('dilation8_camvid', seed=seed) for seed in (1, 1, 2))
    assert all(np.array_equal(one[name][0], again[name][0]) for name in one)
    assert not np.array_equal(one['ctx_conv1_1'][0], other['ctx_conv1_1'][0])
    assert not np.array_equal(one['ctx_conv1_1'][0], one['ctx_conv1_2'][0])


@pytest.mark.parametrize('name', [name for name in WITH_CONTEXT if not NETS[name].crf_rnn])
def test_file_covers_the_context_module(tmp_path, name):
    """It has exactly the layers after the front end's scores, in their shapes."""
    path = tmp_path / 'identity.caffemodel'
    identity.main([name, '--out', str(path)])
    start = NETS[name].front_end.final
    caffemodel.check(deploy(name, start=start), [path])
    assert len(caffemodel.load(path)) == NETS[name].layers


@pytest.mark.parametrize('name', ['basic_toy', 'large_toy', 'dilation8_pascal_voc', 'dilation7_kitti'])
def test_without_noise_real_caffe_passes_the_input(tmp_path, name):
    """For any non-negative input, in Basic and Large, padded at each layer or once."""
    row = NETS[name]
    net_file, weights_file = tmp_path / 'net.prototxt', tmp_path / 'w.caffemodel'
    write(deploy(name, start=row.front_end.final, size_hw=(5, 7)), net_file)
    caffemodel.write(weights_file, identity_weights(name, noise_std=0))
    net = caffe.Net(str(net_file), str(weights_file), caffe.TEST)
    scores = np.random.default_rng(0).uniform(0, 9, (1, dataset(row.dataset).num_classes, 5, 7)).astype(np.float32)
    net.blobs[row.front_end.final].data[...] = scores
    net.forward()
    last = f'{row.context.prefix}_final'
    assert np.allclose(net.blobs[last].data, scores, rtol=1e-5, atol=1e-5)


def test_a_net_without_context_is_refused():
    """The message lists the nets with one."""
    with pytest.raises(UserError, match='front_camvid has no context module; these have: dilation8_pascal_voc'):
        identity_weights('front_camvid')


def test_command_resolves_names_and_reports(tmp_path, capsys):
    """A short name works; negative noise is refused."""
    path = tmp_path / 'x.caffemodel'
    identity.main(['dilation10', '--out', str(path), '--noise-std', '0'])
    assert f'{path}: 10 layers, 29,792 parameters, noise 0.0' in capsys.readouterr().out
    with pytest.raises(UserError, match='negative'):
        identity.main(['dilation10', '--out', str(path), '--noise-std', '-1'])
