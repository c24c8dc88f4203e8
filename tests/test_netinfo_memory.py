"""The memory estimate against what a process took, and the warning before a training."""

import pytest

from prototxt.experiments import STAGES
from prototxt.networks import training
from tools.netinfo import bench, free
from tools.netinfo.inference import layers_of
from tools.netinfo.memory import estimate
from tools.netinfo.summary import memory_lines

NEAR = 0.15


@pytest.mark.parametrize('case', [
    bench.Forward('large_toy', (564, 948), (192, 576)),
    bench.Training('toy-front', 564, 2),
    bench.Training('toy-basic', None, 8, (8, 96, 96)),
], ids=['forward', 'images', 'maps'])  # fmt: skip
def test_the_estimate_is_near_the_peak(tmp_path, case):
    """Within 15 %, of real Caffe; larger networks are cases of `make bench-memory`."""
    guess, peak = case.run(tmp_path)
    assert abs(guess / peak - 1) < NEAR, (guess, peak)


def camvid_front(batch=1, gpu=False):
    return estimate(layers_of(training('camvid-front', 'x', 628, batch), 'train'), training=True, gpu=gpu)


def test_parts_of_a_training_by_hand():
    """Weights thrice, and in the snapshot; the largest column is that of conv1_2, 64 * 9 rows of 624x624."""
    found = camvid_front()
    weights = 4 * (134_260_544 + 11 * 4097)
    assert found.weights == found.weight_gradients == found.momentum == found.message == weights
    assert found.column == 4 * 64 * 9 * 624 * 624


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
    assert 'of the GPU (not measured)' in memory_lines(found)


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
    monkeypatch.setattr(free, 'MEMINFO', tmp_path / 'meminfo')
    monkeypatch.setattr(free, 'CGROUP', tmp_path)
    assert free.host_free() == expected


def test_a_training_that_will_not_fit_is_warned_of(monkeypatch, capsys):
    """With what would help; nothing where it fits, or where nothing tells what is free."""
    net = training('camvid-front', 'x', 628, 8)
    for bytes_free in (1e12, None):
        monkeypatch.setattr(free, 'host_free', lambda size=bytes_free: size)
        free.warn_of_memory('camvid-front', net, 8)
    assert not capsys.readouterr().err
    monkeypatch.setattr(free, 'host_free', lambda: 3e9)
    free.warn_of_memory('camvid-front', net, STAGES['camvid-front'].batch_per_pass)
    said = capsys.readouterr().err
    assert said.startswith('warning: camvid-front takes about ') and '3.00 GB are free; BATCH_PER_PASS= ' in said
    free.warn_of_memory('camvid-front', net, 1)
    assert 'BATCH_PER_PASS' not in capsys.readouterr().err
