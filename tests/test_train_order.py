"""Trainings that stop and continue: they read the same records and get the same losses as one without a stop."""

import os
import random
import resource
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from dataset_prep.lmdb_writer import iterate
from pretrained import caffemodel
from tests.train_data import alive, begin, caffe_of, finish, iterations, kill_all, losses, sessions, wait_for
from tools.training import record_order
from tools.training.run_folder import newest_snapshot
from tools.training.snapshots import snapshots

BATCH = 4  # of 6 records: an epoch ends in the middle of a batch


def words(maps, run_dir, iters, *more):
    """The words of a command that trains Basic; nothing in it is random."""
    return 'toy-basic', '--lmdb', maps, '--run-dir', run_dir, '--batch', BATCH, '--iters', iters, '--snapshot', 50, *more


@pytest.fixture
def two_sessions(toy_maps, tmp_path, capsys):
    """A function that trains one iteration and then a second one; returns what stderr got and the first record of the second."""

    def run():
        for iters in (1, 2):
            finish(*words(toy_maps, tmp_path / 'a run', iters))
        return capsys.readouterr().err, sessions(tmp_path / 'a run', 'first_record')[-1]

    return run


def weights(run_dir):
    """All weights of the newest snapshot in one array."""
    return np.concatenate([array.ravel() for arrays in caffemodel.load(newest_snapshot(run_dir)).values() for array in arrays])


@pytest.mark.parametrize(('iteration', 'record'), [(0, 0), (1, 4), (3, 0), (4, 4), (5, 2), (10**6, 4)])
def test_first_record(iteration, record):
    """4 of 6 records per iteration: 0-3, 4-1, 2-5, then again. A million is 1 more than a multiple of 3."""
    assert record_order.first_record(iteration, BATCH, 6) == record


def test_each_session_begins_with_the_record_after_the_last_one(toy_maps, tmp_path):
    """One record per iteration, at a rate that does not change the weights: the loss identifies the record."""
    for iters in (2, 5, 6, 13):
        finish(*words(toy_maps, tmp_path / 'run', iters, '--batch', 1, '--base-lr', 1e-30))
    found = losses(tmp_path / 'run')
    assert len(set(found[:6])) == 6
    assert found == (found[:6] * 3)[:13]
    assert sessions(tmp_path / 'run', 'first_record') == [0, 2, 5, 0]
    assert len(list(iterate(toy_maps))) == 6


