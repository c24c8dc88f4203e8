"""The CUDA side of the build, as far as it goes without a GPU, nvcc or the packages."""

import os
from contextlib import nullcontext

import pytest

from tools.caffe_build import cuda, cuda_in_use
from tools.caffe_build.variant import Variant, key
from tools.support.errors import UserError


@pytest.fixture
def path_with(tmp_path, monkeypatch):
    """Returns a function that puts a program which prints a text first on the PATH."""

    def put(name: str, text: str) -> None:
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\ncat <<END\n{text}\nEND\n', encoding='utf-8')
        program.chmod(0o755)
        monkeypatch.setenv('PATH', f'{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin')

    return put


def test_key_depends_on_architecture_and_nvcc(path_with):
    """Builds for different GPUs, or by different nvcc, have different keys, and none has the key of the CPU build."""
    path_with('nvcc', 'Cuda compilation tools, release 13.0, V13.0.88')
    keys = {key(Variant('shared', arch)) for arch in ('', '80', '90', '80;90')}
    path_with('nvcc', 'Cuda compilation tools, release 13.1, V13.1.80')
    assert len(keys | {key(Variant('shared', '90'))}) == 5


def test_architectures_of_the_gpus_present(path_with):
    """Each architecture that nvidia-smi names is compiled for, once."""
    path_with('nvidia-smi', '9.0\n8.6\n9.0')
    assert cuda.architectures({}) == '86;90'


def test_architecture_when_there_is_no_gpu_to_ask(monkeypatch, tmp_path, capsys):
    """Without a driver a CUDA build is still made, for the default architecture, and CUDA_ARCH= is named."""
    monkeypatch.setenv('PATH', str(tmp_path))
    assert cuda.architectures({}) == cuda.DEFAULT_ARCHITECTURE
    assert 'CUDA_ARCH=' in capsys.readouterr().err


def test_packages_fit_the_nvcc_on_the_path(path_with, monkeypatch, tmp_path):
    """CUDA 12's nvcc takes CUDA 12's libraries; without an nvcc the newest whole toolkit is fetched."""
    path_with('nvcc', 'Cuda compilation tools, release 12.4, V12.4.131')
    assert cuda.packages() == (cuda.PACKAGES[12], cuda.PACKAGES[12].libraries)
    monkeypatch.setenv('PATH', str(tmp_path / 'empty'))
    assert cuda.packages() == (cuda.PACKAGES[13], cuda.PACKAGES[13].libraries + cuda.PACKAGES[13].toolkit)


@pytest.mark.parametrize('text', ['Cuda compilation tools, release 9.1, V9.1.85', 'a wrapper that says nothing'])
def test_an_nvcc_of_unknown_version_is_refused(path_with, text):
    """The message says how to go on without it."""
    path_with('nvcc', text)
    with pytest.raises(UserError, match='take it off the PATH and CUDA 13 is fetched'):
        cuda.packages()


@pytest.mark.parametrize(
    ('nvcc', 'driver', 'words'),
    [
        ('13.0', '575.57.08', 'too old for CUDA 13; put the nvcc of CUDA 12 on the PATH .*nvidia-cuda-toolkit.* 580 or newer'),
        ('12.4', '470.82.01', 'too old for CUDA 12; update the driver to 525 or newer'),
        ('13.0', '580.159.04', None),
        ('12.4', '550.54.14', None),
    ],
)
def test_a_driver_too_old_is_refused(path_with, nvcc, driver, words):
    """CUDA 13's libraries need driver 580, CUDA 12's need 525; a machine without a driver passes."""
    path_with('nvcc', f'Cuda compilation tools, release {nvcc}, V{nvcc}.1')
    cuda.check_driver()
    path_with('nvidia-smi', driver)
    with pytest.raises(UserError, match=words) if words else nullcontext():
        cuda.check_driver()


def test_libraries_are_found_from_the_installed_build():
    """From .venv/cuda, relative paths lead to the packages' folders in .venv, wherever the checkout lies."""
    options = dict(option.removeprefix('-D').split('=', 1) for option in cuda.cmake_options())
    found = [os.path.normpath(cuda.environment.VENV / 'cuda' / path) for path in options['CUDA_RPATH'].split(';')]
    assert set(found) == {os.path.dirname(path) for path in options['CUDA_LIBRARIES'].split(';')}


@pytest.mark.parametrize(('manifest', 'fault'), [({}, True), ({'cuda_arch': ''}, True), ({'cuda_arch': '90'}, False)])
def test_what_needs_the_cuda_build_says_so(monkeypatch, manifest, fault):
    """Refused without any Caffe and with one for the CPU; nothing is said with one for GPUs."""
    monkeypatch.setattr(cuda_in_use, 'manifest_in_use', lambda: manifest)
    with pytest.raises(UserError, match='run first: CUDA=1 CUDA_ARCH=90 make caffe') if fault else nullcontext():
        cuda_in_use.main([])
