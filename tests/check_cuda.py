"""`make check-cuda`: what can be known of the CUDA build in .venv/cuda, with a GPU or without. Not part of `make test`.

Without a GPU, what needs one is reported as skipped, each with that reason: it did not run.
"""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import lmdb
import numpy as np
import pytest

from pretrained import caffemodel
from tools.caffe_build import cuda, environment
from tools.caffe_build.cache import read_manifest
from tools.caffe_build.fatbin import architectures
from tools.support.paths import VENV

FOLDER = VENV / 'cuda'
PROGRAM, LIBRARY, MODULE = FOLDER / 'bin' / 'caffe', FOLDER / 'lib' / 'libcaffe.so', FOLDER / 'python' / 'caffe' / '_caffe.so'
GPUS = cuda.architectures_present()
ENVIRONMENT = {**os.environ, 'GLOG_minloglevel': '1', 'OPENBLAS_NUM_THREADS': '1', 'PYTHONPATH': str(FOLDER / 'python')}
ENVIRONMENT.pop('LD_LIBRARY_PATH', None)

NET = """
layer { name: "data" type: "Data" top: "data" data_param { source: "SOURCE" backend: LMDB batch_size: 2 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 dilation: 2 weight_filler { type: "msra" } } }
layer { name: "wide" type: "Convolution" bottom: "conv" top: "wide"
  convolution_param { num_output: 8 kernel_size: 3 dilation: 4 weight_filler { type: "msra" } } }
layer { name: "pool" type: "Pooling" bottom: "wide" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "loss" type: "Reduction" bottom: "pool" top: "loss" loss_weight: 1
  reduction_param { operation: SUMSQ coeff: 1e-9 } }
"""
SOLVER = 'net: "net.prototxt" base_lr: 1e-6 momentum: 0.9 lr_policy: "fixed" max_iter: 3 snapshot: 3 snapshot_prefix: "run" '
SOLVER += 'random_seed: 1 solver_mode: MODE'
SCENARIOS = Path(__file__).with_name('cuda_scenarios.py')
needs_gpu = pytest.mark.skipif(not GPUS, reason='did not run: no GPU here')
needs_two_gpus = pytest.mark.skipif(len(GPUS) < 2, reason='did not run: fewer than two GPUs here')
SHARING = ('in_turn', 'growing', 'threads', 'modes', 'left_alive')


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """A folder with an LMDB of random images, a net on it and a solver for three iterations."""
    path = tmp_path_factory.mktemp('run')
    sys.path.insert(0, str(FOLDER / 'python'))
    from caffe.proto import caffe_pb2

    values = np.random.RandomState(1)
    with lmdb.open(str(path / 'lmdb')) as store, store.begin(write=True) as transaction:
        for number in range(4):
            datum = caffe_pb2.Datum(channels=3, height=32, width=32, data=values.bytes(3 * 32 * 32), label=0)
            transaction.put(b'%08d' % number, datum.SerializeToString())
    (path / 'net.prototxt').write_text(NET.replace('SOURCE', 'lmdb'), encoding='utf-8')
    return path


def call(*command, cwd=None):
    """Run a command of the CUDA build."""
    return subprocess.run([str(part) for part in command], cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)


def write_solver(folder, mode, iterations=3, iter_size=1):
    """solver.prototxt in `folder`, with one snapshot, at the end."""
    text = SOLVER.replace('MODE', mode).replace('snapshot: 3', f'snapshot: {iterations}')
    text = text.replace('max_iter: 3', f'max_iter: {iterations} iter_size: {iter_size}')
    (folder / 'solver.prototxt').write_text(text, encoding='utf-8')


def train(folder, mode, gpus='0', iter_size=1):
    """Three iterations by the program `caffe`."""
    write_solver(folder, mode, iter_size=iter_size)
    return call(PROGRAM, 'train', '--solver=solver.prototxt', *([f'--gpu={gpus}'] if mode == 'GPU' else []), cwd=folder)


def gradients(scenario, device, folder, **variables):
    """What a scenario computes, one row a time it did; its process must end well."""
    out = folder / f'{scenario}-{device}.npy'
    command = [str(part) for part in (environment.PYTHON, SCENARIOS, scenario, device, out)]
    finished = subprocess.run(command, cwd=folder, env=ENVIRONMENT | variables, capture_output=True, text=True, timeout=300)
    assert finished.returncode == 0, finished.stderr
    return np.load(out)


def test_holds_machine_code_for_the_architectures_asked_for():
    """Each architecture of the manifest has machine code in the library, and nothing older is left in it."""
    asked = {f'sm_{name}' for name in read_manifest(FOLDER)['cuda_arch'].split(';')}
    assert {name for name in architectures(LIBRARY) if name.startswith('sm_')} == asked


@pytest.mark.parametrize('path', [PROGRAM, LIBRARY, MODULE], ids=lambda path: path.name)
def test_finds_its_libraries(path):
    """Every shared library is found without LD_LIBRARY_PATH; cuBLAS, cuRAND and NCCL are those of .venv."""
    lines = call('ldd', path).stdout.splitlines()
    found = {match[1]: match[2] for match in (re.search(r'(\S+) => (/\S+|not found)', line) for line in lines) if match}
    assert 'not found' not in found.values()
    wanted = [name for name in found if name.startswith(('libcublas.', 'libcurand.', 'libnccl.'))]
    assert len(wanted) == 3
    assert all(os.path.realpath(found[name]).startswith(str(environment.site_packages())) for name in wanted)