def test_killed_four_times_is_as_if_never_killed(toy_maps, tmp_path):
    """After kill -9 at random moments, all losses and weights equal those of a run without, bit by bit.

    The kill also ends Caffe. Each session starts at the newest snapshot, or at the one before if a kill cut that one short.
    """
    run_dir, moment, reached = tmp_path / 'run', random.Random(1), [0]
    for _ in range(4):
        process, before = begin(*words(toy_maps, run_dir, 100_000)), newest(run_dir)
        try:
            wait_for(lambda least=before + 60: newest(run_dir) > least)
            time.sleep(0.05 * moment.random())
            child = caffe_of(process)
            os.kill(process.pid, signal.SIGKILL)
            wait_for(lambda pid=child: not alive(pid))
        finally:
            kill_all(process)
        reached.append(newest(run_dir))
    until = reached[-1] + 37
    finish(*words(toy_maps, run_dir, until))
    finish(*words(toy_maps, tmp_path / 'straight', until))
    starts = sessions(run_dir, 'from_iteration')
    assert all(start in (last, last - 50) for start, last in zip(starts, reached, strict=True))
    assert iterations(run_dir) == list(range(until))
    assert losses(run_dir) == losses(tmp_path / 'straight')
    assert np.array_equal(weights(run_dir), weights(tmp_path / 'straight'))
    kept, last = snapshots(run_dir)
    assert (last.iteration, kept.iteration) == (until, (until - 1) // 50 * 50)


def newest(run_dir):
    """The iteration of the newest snapshot, whole or not; 0 before the first."""
    return max((snapshot.iteration for snapshot in snapshots(run_dir)), default=0)


def test_the_order_holds_in_a_checkout_whose_path_has_blanks(two_sessions, tmp_path, monkeypatch):
    """A path in LD_PRELOAD ends at a blank."""
    monkeypatch.setattr(record_order, 'VENV', tmp_path / "o'brien's dir")
    said, record = two_sessions()
    assert 'begins at the first record' not in said and record == 4


def test_without_a_compiler_the_lost_order_is_reported(two_sessions, tmp_path, monkeypatch):
    """The run continues, and run.json says that it began at record 0."""
    monkeypatch.setattr(record_order, 'VENV', tmp_path)
    monkeypatch.setenv('CC', 'false')
    said, record = two_sessions()
    assert 'begins at the first record again, not at number 4: first_record.c' in said and record == 0


def test_caffe_that_does_not_skip_is_noticed(two_sessions, monkeypatch):
    """For example a Caffe with its own copy of LMDB: a message says so, and run.json has record 0."""
    monkeypatch.setattr('tools.training.start.record_order.variables', lambda record: {'FIRST_RECORD': str(record)})
    said, record = two_sessions()
    assert 'begins at the first record again, not at number 4: this Caffe' in said and record == 0


def test_file_that_does_not_fit_on_the_disk(toy_maps, tmp_path):
    """Caffe can only write a part of a snapshot. Without the limit, the same command continues from the one before."""
    run_dir, large = tmp_path / 'run', ('toy-large', '--lmdb', toy_maps, '--batch', 2, '--snapshot', 2)
    finish(*large, '--run-dir', tmp_path / 'straight', '--iters', 6)
    finish(*large, '--run-dir', run_dir, '--iters', 2)
    allowed = newest_snapshot(run_dir).stat().st_size // 2
    full = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (allowed, resource.RLIM_INFINITY))  # noqa: E731
    process = begin(*large, '--run-dir', run_dir, '--iters', 6, before=full)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert 'a file would exceed the size limit' in err
    assert newest(run_dir) == 4
    finish(*large, '--run-dir', run_dir, '--iters', 6)
    assert sessions(run_dir, 'from_iteration') == [0, 2, 2]
    assert losses(run_dir) == losses(tmp_path / 'straight')
    assert np.array_equal(weights(run_dir), weights(tmp_path / 'straight'))


TWO_LAYERS = """
import sys, tempfile
import caffe, numpy as np
layer = 'layer {{ name: "{0}" type: "Data" top: "{0}" data_param {{ source: "{1}" backend: LMDB batch_size: 1 }} }}'
with tempfile.NamedTemporaryFile('w', suffix='.prototxt') as file:
    file.write(''.join(layer.format(name, sys.argv[1]) for name in 'ab'))
    file.flush()
    net = caffe.Net(file.name, caffe.TRAIN)
np.save(sys.argv[2], [[blob[0].copy() for blob in net.forward().values()] for _ in range(5)])
"""


def test_each_data_layer_begins_with_the_record_and_goes_round(toy_maps, tmp_path):
    """Each has its own cursor, like the layers of several GPUs. After the last record comes the first, not number 4."""
    variables = os.environ | record_order.variables(4)
    variables['LD_PRELOAD'] += ':liblmdb.so.0'  # the program caffe is linked with it; Python loads it by itself
    command = [sys.executable, '-c', TWO_LAYERS, str(toy_maps), str(tmp_path / 'seen.npy')]
    finished = subprocess.run(command, env=variables, capture_output=True, text=True, check=True)
    assert [record_order.record_begun_with(line) for line in finished.stderr.splitlines() if line.startswith('===')] == [4, 4]
    stored = [array for _, array in iterate(toy_maps)]
    seen = np.load(tmp_path / 'seen.npy')
    for found, number in zip(seen, [4, 5, 0, 1, 2], strict=True):
        for layer in found:
            np.testing.assert_array_equal(layer, stored[number])
