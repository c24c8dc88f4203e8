"""`make check-cuda`: Caffe's own C++ tests, also those for GPUs, on simulated GPUs. On real ones: make caffe-runtest."""

from tools.caffe_build import cache, runtest
from tools.caffe_build.variant import Variant
from tools.support.caffe_in_use import read_manifest
from tools.support.paths import VENV


def test_caffes_own_tests(pretended, tmp_path, monkeypatch):
    """All 20 files pass: layers, data, nets and solvers, in float and double, on the CPU and on GPUs."""
    variant = Variant('shared', read_manifest(VENV / 'cuda')['cuda_arch'], aside=True)
    folder = cache.cache_folder()
    with cache.only_one(folder):
        tests = runtest.build_tests(folder, variant, VENV / 'cuda')
    for name, value in {**pretended.variables(2, tmp_path), 'OPENBLAS_NUM_THREADS': '1'}.items():
        monkeypatch.setenv(name, value)
    assert runtest.cpp_tests(tests, VENV / 'cuda', ['--gtest_filter=*']) == 0
