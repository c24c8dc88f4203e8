"""`make caffe`: real BVLC Caffe in `.venv`, from nothing or from the cache; nothing to do when it is there.

Environment: CAFFE_ROOT=/path takes an existing Caffe into use instead; IM2COL=as-released builds a second Caffe, with one
im2col buffer a layer, into .venv/as-released.
"""

import os
import sys

from tools.caffe_build import cache, compile, environment, install, system
from tools.caffe_build.variant import Variant, key, variant_from
from tools.support.errors import run_command


def main(argv: list[str] | None) -> None:
    """Do what is asked for; argv is not used."""
    ours(variant_from(os.environ))


def ours(variant: Variant) -> None:
    """Have `variant` in `.venv`."""
    if environment.is_ready() and install.is_installed(variant, key(variant)):
        return
    folder = cache.cache_folder()
    with cache.only_one(folder):
        cache.sweep(folder)
        system.prepare()
        environment.prepare()
        if not install.is_installed(variant, key(variant)):
            install.install(compile.build(folder, variant, environment.PYTHON), variant)
    print(f'Caffe is ready: {install.VENV / variant.folder}', file=sys.stderr)


if __name__ == '__main__':
    run_command(main)
