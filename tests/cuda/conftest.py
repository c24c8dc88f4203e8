"""Fixtures of the CUDA checks: a folder to train in, and GPUs. Each check runs on simulated GPUs everywhere.

On real GPUs it runs too, or is reported as skipped where there are too few.
"""

import sys

import lmdb
import numpy as np
import pytest
from cuda_process import CAFFE, Gpus
from pretended_gpu.build import PretendedGpus

from tools.caffe_build import cuda

REAL = len(cuda.architectures_present())
NET = """
layer { name: "data" type: "Data" top: "data" data_param { source: "lmdb" backend: LMDB batch_size: 2 } }
layer { name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 dilation: 2 weight_filler { type: "msra" } } }
layer { name: "wide" type: "Convolution" bottom: "conv" top: "wide"
  convolution_param { num_output: 8 kernel_size: 3 dilation: 4 weight_filler { type: "msra" } } }
layer { name: "pool" type: "Pooling" bottom: "wide" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }
layer { name: "loss" type: "Reduction" bottom: "pool" top: "loss" loss_weight: 1
  reduction_param { operation: SUMSQ coeff: 1e-9 } }
"""


@pytest.fixture(scope='session')
def folder(tmp_path_factory):
    """A folder with an LMDB of random images and a net on it."""
    path = tmp_path_factory.mktemp('run')
    sys.path.insert(0, str(CAFFE / 'python'))
    from caffe.proto import caffe_pb2

    values = np.random.RandomState(1)
    with lmdb.open(str(path / 'lmdb')) as store, store.begin(write=True) as transaction:
        for number in range(4):
            datum = caffe_pb2.Datum(channels=3, height=32, width=32, data=values.bytes(3 * 32 * 32), label=0)
            transaction.put(b'%08d' % number, datum.SerializeToString())
    (path / 'net.prototxt').write_text(NET, encoding='utf-8')
    return path


@pytest.fixture(scope='session')
def pretended(tmp_path_factory):
    """The libraries of the simulated GPUs, compiled."""
    return PretendedGpus(tmp_path_factory.mktemp('pretended'))


@pytest.fixture(params=['pretended', 'real'])
def gpu(request, tmp_path):
    """One GPU."""
    return gpus(request, tmp_path, 1)


@pytest.fixture(params=['pretended', 'real'])
def two_gpus(request, tmp_path):
    """Two GPUs."""
    return gpus(request, tmp_path, 2)


def gpus(request, use, count):
    """Real GPUs, or simulated ones whose processes write to the folder `use` how much memory they took."""
    if request.param == 'pretended':
        return Gpus(request.getfixturevalue('pretended').variables(count, use), rounds_tf32=True)
    if count > REAL:
        pytest.skip(f'did not run: {REAL} GPUs here')
    return Gpus({}, rounds_tf32=int(cuda.architectures_present()[0]) >= 80)
