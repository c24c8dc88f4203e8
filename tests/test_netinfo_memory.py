"""The memory estimate against what a process took, and the warning before a training."""

import tracemalloc

import pytest

from pretrained.caffemodel import read_net
from prototxt.experiments import STAGES
from prototxt.networks import training
from tools.bench import memory_estimates as bench
from tools.netinfo import fit
from tools.netinfo.memory_estimate import estimate
from tools.netinfo.net_table import memory_lines
from tools.netinfo.setup import PHASES, layers_of
from tools.netinfo.stages import stage_layers
from tools.support import memory_use
from tools.support.caffe_import import import_caffe

NEAR = 0.15


@pytest.mark.parametrize('case', [
    bench.Forward('large_toy', (564, 756), (192, 384)),
    bench.Training('toy-front', 564, 2),
    bench.Training('toy-basic', None, 8, (8, 96, 96)),
    bench.Training('voc-context-basic-reflect', None, 1, (22, 66, 66)),
], ids=['forward', 'images', 'maps', 'python'])  # fmt: skip
def test_the_estimate_is_near_the_peak(tmp_path, case):
    """Within 15 %, of real Caffe; larger networks are cases of `make bench PARTS=memory`."""
    guess, peak = case.run(tmp_path)
    assert abs(guess / peak - 1) < NEAR, (guess, peak)


def camvid_front(batch=1, gpu=False):
    return estimate(layers_of(training('camvid-front', 'x', 628, batch), 'train'), training=True, gpu=gpu)


def test_parts_of_a_training_by_hand():
    """Weights thrice; the largest column is that of conv1_2, 64 * 9 rows of 624x624.

    In the snapshot 14,714,688 values of conv1_1 to conv5_3, then fc6, whose 102,760,448 are more than 2^26: as they are moved
    from a field of 2^26 to one of 2^27, both are there.
    """
    found = camvid_front()
    weights = 4 * (134_260_544 + 11 * 4097)
    assert found.weights == found.weight_gradients == found.momentum == weights
    assert found.message == 4 * (14_714_688 + 2**26 + 2**26)
    assert found.column == 4 * 64 * 9 * 624 * 624


def test_the_upsampled_stage_of_cityscapes_by_hand():
    """The measured 0.18 GB that an earlier count missed: gradients beside the probabilities of the loss, and the record read."""
    pixels = 19 * 1024 * 2048
    found = stage_layers('cityscapes-context', training('cityscapes-context', 'x', None, 1), (128, 256))
    layers = {layer.name: layer.costs for layer in found}
    assert (layers['loss'].kept, layers['loss'].kept_host) == (pixels + 1024 * 2048, pixels)
    record = (19 + 64) * 128 * 256
    assert (layers['pair'].kept, layers['pair'].kept_host) == (3 * record, 2 * record)  # read ahead; bytes and Datum of the next


CRF_NET = """
layer {{ name: 'd' type: 'Input' top: 'unary' top: 'image' input_param {{
  shape {{ dim: {n} dim: 21 dim: 48 dim: 64 }} shape {{ dim: {n} dim: 3 dim: 48 dim: 64 }} }} }}
layer {{ name: 'crf' type: 'Python' bottom: 'unary' bottom: 'image' top: 'pred' python_param {{
  module: 'tools.crfs.crf_rnn_layers' layer: 'MultiStageMeanfield' param_str: '{{"iterations_train": 4}}' }} }}
force_backward: true
"""


@pytest.mark.parametrize('images', [1, 3])
@pytest.mark.parametrize('phase', ['train', 'test'])
def test_arrays_of_the_mean_field_are_those_that_are_made(tmp_path, images, phase):
    """What NumPy allocates in a pass of the real layer; on images of one colour, whose lattices have few vertices.

    Those are not counted, but take less than an array of an image; one array too few or too many would be seen.
    """
    caffe = import_caffe()
    (tmp_path / 'net.prototxt').write_text(CRF_NET.format(n=images))
    net = caffe.Net(str(tmp_path / 'net.prototxt'), PHASES[phase])
    net.forward()  # compiles
    net.layers[1]._kernel_hw = None  # and makes the spatial kernel anew, so that it is counted
    tracemalloc.start()
    try:
        net.forward()
        if phase == 'train':
            net.backward()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    made = layers_of(read_net(tmp_path / 'net.prototxt'), phase)[1].costs
    counted = 4 * (made.kept_host + (made.passing_training if phase == 'train' else made.passing))
    assert 0 <= peak - counted < 0.7 * images * (4 * 21 * 48 * 64)