@pytest.mark.parametrize(
    'symbol',
    [
        'void caffe::im2col_gpu<float>(',
        'caffe::ConvolutionLayer<float>::Forward_gpu(',
        'caffe::DeconvolutionLayer<float>::Backward_gpu(',
        'caffe::PoolingLayer<float>::Forward_gpu(',
        'caffe::CropLayer<float>::Forward_gpu(',
        'caffe::SliceLayer<float>::Forward_gpu(',
        'caffe::SoftmaxWithLossLayer<float>::Backward_gpu(',
        'void caffe::sgd_update_gpu<float>(',
        'caffe::NCCL<float>::',
    ],
)
def test_library_defines(symbol):
    """The GPU side of the layers that the networks use is compiled in."""
    assert symbol in call('nm', '-D', '-C', '--defined-only', LIBRARY).stdout


@pytest.mark.parametrize('symbol', ['cublasSgemm_v2', 'curandGenerateNormal', 'ncclAllReduce'])
def test_library_calls(symbol):
    """It multiplies matrices with cuBLAS, draws with cuRAND, and adds the gradients of several GPUs with NCCL."""
    assert re.search(rf'\bU {symbol}\b', call('nm', '-D', '--undefined-only', LIBRARY).stdout)


def test_trains_on_the_cpu_without_a_word(folder):
    """Where no GPU is asked for, a Data layer, a solver and a snapshot do their work, and nothing complains of a missing one."""
    finished = train(folder, 'CPU')
    assert finished.returncode == 0 and finished.stderr == ''
    assert (folder / 'run_iter_3.caffemodel').exists()


@pytest.mark.parametrize('scenario', SHARING)
def test_buffer_is_shared_rightly_on_the_cpu(scenario, folder):
    """Nets in turn, in threads, of growing sizes: the same gradients each time, and the process ends with 0."""
    found = gradients(scenario, 'cpu', folder)
    assert len(found) > 1 and all(np.array_equal(found[0], other) for other in found) and np.abs(found[0]).max() > 0


@needs_gpu
@pytest.mark.parametrize('scenario', SHARING)
def test_buffer_is_shared_rightly_on_a_gpu(scenario, folder):
    """The same on a GPU, and what the CPU computes to within rounding."""
    found = gradients(scenario, 'gpu', folder)
    assert all(np.array_equal(found[0], other) for other in found)
    np.testing.assert_allclose(found[0], gradients(scenario, 'cpu', folder)[0], rtol=1e-4, atol=1e-6 * np.abs(found[0]).max())


@needs_gpu
def test_bands_of_columns(folder):
    """CAFFE_COLUMN_MIB: a row at a time gives what all at once gives, to within rounding."""
    whole, banded = (gradients('in_turn', 'gpu', folder, **more)[0] for more in ({}, {'CAFFE_COLUMN_MIB': '0.0001'}))
    np.testing.assert_allclose(banded, whole, rtol=1e-4, atol=1e-6 * np.abs(whole).max())


@needs_two_gpus
def test_a_thread_that_changes_gpus(folder):
    """Memory of one GPU never reaches another's kernels."""
    found = gradients('two_gpus', 'gpu', folder)
    assert np.array_equal(found[0], found[2])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


@needs_gpu
def test_tf32_is_used_when_asked_for_only(folder):
    """CAFFE_TF32=1 rounds factors to 10 bits (2^-11 of each product at most); without it, and with 0, the bits stay."""
    plain, again, rounded = (gradients('in_turn', 'gpu', folder, **{'CAFFE_TF32': value})[0] for value in ('', '0', '1'))
    assert np.array_equal(plain, again)
    np.testing.assert_allclose(rounded, plain, atol=2e-2 * np.abs(plain).max())
    if int(GPUS[0]) >= 80:
        assert not np.array_equal(plain, rounded)


def test_a_gpu_asked_for_is_used_or_refused_with_the_reason(folder):
    """With a GPU, training on it ends well; without, CUDA says why, in other words where a driver's library is."""
    finished = train(folder, 'GPU')
    words = 'CUDA driver version is insufficient|no CUDA-capable device is detected'
    assert finished.returncode == 0 if GPUS else re.search(words, finished.stderr)


@needs_two_gpus
def test_two_gpus_train_as_one(folder):
    """Two GPUs with two records each take the steps that one takes with four, in two passes; NCCL adds the gradients."""
    weights = []
    for gpus, iter_size in (('0', 2), ('0,1', 1)):
        assert train(folder, 'GPU', gpus, iter_size).returncode == 0
        weights.append(caffemodel.load(folder / 'run_iter_3.caffemodel'))
    for layer in ('conv', 'wide'):
        np.testing.assert_allclose(weights[0][layer][0], weights[1][layer][0], rtol=1e-5, atol=1e-7)


@needs_two_gpus
def test_two_gpus_stop_by_snapshot(folder):
    """SIGINT with --sigint_effect=snapshot, as tools/train.py has it: a snapshot, and all threads go on until they are ended."""
    write_solver(folder, 'GPU', iterations=1_000_000)
    command = [str(PROGRAM), 'train', '--solver=solver.prototxt', '--gpu=0,1', '--sigint_effect=snapshot']
    process = subprocess.Popen(command, cwd=folder, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    try:
        time.sleep(15)
        before = set(folder.glob('run_iter_*.solverstate'))
        process.send_signal(signal.SIGINT)
        time.sleep(5)
        assert process.poll() is None
        assert set(folder.glob('run_iter_*.solverstate')) - before
    finally:
        process.kill()
        process.wait()
