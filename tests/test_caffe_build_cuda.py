"""The CUDA side of the build, as far as it goes without a GPU, nvcc or the packages: patches, keys, architectures, versions."""

import os
from contextlib import nullcontext

import pytest

from tools.caffe_build import cuda, cuda_in_use
from tools.caffe_build.variant import Variant, key, variant_from
from tools.support.errors import UserError

SHARED, RELEASED = Variant('shared', '90'), Variant('as-released', '90')


@pytest.fixture
def path_with(tmp_path, monkeypatch):
    """Returns a function that puts a program printing a text first on the PATH."""

    def put(name: str, text: str) -> None:
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\ncat <<END\n{text}\nEND\n', encoding='utf-8')
        program.chmod(0o755)
        monkeypatch.setenv('PATH', f'{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin')

    return put


def test_a_buffer_for_each_gpu_needs_the_shared_buffer():
    """As released, every layer owns its buffer, so the patches to the shared one have nothing to change."""
    assert 'cuda-shared-im2col' in SHARED.patches
    assert set(RELEASED.patches) < set(SHARED.patches) and 'cuda-13' in RELEASED.patches
    assert not any(name.endswith('im2col') for name in RELEASED.patches)


def test_key_depends_on_architecture_and_on_the_cuda_side(path_with):
    """Builds for different GPUs, or by different nvcc, are different builds; none is the CPU build."""
    path_with('nvcc', 'Cuda compilation tools, release 13.0, V13.0.88')
    keys = {key(Variant('shared', arch)) for arch in ('', '80', '90', '80;90')}
    path_with('nvcc', 'Cuda compilation tools, release 13.1, V13.1.80')
    assert len(keys | {key(SHARED)}) == 5


def test_variants_lie_in_folders_of_their_own():
    """A CUDA build is installed beside the CPU build, and taken into use; as released, aside."""
    variants = (SHARED, Variant('shared', '90', aside=True), RELEASED, Variant())
    assert [(variant.folder, variant.in_use) for variant in variants] == [
        ('cuda', True), ('cuda', False), ('cuda-as-released', False), ('caffe', True),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ('variables', 'in_use', 'expected'),
    [
        ({}, '', ''),
        ({}, '80;90', '80;90'),
        ({'CUDA': '0'}, '80;90', ''),
        ({'CUDA': '1', 'CUDA_ARCH': '90,80'}, '', '80;90'),
        ({'CUDA': '1', 'CUDA_ARCH': '86'}, '90', '86'),
        ({'CUDA': 'aside', 'CUDA_ARCH': '86'}, '', '86'),
    ],
)
def test_cuda_asked_for_or_left_as_it_is(variables, in_use, expected):
    """CUDA=1 and CUDA=0 choose; without, a plain `make caffe` keeps what is in use."""
    assert variant_from(variables, {'cuda_arch': in_use}).cuda_arch == expected


@pytest.mark.parametrize('variables', [{'CUDA': 'yes'}, {'CUDA': '1', 'CUDA_ARCH': '9.0'}, {'CUDA': '1', 'CUDA_ARCH': 'sm_90'}])
def test_a_value_that_means_nothing_is_refused(variables):
    """A mistyped variable is named, with what to write."""
    with pytest.raises(UserError, match='CUDA=yes: write CUDA=1|write compute capability 8.0 and 9.0 as CUDA_ARCH=80,90'):
        variant_from(variables)


def test_architectures_of_the_gpus_present(path_with):
    """nvidia-smi says '9.0' and '8.6'; each is compiled for, once."""
    path_with('nvidia-smi', '9.0\n8.6\n9.0')
    assert cuda.architectures({}) == '86;90'


def test_architecture_when_there_is_no_gpu_to_ask(monkeypatch, tmp_path, capsys):
    """Without a driver a CUDA build is still made, for an architecture that is named."""
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
def test_an_nvcc_of_another_age_is_refused(path_with, text):
    """CUDA 9 knows neither today's GPUs nor today's compilers; the message says how to go on without it."""
    path_with('nvcc', text)
    with pytest.raises(UserError, match='take it off the PATH and CUDA 13 is fetched'):
        cuda.packages()


@pytest.mark.parametrize(
    ('nvcc', 'driver', 'words'),
    [
        ('13.0', '575.57.08', 'too old for CUDA 13; put the nvcc of CUDA 12 on the PATH .*nvidia-cuda-toolkit.* 580 or newer'),
        ('12.4', '470.82.01', 'too old for CUDA 12; bring the driver to 525 or newer'),
        ('13.0', '580.159.04', None),
        ('12.4', '550.54.14', None),
    ],
)
def test_a_driver_too_old_is_known_before_anything_is_fetched(path_with, nvcc, driver, words):
    """Libraries of CUDA 13 need a driver of the 580s, those of 12 one of the 525s; without a driver nothing is asked."""
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
def test_what_needs_the_cuda_build_says_so_before_anything_is_built(monkeypatch, manifest, fault):
    """Without any Caffe, with one for the CPU, and with one for GPUs in use."""
    monkeypatch.setattr(cuda_in_use, 'manifest_in_use', lambda: manifest)
    with pytest.raises(UserError, match='run first: CUDA=1 CUDA_ARCH=90 make caffe') if fault else nullcontext():
        cuda_in_use.main([])
