"""`make check-cuda`: Caffe's own GPU code of convolutions, edited for the CUDA build, run on the host. No GPU is needed.

Kernels become loops, and pretended_gpu/runtime.cpp is CUDA and cuBLAS. What this cannot show is what a GPU alone does: races
between threads of a kernel, streams, rounding. check_cuda.py has the tests for that.
"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tools.caffe_build import cuda, edits, source
from tools.caffe_build.cache import cache_folder
from tools.caffe_build.environment import PYTHON
from tools.caffe_build.variant import Variant

HERE = Path(__file__).parent / 'pretended_gpu'
SOURCES = ('layers/base_conv_layer', 'layers/conv_layer', 'layers/deconv_layer', 'util/im2col', 'util/math_functions')
SOURCES += ('blob', 'common', 'syncedmem')
KERNELS = ('layers/conv_layer', 'layers/deconv_layer', 'util/im2col')
LIBRARIES = ('boost_thread', 'boost_system', 'glog', 'gflags', 'protobuf', 'openblas', 'pthread')


def headers() -> list[str]:
    """Folders of the headers of CUDA, cuBLAS and cuRAND, the toolkit's own first, and of those of Debian that need a path."""
    found = cuda.nvcc_on_path()
    nvcc = found[0] if found else str(cuda.nvidia_folder() / 'cu13' / 'bin' / 'nvcc')
    said = subprocess.run(
        [nvcc, '--dryrun', '-x', 'cu', '-c', os.devnull, '-o', os.devnull], capture_output=True, text=True
    ).stderr
    toolkit = re.findall(r'"-I(.*?)"', said)
    packages = [str(cuda.nvidia_folder() / folder / 'include') for folder in cuda.packages()[0].folders]
    return [*toolkit, *packages, f'/usr/include/{os.uname().machine}-linux-gnu']


@pytest.fixture(scope='module')
def program(tmp_path_factory):
    """pretended_gpu/convolutions.cpp, compiled with Caffe's edited source."""
    folder = tmp_path_factory.mktemp('pretended')
    tree = source.unpack(source.fetch(cache_folder(), PYTHON), folder)
    edits.apply_edits(tree, Variant('shared', '90').edits)
    proto = tree / 'src/caffe/proto'
    (folder / 'caffe/proto').mkdir(parents=True)
    subprocess.run(['protoc', f'--cpp_out={folder}/caffe/proto', f'-I{proto}', proto / 'caffe.proto'], check=True)
    flags = ['-O1', '-w', '-std=c++17', '-DUSE_LMDB', '-DBOOST_BIND_GLOBAL_PLACEHOLDERS', f'-I{tree}/include', f'-I{folder}']
    flags += [f'-I{HERE}', *(f'-I{path}' for path in headers())]
    units = [(tree / f'src/caffe/{name}.cpp', []) for name in SOURCES]
    units += [(HERE / 'runtime.cpp', []), (HERE / 'convolutions.cpp', []), (folder / 'caffe/proto/caffe.pb.cc', ['-O0'])]
    for name in KERNELS:
        path = folder / f'{Path(name).name}_kernels.cpp'
        path.write_text(re.sub(r'<<<.*?>>>', '', (tree / f'src/caffe/{name}.cu').read_text(), flags=re.DOTALL))
        units.append((path, ['-include', str(HERE / 'kernels.hpp')]))
    objects = [folder / f'{path.name}.o' for path, _ in units]
    for (path, more), out in zip(units, objects, strict=True):
        subprocess.run(['c++', *flags, *more, '-c', path, '-o', out], check=True)
    subprocess.run(['c++', *objects, '-o', folder / 'program', *(f'-l{name}' for name in LIBRARIES)], check=True)
    return folder / 'program'


def run(program, name, **variables):
    """What the program prints; it must end well."""
    environment = os.environ | {'OPENBLAS_NUM_THREADS': '1'} | variables
    finished = subprocess.run([program, name], env=environment, capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.mark.parametrize('mebibytes', [None, '0.0001', '0.01', '0.02', '0.05', '1000'])
def test_bands_compute_what_the_whole_does(program, mebibytes):
    """Windows of all sorts, forward and both gradients, as on the CPU: without bands, with one row in a band, with odd rests."""
    variables = {} if mebibytes is None else {'CAFFE_COLUMN_MIB': mebibytes}
    assert '\n0 wrong\n' in run(program, 'bands', **variables)


def test_bands_take_less_memory(program):
    """A 3x3 convolution of 4 channels, 37x29 pixels, unpadded: columns of 36 x 35 x 27 floats. A row of them at a time is less
    than the largest blob, the output of 2 x 6 x 35 x 27."""

    def largest(**variables):
        return int(re.search(r'largest block (\d+)', run(program, 'bands', **variables))[1])

    assert largest() == 36 * 35 * 27 * 4
    assert largest(CAFFE_COLUMN_MIB='0.0001') == 2 * 6 * 35 * 27 * 4


@pytest.mark.parametrize('name', ['devices', 'threads', 'exit'])
def test_memory_of_the_buffer(program, name):
    """A thread that changes GPUs has a buffer on each; threads free theirs; nothing complains when the driver goes first."""
    run(program, name)
