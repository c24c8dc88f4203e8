"""The library that Caffe multiplies with, its kernel, and the warning if that kernel is far below the processor."""

import os
import platform
import re
import subprocess
import sys

import cv2
import pytest

from tests.toy_nets import random_image, random_weights
from tools.caffe_build import openblas
from tools.support import blas_in_use
from tools.support.blas_in_use import Blas, slow_kernel
from tools.support.caffe_in_use import manifest_in_use
from tools.support.errors import UserError
from tools.support.paths import ROOT

MODERN = frozenset(['sse', 'sse2', 'avx', 'avx2', 'fma'])
AVX512 = MODERN | frozenset(['avx512f', 'avx512bw', 'avx512dq', 'avx512vl'])
on_x86 = pytest.mark.skipif(platform.machine() != 'x86_64', reason='kernels of x86-64 processors')


def said(**variables):
    """`python -m tools.support.blas_in_use` under these variables, finished."""
    command = [sys.executable, '-m', 'tools.support.blas_in_use']
    return subprocess.run(command, cwd=ROOT, env=os.environ | variables, capture_output=True, text=True, check=True)


@on_x86
@pytest.mark.parametrize(('threads', 'words'), [(1, '1 thread'), (2, '2 threads')])
def test_library_of_caffe_is_asked_not_numpys_or_opencvs(threads, words):
    """Version, kernel and threads are those of the library beside libcaffe.so, even if a process holds several OpenBLAS."""
    if len(os.sched_getaffinity(0)) < threads:
        pytest.skip('one core')
    finished = said(OPENBLAS_CORETYPE='Haswell', OPENBLAS_NUM_THREADS=str(threads), OPENBLAS_VERBOSE='2')
    version = re.search(r'\d+\.\d+\.\d+', openblas.PROJECT)[0]
    bundled = manifest_in_use().get('blas') == 'bundled'
    expected = rf'OpenBLAS {version if bundled else "[0-9.]+"}, Haswell, {words}$'
    assert re.match(expected, finished.stdout.splitlines()[0])
    assert 'Core: Haswell' in finished.stderr  # OpenBLAS itself, as it is loaded


@pytest.mark.parametrize(
    ('kernel', 'flags', 'expected'),
    [
        ('Prescott', AVX512, 'OPENBLAS_CORETYPE=SkylakeX'),
        ('Nehalem', MODERN, 'OPENBLAS_CORETYPE=Haswell'),
        ('Prescott', frozenset({'sse2'}), ''),
        ('Haswell', AVX512, ''),
        ('Sandybridge', MODERN, ''),
        ('neoversen1', frozenset(), ''),
        ('', MODERN, ''),
    ],
)
def test_a_kernel_without_avx_on_a_processor_that_has_it(kernel, flags, expected, monkeypatch):
    """The warning names a kernel to ask for; any other pair of kernel and processor gets none."""
    monkeypatch.setattr(blas_in_use, '_processor_flags', lambda: flags)
    monkeypatch.delenv('OPENBLAS_CORETYPE', raising=False)
    line = slow_kernel(Blas('OpenBLAS 0.3.21', kernel, 2))
    assert line.endswith(expected) and bool(line) == bool(expected)


@on_x86
@pytest.mark.parametrize('kernel', ['Prescott', 'Haswell'])
def test_a_command_warns_of_a_slow_kernel_once(kernel, tmp_path):
    """The line on stderr names the remedy and the command goes on; a fast kernel gets no line."""
    if 'avx2' not in blas_in_use._processor_flags():
        pytest.skip('a processor without AVX2')
    weights = random_weights('front_toy', tmp_path / 'front.caffemodel')
    for name in ('a', 'b'):
        cv2.imwrite(str(tmp_path / f'{name}.png'), random_image(21, 34))
    command = [sys.executable, 'tools/predict.py', '--net', 'front_toy', '--weights', str(weights), '--tiling', 'tight']
    command += ['--out', str(tmp_path / 'out'), str(tmp_path / 'a.png'), str(tmp_path / 'b.png')]
    variables = os.environ | {'OPENBLAS_CORETYPE': kernel}
    finished = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True)
    assert finished.returncode == 0 and (tmp_path / 'out' / 'b.png').is_file()
    lines = [line for line in finished.stderr.splitlines() if 'without AVX' in line]
    assert len(lines) == (kernel == 'Prescott')
    assert all(line.endswith('unset OPENBLAS_CORETYPE, which asks for that kernel') for line in lines)


def test_a_processor_without_a_wheel_is_told_the_way_out(monkeypatch):
    """The message names BLAS=system."""
    monkeypatch.setattr(platform, 'machine', lambda: 'riscv64')
    with pytest.raises(UserError, match='no wheel for the processor riscv64; .*BLAS=system make caffe'):
        openblas.wheel_sha256()
