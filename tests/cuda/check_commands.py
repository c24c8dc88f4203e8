"""`make check-cuda`: this toolkit's commands with --gpu, on simulated GPUs and on real ones.

The commands run the Caffe in use, so that has to be the CUDA build: CUDA=1 make caffe.
"""

import csv
import json
import os
import re
import signal
import subprocess
import sys

import cv2
import lmdb
import numpy as np
import pytest
from cuda_process import Gpus
from pretended_gpu.build import bytes_taken

from pretrained import caffemodel
from pretrained.caffemodel import caffe_pb2, read_net
from tests.toy_nets import SIZES, make_split, random_image, random_weights
from tests.train_data import caffe_of, images_lmdb, kill_all, maps_lmdb, split_with_maps, wait_for
from tools.netinfo.memory_estimate import estimate
from tools.netinfo.setup import layers_of
from tools.support.caffe_in_use import manifest_in_use
from tools.support.paths import ROOT
from tools.training.snapshots import snapshots
from tools.training.validation import read_scores

ABSENT = 'did not run: the Caffe in use is for the CPU; CUDA=1 make caffe'
pytestmark = pytest.mark.skipif(not manifest_in_use().get('cuda_arch'), reason=ABSENT)
LABELS = sorted(f'{name}.png' for name in SIZES)


@pytest.fixture(scope='module')
def maps(tmp_path_factory):
    """An LMDB of stored scores with 6 records, so that a batch of 6 is an epoch."""
    return maps_lmdb(tmp_path_factory.mktemp('maps'))


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Random weights of basic_toy, which fit front_toy too."""
    return random_weights('basic_toy', tmp_path_factory.mktemp('weights') / 'basic.caffemodel')


def begin(gpus, command, *words):
    """Start a command of tools/ as a process."""
    argv = [sys.executable, str(ROOT / 'tools' / f'{command}.py'), *map(str, words)]
    variables = os.environ | {'OPENBLAS_NUM_THREADS': '1'} | (gpus.variables if gpus else {})
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE}
    return subprocess.Popen(argv, env=variables, **pipes, text=True, start_new_session=True)


def run(gpus, command, *words, status=0):
    """Run a command of tools/ to its end; returns its output."""
    process = begin(gpus, command, *words)
    out, err = process.communicate(timeout=600)
    assert process.returncode == status, out + err
    return out + err


def trained(folder):
    """All weights of a run's newest snapshot, as one array."""
    newest = caffemodel.load(snapshots(folder)[-1].caffemodel)
    return np.concatenate([array.ravel() for arrays in newest.values() for array in arrays])


def training(maps, run_dir, iters, *more):
    """Arguments of `train` for Basic, with one epoch per iteration."""
    return 'toy-basic', '--lmdb', maps, '--run-dir', run_dir, '--batch', 6, '--iters', iters, *more


def test_one_gpu_trains_as_the_cpu(maps, gpu, tmp_path):
    """Losses and weights are the CPU's to within rounding."""
    run(None, 'train', *training(maps, tmp_path / 'cpu', 5))
    run(gpu, 'train', *training(maps, tmp_path / 'gpu', 5, '--gpu', 0))
    np.testing.assert_allclose(trained(tmp_path / 'gpu'), trained(tmp_path / 'cpu'), rtol=1e-3, atol=1e-6)
    losses = [[float(row['loss']) for row in csv.DictReader((tmp_path / name / 'metrics.csv').open())] for name in ('cpu', 'gpu')]
    np.testing.assert_allclose(*losses, rtol=1e-4)


