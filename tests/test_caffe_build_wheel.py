"""Caffe as a wheel for another machine."""

import os
import re
import subprocess
import sys
import zipfile

import pytest

from tools.caffe_build import wheel
from tools.support.caffe_in_use import in_use, manifest_in_use

# Two steps of a stock solver, with layers in C++ and in Python; prints where Caffe came from.
SCRIPT = """
import sys, caffe, numpy
class Double(caffe.Layer):
    def setup(self, bottom, top): pass
    def reshape(self, bottom, top): top[0].reshape(*bottom[0].shape)
    def forward(self, bottom, top): top[0].data[...] = 2 * bottom[0].data
    def backward(self, top, down, bottom): bottom[0].diff[...] = 2 * top[0].diff
sys.modules['double'] = type(sys)('double'); sys.modules['double'].Double = Double
solver = caffe.SGDSolver(sys.argv[1])
before = solver.net.params['score'][0].data.copy()
solver.step(2)
assert numpy.isfinite(solver.net.blobs['loss'].data) and (solver.net.params['score'][0].data != before).any()
print(caffe.__file__)
"""
NET = """
layer { name: "data" type: "DummyData" top: "data" top: "label" dummy_data_param {
  shape { dim: 2 dim: 3 dim: 8 dim: 8 } shape { dim: 2 dim: 1 dim: 8 dim: 8 }
  data_filler { type: "gaussian" std: 1 } data_filler { type: "constant" value: 1 } } }
layer { name: "double" type: "Python" bottom: "data" top: "double" python_param { module: "double" layer: "Double" } }
layer { name: "score" type: "Convolution" bottom: "double" top: "score" convolution_param {
  num_output: 4 kernel_size: 3 pad: 2 dilation: 2 weight_filler { type: "msra" } } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "score" bottom: "label" top: "loss" }
"""
# Libraries that manylinux leaves to the system: those of C, C++ and GCC, zlib, expat.
OF_THE_SYSTEM = re.compile(r'(linux-vdso|/.*/ld-linux|lib(c|m|dl|rt|pthread|util|resolv|stdc\+\+|gcc_s|z|expat)[.-])')


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    """The wheel of the Caffe in use."""
    if manifest_in_use().get('cuda_arch'):
        pytest.skip('the Caffe in use is for GPUs')
    return wheel.make(in_use(), tmp_path_factory.mktemp('dist'))


def test_name_says_commit_and_python(made):
    """The form is that of PEP 427 and 440; the platform says how new the C library must be."""
    python = 'cp{}{}'.format(*sys.version_info)
    assert re.fullmatch(rf'caffe-1\.0\.0\+9b89154\.[\w.]+-{python}-{python}-manylinux_2_\d+_\w+\.whl', made.name)


@pytest.fixture(scope='module')
def installed(made, tmp_path_factory):
    """The folder that the wheel is unpacked to, as pip would."""
    folder = tmp_path_factory.mktemp('site-packages')
    with zipfile.ZipFile(made) as archive:
        archive.extractall(folder)
    return folder


def test_every_library_is_inside(installed):
    """The module loads only libraries in the wheel, and those that every Linux has."""
    said = subprocess.run(['ldd', installed / 'caffe' / '_caffe.so'], capture_output=True, text=True, check=True).stdout
    outside = [line.split()[0] for line in said.splitlines() if str(installed) not in line]
    assert outside and [name for name in outside if not OF_THE_SYSTEM.match(name)] == []


def test_it_trains(installed, tmp_path):
    """`import caffe` finds the wheel, and two training steps change the weights."""
    (tmp_path / 'net.prototxt').write_text(NET)
    solver = f'net: "{tmp_path}/net.prototxt" base_lr: 0.01 lr_policy: "fixed" snapshot_prefix: "s"'
    (tmp_path / 'solver.prototxt').write_text(solver)
    variables = {**os.environ, 'PYTHONPATH': str(installed), 'GLOG_minloglevel': '2'}
    command = [sys.executable, '-c', SCRIPT, str(tmp_path / 'solver.prototxt')]
    finished = subprocess.run(command, env=variables, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip() == str(installed / 'caffe' / '__init__.py')


def test_requirements_are_those_of_pyproject():
    """The five packages that Caffe's Python code imports, in the ranges of pyproject.toml."""
    lines = wheel.metadata().splitlines()
    assert 'Requires-Dist: six>=1.16,<2' in lines and len([line for line in lines if line.startswith('Requires-Dist')]) == 5