def test_the_larger_of_snapshot_and_pass_is_the_peak_of_a_training():
    """CRF-RNN on stored scores of a narrow net has small weights: what it holds at work is the peak, and the summary says so."""
    net = training('camvid-cpu-front-crfrnn', 'x', None, 1)
    found = estimate(stage_layers('camvid-cpu-front-crfrnn', net, (45, 60)), training=True)
    assert found.passing > found.message
    assert found.host == found.program + found.kept_host + found.working + found.passing
    assert 'and what layers hold at work (' in memory_lines(found)
    assert 'and a snapshot as it is written (' in memory_lines(camvid_front())


def test_a_batch_doubles_blobs_and_no_more():
    """Weights and the buffer of one image stay."""
    one, two = camvid_front(1), camvid_front(2)
    assert (two.weights, two.column) == (one.weights, one.column)
    # the window that a label is cropped by is one for all images
    assert two.blobs == pytest.approx(2 * one.blobs, rel=1e-3) and two.blob_gradients == pytest.approx(
        2 * one.blob_gradients, rel=1e-9
    )


def test_a_gpu_holds_the_pass_and_the_host_the_weights():
    found = camvid_front(gpu=True)
    assert found.device > found.working > found.host > 2 * found.weights
    assert 'of the GPU (0.5 GB of it assumed for CUDA itself)' in memory_lines(found)


def test_what_is_the_hosts_is_not_taken_of_a_gpu():
    """The gradients that only the loss weight is written into; a GPU has its own, for the pixels that count."""
    layers = layers_of(training('cityscapes-joint', 'x', 1396, 1), 'train')
    host, device = (estimate(layers, training=True, gpu=gpu) for gpu in (False, True))
    assert host.host - host.program - host.message - host.working == host.kept_host >= 4 * 19 * 1024 * 1024
    assert device.working == host.working + 4 * 19 * 1024 * 1024


def test_reading_weights_can_be_the_peak():
    """On the smallest tile, the file beside the weights takes more than the pass."""
    from prototxt.networks import deploy

    found = estimate(layers_of(deploy('dilation8_camvid', size_hw=(380, 380)), 'test'), training=False, file_bytes=10**9)
    assert found.host == found.program + found.weights + 10**9 > found.program + found.working


@pytest.mark.parametrize(('available_kb', 'limit', 'expected'), [
    (5_000_000, None, 5_000_000 * 1024), (5_000_000, ('max', '7'), 5_000_000 * 1024),
    (5_000_000, ('3000000000', '1000000000'), 2_000_000_000), (1000, ('3000000000', '1000000000'), 1_024_000),
])  # fmt: skip
def test_free_memory_knows_containers(tmp_path, monkeypatch, available_kb, limit, expected):
    """The machine's, or what a container's limit leaves if that is less."""
    (tmp_path / 'meminfo').write_text(f'MemTotal: 9 kB\nMemAvailable:   {available_kb} kB\n')
    for name, text in zip(('memory.max', 'memory.current'), limit or (), strict=False):
        (tmp_path / name).write_text(f'{text}\n')
    monkeypatch.setattr(memory_use, 'MEMINFO', tmp_path / 'meminfo')
    monkeypatch.setattr(memory_use, 'CGROUP', tmp_path)
    assert memory_use.available_bytes() == expected


def test_a_training_that_will_not_fit_is_warned_of(monkeypatch, capsys):
    """With what would help; nothing where it fits."""
    net = training('camvid-front', 'x', 628, 8)
    monkeypatch.setattr(fit, 'available_bytes', lambda: 1e12)
    fit.warn_of_memory('camvid-front', net, 8)
    assert not capsys.readouterr().err
    monkeypatch.setattr(fit, 'available_bytes', lambda: 3e9)
    fit.warn_of_memory('camvid-front', net, STAGES['camvid-front'].batch_per_pass)
    said = capsys.readouterr().err
    assert said.startswith('warning: camvid-front takes about ') and '3.00 GB are free; BATCH_PER_PASS= ' in said
    fit.warn_of_memory('camvid-front', net, 1)
    assert 'BATCH_PER_PASS' not in capsys.readouterr().err


def test_columns_in_bands_on_a_gpu(monkeypatch):
    """At 1396x1396 conv1_2 has 1392 rows of 64 x 9 x 1392 floats of columns, of which 1024 MiB hold 334; the most they hold
    is of conv2_1, 671 of its 694 rows of 64 x 9 x 694 floats."""
    layers = layers_of(training('cityscapes-joint', 'lmdb', 1396, 1), 'train')
    whole = estimate(layers, training=True, gpu=True).column
    monkeypatch.setenv('CAFFE_COLUMN_MIB', '1024')
    assert (whole, estimate(layers, training=True, gpu=True).column) == (64 * 9 * 1392 * 1392 * 4, 64 * 9 * 694 * 671 * 4)
    assert estimate(layers, training=True).column == whole