@pytest.mark.parametrize('numbers', ['0,1', 'all'])
def test_two_gpus_share_the_batch(maps, two_gpus, tmp_path, numbers):
    """With three records each they take the steps of six records on the CPU."""
    run(None, 'train', *training(maps, tmp_path / 'cpu', 5))
    run(two_gpus, 'train', *training(maps, tmp_path / 'gpus', 5, '--gpu', numbers))
    np.testing.assert_allclose(trained(tmp_path / 'gpus'), trained(tmp_path / 'cpu'), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(('numbers', 'batch'), [('0', 4), ('0,1', 2)])
def test_a_killed_training_resumes_exactly(maps, two_gpus, tmp_path, numbers, batch):
    """After a kill it ends with the weights of an uninterrupted run, even if batches do not divide the records."""
    words = '--gpu', numbers, '--batch', batch, '--snapshot', 5
    process = begin(two_gpus, 'train', *training(maps, tmp_path / 'killed', 100_000, *words))
    try:
        wait_for(lambda: len(snapshots(tmp_path / 'killed')) > 1 or process.poll() is not None)
        os.kill(caffe_of(process), signal.SIGKILL)
        process.communicate(timeout=60)
    finally:
        kill_all(process)
    last = snapshots(tmp_path / 'killed')[-1].iteration + 20
    for name in ('killed', 'whole'):
        run(two_gpus, 'train', *training(maps, tmp_path / name, last, *words))
    np.testing.assert_allclose(trained(tmp_path / 'killed'), trained(tmp_path / 'whole'), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize('numbers', ['0', '0,1'])
def test_ctrl_c_writes_a_snapshot_and_stops(maps, two_gpus, tmp_path, numbers):
    """The status is 130, and there is one snapshot."""
    words = training(maps, tmp_path, 100_000, '--gpu', numbers, '--snapshot', 90_000)
    process = begin(two_gpus, 'train', *words)
    try:
        wait_for(lambda: (tmp_path / 'metrics.csv').exists() and (tmp_path / 'metrics.csv').read_text().count('\n') > 3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        kill_all(process)
    assert process.returncode == 130, err
    assert len(snapshots(tmp_path)) == 1


def test_label_maps_are_those_of_the_cpu(weights, two_gpus, tmp_path):
    """tools/test.py gives the CPU's labels and scores on one GPU and on two, but for 1 % of pixels at edges."""
    data = make_split(tmp_path / 'data', SIZES)
    words = '--net', 'basic-toy', '--weights', weights, '--data', data, '--tiling', 'tight', '--out'
    run(None, 'test', *words, tmp_path / 'cpu')
    for numbers in ('0', '0,1', 'all'):
        out = tmp_path / numbers
        run(two_gpus, 'test', *words, out, '--gpu', numbers)
        ours, theirs = (json.loads((folder / 'scores.json').read_text()) for folder in (out, tmp_path / 'cpu'))
        assert ours['mean_iou'] == pytest.approx(theirs['mean_iou'], abs=0.01)
        for name in LABELS:
            maps = [cv2.imread(str(folder / name), cv2.IMREAD_UNCHANGED) for folder in (out, tmp_path / 'cpu')]
            assert np.mean(maps[0] != maps[1]) < 0.01


def test_predict_and_extract(weights, gpu, tmp_path):
    """predict writes a label map, and extract_features stores the CPU's scores."""
    cv2.imwrite(str(tmp_path / 'image.png'), random_image(21, 34))
    run(gpu, 'predict', '--net', 'basic-toy', '--weights', weights, '--gpu', 0, '--out', tmp_path / 'out', tmp_path / 'image.png')
    assert (tmp_path / 'out' / 'image.png').exists()
    data, stored = make_split(tmp_path / 'data', SIZES), []
    words = '--net', 'front-toy', '--weights', weights, '--data', data, '--split', 'test', '--blob', 'final', '--out'
    for out, device in ((tmp_path / 'on_gpu', ('--gpu', 0)), (tmp_path / 'on_cpu', ())):
        run(gpu, 'extract_features', *words, out, *device)
        with lmdb.open(str(out), readonly=True) as environment, environment.begin() as transaction:
            data = [caffe_pb2().Datum.FromString(value).float_data for _, value in transaction.cursor()]
        stored.append(np.concatenate(data))
    np.testing.assert_allclose(*stored, rtol=1e-3, atol=1e-4)


def test_validation_while_training(maps, gpu, tmp_path):
    """--val-every scores on the GPU that trains."""
    split_with_maps(tmp_path / 'data', 'val')
    words = '--data', tmp_path / 'data', '--snapshot', 3, '--val-every', 3
    run(gpu, 'train', *training(maps, tmp_path / 'run', 6, '--gpu', 0, *words))
    assert [score.iteration for score in read_scores(tmp_path / 'run')] == [3, 6]


@pytest.mark.parametrize('stage', ['toy-front', 'toy-basic'])
def test_memory_is_estimated(maps, pretended, tmp_path, stage):
    """A training takes as much of a simulated GPU as the estimate says, without CUDA's own part.

    Small nets may differ by 6 %: blobs are rounded up, and some small buffers are not counted.
    """
    use = tmp_path / 'use'
    use.mkdir()
    lmdb = maps if stage == 'toy-basic' else images_lmdb(tmp_path / 'images')
    words = stage, '--lmdb', lmdb, '--batch', 2, *(() if stage == 'toy-basic' else ('--crop-size', 380))
    one = Gpus(pretended.variables(1, use), rounds_tf32=True)
    run(one, 'train', *words, '--run-dir', tmp_path / 'run', '--iters', 2, '--gpu', 0)
    found = estimate(layers_of(read_net(tmp_path / 'run' / 'train.prototxt'), 'train'), training=True, gpu=True)
    assert bytes_taken(use)[1] == pytest.approx(found.working, rel=0.06)


@pytest.fixture
def small_gpu(pretended, tmp_path):
    """Two GPUs of one megabyte."""
    return Gpus(pretended.variables(2, tmp_path, memory=1e6), rounds_tf32=True)


def test_memory_that_is_too_small(maps, weights, small_gpu, tmp_path):
    """Each command warns and says what to do, then fails with one error line, also on several GPUs."""
    said = run(small_gpu, 'train', *training(maps, tmp_path / 'run', 5, '--gpu', 0), status=1)
    assert 'out of memory' in said and 'Traceback' not in said
    cv2.imwrite(str(tmp_path / 'image.png'), random_image(21, 34))
    words = '--net', 'basic-toy', '--weights', weights, '--gpu', 0, '--out', tmp_path / 'out', tmp_path / 'image.png'
    said = run(small_gpu, 'predict', *words, status=1)
    assert re.search(r'warning: a tile of .* of the memory of GPU 0, .* --max-memory .*out of memory.*\nerror: ', said, re.DOTALL)
    data = make_split(tmp_path / 'data', SIZES)
    words = '--net', 'basic-toy', '--weights', weights, '--data', data, '--out', tmp_path / 'test'
    said = run(small_gpu, 'test', *words, '--gpu', '0,1', status=1)
    assert 'of GPU 1' in said and 'out of memory' in said and 'error: ' in said and 'Traceback' not in said
    words = '--net', 'front-toy', '--weights', weights, '--data', data, '--split', 'test', '--blob', 'final', '--gpu', 0
    said = run(small_gpu, 'extract_features', *words, '--out', tmp_path / 'stored', status=1)
    assert 'warning: each image, whole, takes' in said and 'error: ' in said and not (tmp_path / 'stored').exists()


def test_a_gpu_that_is_not_there(maps, weights, two_gpus, tmp_path):
    """It is refused before anything is written."""
    said = run(two_gpus, 'train', *training(maps, tmp_path / 'run', 5, '--gpu', '0,7'), status=1)
    assert 'cannot use GPU 7 (it sees ' in said and not (tmp_path / 'run').exists()
