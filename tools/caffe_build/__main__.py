"""`make caffe`: real BVLC Caffe in `.venv`, built or taken from the cache. Does nothing if it is there.

Environment:
CAFFE_ROOT=/path takes an existing Caffe into use instead. CAFFE_SOURCE=FILE compiles an archive of your own (source.py).
IM2COL=as-released builds a second Caffe, with one im2col buffer per layer, into .venv/as-released.
CUDA=1 builds a Caffe for GPUs and takes it into use. CUDA_ARCH=80,90 names their architectures; the default is those of the GPUs
present. CUDA=aside builds it but leaves the Caffe in use as it is. CUDA=0 goes back to the Caffe for CPUs.
BLAS=system links the system's OpenBLAS; BLAS=bundled, the default, links the one that openblas.py fetches.
Without CUDA or BLAS, they stay as in the Caffe that is in use.
"""

import os
import sys
from pathlib import Path

from tools.caffe_build import cache, caffe_root, compile, cuda, environment, install, openblas, system
from tools.caffe_build.variant import Variant, key, variant_from
from tools.support.bootstrap import system_first
from tools.support.caffe_in_use import manifest_in_use
from tools.support.errors import run_command


def main(argv: list[str] | None) -> None:
    """Build or take into use what the environment asks for; argv is not used."""
    os.environ['PATH'] = system_first()
    root = os.environ.get('CAFFE_ROOT')
    if root:
        use_existing(Path(root).absolute())
        return
    build_and_install(variant_from(os.environ, manifest_in_use()))


def build_and_install(variant: Variant) -> None:
    """Build `variant`, or take it from the cache, and install it in `.venv`. Does nothing if it is there."""
    if is_ready(variant):
        return
    folder = cache.cache_folder()
    with cache.only_one(folder):
        cache.sweep(folder)
        system.prepare([openblas.SYSTEM_PACKAGE] if variant.blas == 'system' else [])
        environment.prepare()
        if variant.cuda_arch:
            cuda.prepare()
        if not install.is_installed(variant, key(variant)):
            install.install(compile.build(folder, variant, environment.PYTHON), variant)
    print(f'Caffe is ready: {install.VENV / variant.folder}', file=sys.stderr)


def use_existing(root: Path) -> None:
    """Take the Caffe at `root` into use."""
    if environment.is_ready() and caffe_root.is_used(root):
        return
    with cache.only_one(cache.cache_folder()):
        environment.prepare()
        caffe_root.use(root)


def is_ready(variant: Variant) -> bool:
    """Whether nothing is left to do for `variant`."""
    return environment.is_ready() and (not variant.cuda_arch or cuda.is_ready()) and install.is_installed(variant, key(variant))


if __name__ == '__main__':
    run_command(main)
