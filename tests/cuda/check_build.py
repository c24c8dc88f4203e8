"""`make check-cuda`: checks of the CUDA build in .venv/cuda, with a GPU or without. Not part of `make test`."""

import os
import re
import signal
import subprocess
import time

import numpy as np
import pytest
from cuda_process import CAFFE, PROGRAM, call, computed, train, variables, write_solver

from pretrained import caffemodel
from tools.caffe_build import environment
from tools.caffe_build.fatbin import architectures
from tools.support.caffe_in_use import read_manifest

LIBRARY, MODULE = CAFFE / 'lib' / 'libcaffe.so', CAFFE / 'python' / 'caffe' / '_caffe.so'
SHARING = ('in_turn', 'growing', 'threads', 'modes', 'left_alive')


def test_holds_machine_code_for_the_architectures_asked_for():
    """The library has machine code for the architectures of the manifest, and for no others."""
    asked = {f'sm_{name}' for name in read_manifest(CAFFE)['cuda_arch'].split(';')}
    assert {name for name in architectures(LIBRARY) if name.startswith('sm_')} == asked


@pytest.mark.parametrize('path', [PROGRAM, LIBRARY, MODULE], ids=lambda path: path.name)
def test_finds_its_libraries(path):
    """Every shared library is found without LD_LIBRARY_PATH; cuBLAS, cuRAND and NCCL are in .venv."""
    lines = call('ldd', path).stdout.splitlines()
    found = {match[1]: match[2] for match in (re.search(r'(\S+) => (/\S+|not found)', line) for line in lines) if match}
    assert 'not found' not in found.values()
    wanted = [name for name in found if name.startswith(('libcublas.', 'libcurand.', 'libnccl.'))]
    assert len(wanted) == 3
    assert all(os.path.realpath(found[name]).startswith(str(environment.site_packages())) for name in wanted)


def test_trains_on_the_cpu_without_a_message(folder):
    """Without --gpu, a training with a Data layer and a snapshot works and says nothing of a missing GPU."""
    finished = train(folder)
    assert finished.returncode == 0 and finished.stderr == ''
    assert (folder / 'run_iter_3.caffemodel').exists()


@pytest.mark.parametrize('scenario', SHARING)
def test_buffer_is_shared_on_the_cpu(scenario, folder):
    """Nets in turn, in threads and of growing sizes give the same gradients each time, and the process ends with 0."""
    found = computed(scenario, 'cpu', folder)
    assert len(found) > 1 and all(np.array_equal(found[0], other) for other in found) and np.abs(found[0]).max() > 0


@pytest.mark.parametrize('scenario', SHARING)
def test_buffer_is_shared_on_a_gpu(scenario, folder, gpu):
    """The same on a GPU; the gradients are the CPU's to within rounding."""
    found = computed(scenario, 'gpu', folder, gpu.variables)
    assert all(np.array_equal(found[0], other) for other in found)
    np.testing.assert_allclose(found[0], computed(scenario, 'cpu', folder)[0], rtol=1e-4, atol=1e-6 * np.abs(found[0]).max())


def test_bands_of_columns(folder, gpu):
    """With CAFFE_COLUMN_MIB one row at a time gives what all at once give, to within rounding."""
    whole, banded = (computed('in_turn', 'gpu', folder, gpu.variables | more)[0] for more in ({}, {'CAFFE_COLUMN_MIB': '0.0001'}))
    np.testing.assert_allclose(banded, whole, rtol=1e-4, atol=1e-6 * np.abs(whole).max())


def test_a_thread_that_changes_gpus(folder, two_gpus):
    """It gives the same gradients on both GPUs, and again on the first."""
    found = computed('two_gpus', 'gpu', folder, two_gpus.variables)
    assert np.array_equal(found[0], found[2])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-5)


def test_tf32_is_used_only_if_asked_for(folder, gpu):
    """CAFFE_TF32=1 rounds factors to 10 bits of mantissa, a relative error of 2^-11 at most; unset or 0 changes no bit."""
    asked = [gpu.variables | {'CAFFE_TF32': value} for value in ('', '0', '1')]
    plain, again, rounded = (computed('in_turn', 'gpu', folder, variables)[0] for variables in asked)
    assert np.array_equal(plain, again)
    np.testing.assert_allclose(rounded, plain, atol=2e-2 * np.abs(plain).max())
    assert np.array_equal(plain, rounded) != gpu.rounds_tf32


def test_trains_on_a_gpu(folder, gpu):
    """The program `caffe` ends with 0."""
    finished = train(folder, '0', more=gpu.variables)
    assert finished.returncode == 0, finished.stderr


def test_a_gpu_that_is_not_there(folder):
    """Caffe repeats CUDA's reason, which depends on whether a driver is installed."""
    finished = train(folder, '0', more={'CUDA_VISIBLE_DEVICES': '-1'})
    assert finished.returncode != 0
    assert re.search('CUDA driver version is insufficient|no CUDA-capable device is detected', finished.stderr)


def test_two_gpus_train_as_one(folder, two_gpus):
    """Two GPUs with two records each take the same steps as one GPU with four records in two passes."""
    weights = []
    for numbers, iter_size in (('0', 2), ('0,1', 1)):
        assert train(folder, numbers, iter_size, two_gpus.variables).returncode == 0
        weights.append(caffemodel.load(folder / 'run_iter_3.caffemodel'))
    for layer in ('conv', 'wide'):
        np.testing.assert_allclose(weights[0][layer][0], weights[1][layer][0], rtol=1e-5, atol=1e-7)


def test_two_gpus_stop_by_snapshot(folder, two_gpus):
    """SIGINT writes a snapshot and the training goes on, as tools/train.py needs it (--sigint_effect=snapshot)."""
    write_solver(folder, 'GPU', iterations=1_000_000)
    command = [str(PROGRAM), 'train', '--solver=solver.prototxt', '--gpu=0,1', '--sigint_effect=snapshot']
    process = subprocess.Popen(command, cwd=folder, env=variables(two_gpus.variables), stderr=subprocess.DEVNULL)
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
