"""The memory estimate, against real processes and against counts by hand."""

import tracemalloc

import pytest

from prototxt.networks import deploy, training
from tests.narrow_nets import parsed
from tools.bench import memory_estimates as bench
from tools.netinfo.memory_estimate import estimate
from tools.netinfo.net_table import memory_lines
from tools.netinfo.setup import layers_of
from tools.netinfo.stages import stage_layers
from tools.support.caffe_import import net_of
from tools.support.cpu_engine import ONEDNN, ONEDNN_BF16, fault_of


@pytest.mark.parametrize('case', [
    bench.Forward('large_toy', (564, 756), (192, 384)),
    bench.Training('toy-front', 564, 2),
    bench.Training('toy-basic', None, 8, (8, 96, 96)),
    bench.Training('voc-context-basic-reflect', None, 1, (22, 66, 66)),
], ids=['forward', 'images', 'maps', 'python'])  # fmt: skip
def test_the_estimate_is_near_the_peak(tmp_path, case):
    """Within 15 % of what a process of real Caffe takes; `make bench PARTS=memory` does the same for larger networks."""
    guess, peak = case.run(tmp_path)
    assert abs(guess / peak - 1) < 0.15, (guess, peak)


@pytest.mark.parametrize('engine', [ONEDNN, ONEDNN_BF16])
@pytest.mark.parametrize('case', [
    bench.Forward('front_camvid_fc512', (500, 500), (128, 128)),
    bench.Training('toy-front', 564, 2),
], ids=['forward', 'training'])  # fmt: skip
def test_the_estimate_is_near_the_peak_of_another_engine(tmp_path, case, engine, monkeypatch):
    """oneDNN copies each layer's input, weights and output, and needs no im2col buffer."""
    if fault_of(engine):
        pytest.skip(fault_of(engine))
    monkeypatch.setenv('CAFFE_ENGINE', engine)
    guess, peak = case.run(tmp_path)
    assert abs(guess / peak - 1) < 0.15, (guess, peak)


def test_copies_of_onednn_by_hand(monkeypatch):
    """fc6 has the most: 411 MB of weight gradients, and two factors as bfloat16. conv1_2 has most to transpose, twice."""
    monkeypatch.setattr('tools.netinfo.memory_estimate.engine_in_use', lambda: ONEDNN_BF16)
    fc6 = 4 * 512 * 4096 * 49 + 2 * (512 * 56 * 56 + 4096 * 32 * 32)
    assert camvid_front().column == fc6 + 2 * 2 * 64 * (626**2 + 624**2)


def camvid_front(batch=1, gpu=False):
    """The estimate of the stage camvid-front at its crop of 628."""
    return estimate(layers_of(training('camvid-front', 'x', 628, batch), 'train'), training=True, gpu=gpu)


def test_parts_of_a_training_by_hand():
    """Weights are there three times; the largest columns are those of conv1_2, 64 * 9 rows of 624x624.

    A snapshot has 14,714,688 values of conv1_1 to conv5_3, then fc6 with 102,760,448. Those are more than 2^26, so they move
    from a field of 2^26 values to one of 2^27, and both exist for a moment.
    """
    found = camvid_front()
    weights = 4 * (134_260_544 + 11 * 4097)
    assert found.weights == found.weight_gradients == found.momentum == weights
    assert found.message == 4 * (14_714_688 + 2**26 + 2**26)
    assert found.column == 4 * 64 * 9 * 624 * 624


def test_the_upsampled_stage_of_cityscapes_by_hand():
    """The loss keeps gradients beside its probabilities, and the Data layer keeps the record that it reads."""
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
def test_arrays_of_the_mean_field_are_those_that_are_made(images, phase):
    """The count is what NumPy allocates in a pass of the real layer.

    The images have one colour, so that their lattices have few vertices. Vertices are not counted but take less than one array
    of an image, so the test sees one array too few or too many.
    """
    message = parsed(CRF_NET.format(n=images))
    net = net_of(message, phase)

    def one_pass():
        net.forward()
        if phase == 'train':
            net.backward()

    one_pass()  # compiles
    net.layers[1]._kernel_hw = None  # the spatial kernel is made again, so that it is counted
    tracemalloc.start()
    try:
        one_pass()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    made = layers_of(message, phase)[1].costs
    counted = 4 * (made.kept_host + (made.passing_training if phase == 'train' else made.passing))
    assert 0 <= peak - counted < 0.7 * images * (4 * 21 * 48 * 64)


def test_the_larger_of_snapshot_and_pass_is_the_peak_of_a_training():
    """CRF-RNN on stored scores has small weights, so its pass is the peak; the front end's peak is its snapshot."""
    net = training('camvid-cpu-front-crfrnn', 'x', None, 1)
    found = estimate(stage_layers('camvid-cpu-front-crfrnn', net, (45, 60)), training=True)
    assert found.passing > found.message
    assert found.host == found.program + found.kept_host + found.working + found.passing
    assert 'and what layers hold at work (' in memory_lines(found)
    assert 'and a snapshot as it is written (' in memory_lines(camvid_front())


def test_a_batch_doubles_blobs_and_no_more():
    """Weights and the im2col buffer, which is for one image, stay."""
    one, two = camvid_front(1), camvid_front(2)
    assert (two.weights, two.column) == (one.weights, one.column)
    assert two.blobs == pytest.approx(2 * one.blobs, rel=1e-3)  # all images share the window that crops the labels
    assert two.blob_gradients == pytest.approx(2 * one.blob_gradients, rel=1e-9)


def test_a_gpu_holds_the_pass_and_the_host_the_weights():
    """The GPU's memory is the larger one, and the summary says that CUDA's part is assumed."""
    found = camvid_front(gpu=True)
    assert found.device > found.working > found.host > 2 * found.weights
    assert 'of the GPU (0.5 GB of it assumed for CUDA itself)' in memory_lines(found)


def test_gradients_that_the_loss_keeps_on_the_host_are_not_on_a_gpu():
    """Only the loss weight is written into them; a GPU has its own, for the pixels that count."""
    layers = layers_of(training('cityscapes-joint', 'x', 1396, 1), 'train')
    host, device = (estimate(layers, training=True, gpu=gpu) for gpu in (False, True))
    assert host.host - host.program - host.message - host.working == host.kept_host >= 4 * 19 * 1024 * 1024
    assert device.working == host.working + 4 * 19 * 1024 * 1024


def test_reading_weights_can_be_the_peak():
    """On the smallest tile, the file beside the weights takes more than the pass."""
    found = estimate(layers_of(deploy('dilation8_camvid', size_hw=(380, 380)), 'test'), training=False, file_bytes=10**9)
    assert found.host == found.program + found.weights + 10**9 > found.program + found.working


def test_columns_in_bands_on_a_gpu(monkeypatch):
    """At 1396x1396 conv1_2 has columns of 1392 rows of 64 x 9 x 1392 floats.

    1024 MiB hold 334 of these rows. The largest band is conv2_1's: 671 of its 694 rows of 64 x 9 x 694 floats.
    """
    layers = layers_of(training('cityscapes-joint', 'lmdb', 1396, 1), 'train')
    whole = estimate(layers, training=True, gpu=True).column
    monkeypatch.setenv('CAFFE_COLUMN_MIB', '1024')
    assert (whole, estimate(layers, training=True, gpu=True).column) == (64 * 9 * 1392 * 1392 * 4, 64 * 9 * 694 * 671 * 4)
    assert estimate(layers, training=True).column == whole
