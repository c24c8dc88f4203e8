"""`make check-cuda`: what can be known of the CUDA build in .venv/cuda, with a GPU or without. Not part of `make test`."""

import os
import re
import subprocess
import sys

import lmdb
import numpy as np
import pytest

from tools.caffe_build import cuda, environment
from tools.caffe_build.cache import read_manifest
from tools.caffe_build.fatbin import architectures
from tools.support.paths import VENV

FOLDER = VENV / 'cuda'
PROGRAM, LIBRARY, MODULE = FOLDER / 'bin' / 'caffe', FOLDER / 'lib' / 'libcaffe.so', FOLDER / 'python' / 'caffe' / '_caffe.so'
GPU_HERE = bool(cuda.architectures_present())
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
TWO_NETS = """
import sys, caffe, numpy as np
gpu = sys.argv[1] == 'gpu'
caffe.set_mode_gpu() if gpu else caffe.set_mode_cpu()
caffe.set_random_seed(1)
nets = [caffe.Net('net.prototxt', caffe.TEST, weights='run_iter_3.caffemodel') for _ in range(2)]
blob = np.random.RandomState(0).rand(2, 3, 32, 32)
def run(net):
    net.blobs['data'].data[...] = blob
    net.forward(start='conv')
    net.backward()
    return net.params['conv'][0].diff.copy()
first, second, again = run(nets[0]), run(nets[1]), run(nets[0])
np.save(sys.argv[2], [first, second, again])
"""


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


def train(folder, mode):
    """Three iterations by the program `caffe`."""
    (folder / 'solver.prototxt').write_text(SOLVER.replace('MODE', mode), encoding='utf-8')
    return call(PROGRAM, 'train', '--solver=solver.prototxt', *(['--gpu=0'] if mode == 'GPU' else []), cwd=folder)


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


def test_several_nets_share_a_buffer_and_exit_cleanly(folder):
    """Two nets in turn give the gradients of one, on the CPU and on a GPU, and the process ends with 0."""
    train(folder, 'CPU')
    gradients = {}
    for mode in ('cpu', 'gpu') if GPU_HERE else ('cpu',):
        finished = call(environment.PYTHON, '-c', TWO_NETS, mode, folder / f'{mode}.npy', cwd=folder)
        assert finished.returncode == 0, finished.stderr
        first, second, again = gradients[mode] = np.load(folder / f'{mode}.npy')
        assert np.array_equal(first, again) and np.array_equal(first, second) and np.abs(first).max() > 0
    for values in gradients.values():
        np.testing.assert_allclose(values, gradients['cpu'], rtol=1e-4)


def test_a_gpu_asked_for_is_used_or_refused_with_the_reason(folder):
    """With a GPU, training on it ends well; without, the word of the driver is passed on."""
    finished = train(folder, 'GPU')
    assert finished.returncode == 0 if GPU_HERE else 'CUDA driver version is insufficient' in finished.stderr
