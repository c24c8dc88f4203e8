"""The variant of Caffe that the variables of `make caffe` ask for, and the key that names its build in the cache."""

import shutil
import subprocess
import sys

import pytest

from tools.caffe_build.variant import Variant, key, variant_from
from tools.support.errors import UserError
from tools.support.paths import ROOT

SHARED, RELEASED = Variant('shared', '90'), Variant('as-released', '90')


@pytest.mark.parametrize(
    ('variables', 'in_use', 'expected'),
    [
        ({}, {}, Variant()),
        ({}, {'cuda_arch': '80;90', 'blas': 'system'}, Variant(cuda_arch='80;90', blas='system')),
        ({'CUDA': '0'}, {'cuda_arch': '80;90'}, Variant()),
        ({'CUDA': '1', 'CUDA_ARCH': '90,80'}, {}, Variant(cuda_arch='80;90')),
        ({'CUDA': '1', 'CUDA_ARCH': '86'}, {'cuda_arch': '90'}, Variant(cuda_arch='86')),
        ({'CUDA': 'aside', 'CUDA_ARCH': '86'}, {}, Variant(cuda_arch='86', aside=True)),
        ({'BLAS': 'bundled'}, {'blas': 'system'}, Variant()),
        ({'IM2COL': 'as-released'}, {'blas': 'system'}, Variant('as-released', blas='system')),
    ],
)
def test_variables_choose_and_what_is_in_use_stays(variables, in_use, expected):
    """CUDA= and BLAS= choose; without them a plain `make caffe` keeps what the Caffe in use has."""
    assert variant_from(variables, in_use) == expected


@pytest.mark.parametrize(
    ('variables', 'message'),
    [
        ({'IM2COL': 'own'}, 'IM2COL=own: choose one of shared, as-released'),
        ({'BLAS': 'mkl'}, 'BLAS=mkl: choose one of bundled, system'),
        ({'CUDA': 'yes'}, 'CUDA=yes: write CUDA=1'),
        ({'CUDA': '1', 'CUDA_ARCH': '9.0'}, 'write compute capability 8.0 and 9.0 as CUDA_ARCH=80,90'),
        ({'CUDA': '1', 'CUDA_ARCH': 'sm_90'}, 'write compute capability 8.0 and 9.0 as CUDA_ARCH=80,90'),
    ],
)
def test_unknown_value_is_refused(variables, message):
    """The message names the variable and what to write."""
    with pytest.raises(UserError, match=message):
        variant_from(variables)


def test_variants_lie_in_folders_of_their_own():
    """A CUDA build is installed beside the CPU build and is in use; as released it is not in use."""
    variants = (SHARED, Variant('shared', '90', aside=True), RELEASED, Variant())
    assert [(variant.folder, variant.in_use) for variant in variants] == [
        ('cuda', True), ('cuda', False), ('cuda-as-released', False), ('caffe', True),
    ]  # fmt: skip


def test_patches_of_a_variant():
    """A CPU build takes no patch for CUDA; as released, a build takes no patch to im2col, as each layer has its own buffer."""
    for im2col in ('shared', 'as-released'):
        assert not any(name.startswith('cuda') for name in Variant(im2col).patches)
    assert 'cuda-shared-im2col' in SHARED.patches
    assert set(RELEASED.patches) < set(SHARED.patches) and 'cuda-13' in RELEASED.patches
    assert not any(name.endswith('im2col') for name in RELEASED.patches)


def test_variants_have_different_keys():
    """Builds of different sorts never share a folder of the cache."""
    assert len({key(Variant()), key(Variant('as-released')), key(Variant(blas='system'))}) == 3


def test_key_does_not_depend_on_where_the_checkout_lies(tmp_path):
    """A copy of the scripts elsewhere finds the same build."""
    shutil.copytree(ROOT / 'tools', tmp_path / 'tools', ignore=shutil.ignore_patterns('__pycache__'))
    command = [sys.executable, '-c', 'from tools.caffe_build.variant import Variant, key; print(key(Variant()))']
    here, there = (
        subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, env={'PATH': '/usr/bin:/bin'}).stdout
        for folder in (ROOT, tmp_path)
    )
    assert there == here
