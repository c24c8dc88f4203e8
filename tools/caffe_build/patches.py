"""The changes to Caffe's source before it is compiled: unified diffs in patches/, and which of them a build takes.

Each patch says on top why it is there. A series is applied in order, without fuzz.
"""

import subprocess
from collections.abc import Iterable
from pathlib import Path

from tools.support.errors import UserError

FOLDER = Path(__file__).with_name('patches')

ALWAYS = ('large-weight-files', 'weights-from-hdf5', 'todays-python')
CUDA = ('cuda-13', 'cuda-without-a-gpu', 'cuda-clean-exit', 'cuda-tf32')
# Not in the build as released. The first is less memory; the others are a faster pass on a CPU.
SHARED_IM2COL = (
    *('shared-im2col', 'zeroed-memory', 'in-parallel', 'im2col-rows', 'convolution-in-parts'),
    *('relu-in-parallel', 'pooling-in-parallel', 'onednn'),
)
CUDA_SHARED_IM2COL = ('cuda-shared-im2col', 'cuda-convolution-in-bands')


def series(shared_im2col: bool, cuda: bool) -> tuple[str, ...]:
    """Names of the patches of a build, in order."""
    return (
        *ALWAYS,
        *(SHARED_IM2COL if shared_im2col else ()),
        *(CUDA if cuda else ()),
        *(CUDA_SHARED_IM2COL if shared_im2col and cuda else ()),
    )


def text(name: str) -> str:
    """A patch, with its description."""
    return (FOLDER / f'{name}.patch').read_text(encoding='utf-8')


def apply(tree: Path, names: Iterable[str], folder: Path = FOLDER) -> None:
    """Apply patches to the source `tree`. Raises UserError that names the first one that does not fit, and what `patch` said."""
    for name in names:
        patch = folder / f'{name}.patch'
        command = ['patch', '--strip=1', '--fuzz=0', '--batch', '--forward', '--no-backup-if-mismatch']
        try:
            done = subprocess.run([*command, f'--directory={tree}', f'--input={patch}'], capture_output=True, text=True)
        except FileNotFoundError:
            raise UserError('no program `patch`, which changes the source of Caffe; install the package patch') from None
        if done.returncode:
            raise UserError(f'{patch} does not fit the source of Caffe in {tree}:\n{(done.stdout + done.stderr).strip()}')
