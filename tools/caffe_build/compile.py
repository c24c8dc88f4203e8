"""Compiles Caffe with CMake into a folder of the cache."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.caffe_build import cache, cuda, onednn, openblas, patches, source, system
from tools.caffe_build.variant import CMAKE_LISTS, Variant, key
from tools.support.errors import UserError

OF_OUR_MAKE = ('MAKEFLAGS', 'MFLAGS', 'MAKELEVEL')  # the options of `make caffe` are not for the make that CMake runs


def build(folder: Path, variant: Variant, python: Path) -> Path:
    """The finished build of `variant` in the cache `folder`; compiled unless it is there whole. Call it with the lock held."""
    entry = folder / key(variant)
    if cache.is_whole(entry, key(variant)):
        return entry
    print(f'compiling Caffe ({variant.im2col} im2col buffer, {"CUDA" if variant.cuda_arch else "CPU"}): minutes', file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=folder, prefix='source-') as temporary, cache.new_entry(entry) as made:
        tree = patched_source(folder, Path(temporary), variant, python)
        options = [*machine_options(folder, Path(temporary), variant, python), f'-DCMAKE_INSTALL_PREFIX={made}']
        work = Path(temporary) / 'objects'
        cmake(tree, work, options, python)
        call(['cmake', '--install', str(work)], quiet=True)
        cache.write_manifest(made, facts(variant))
    return entry


def patched_source(folder: Path, temporary: Path, variant: Variant, python: Path) -> Path:
    """Caffe's source, unpacked below `temporary` and patched for `variant`."""
    tree = source.unpack(source.fetch(folder, python), temporary)
    patches.apply(tree, variant.patches)
    return tree


def machine_options(folder: Path, temporary: Path, variant: Variant, python: Path) -> list[str]:
    """All options for CMakeLists.txt except where to install. Fetched files lie in the cache `folder` or below `temporary`."""
    cuda_options = cuda.cmake_options() if variant.cuda_arch else []
    blas_options = openblas.cmake_options(folder, temporary / 'blas', python) if variant.blas == 'bundled' else []
    onednn_options = onednn.cmake_options(folder, temporary / 'onednn', python) if variant.has_onednn else []
    return [*variant.cmake_flags, *cuda_options, *blas_options, *onednn_options]


def facts(variant: Variant) -> dict[str, object]:
    """The facts in a build's manifest."""
    return {
        'key': key(variant),
        'commit': source.COMMIT,
        'im2col': variant.im2col,
        'cuda_arch': variant.cuda_arch,
        'blas': variant.blas,
    }


def cmake(tree: Path, work: Path, options: list[str], python: Path) -> None:
    """Configure our project for the source `tree` in the folder `work`, and compile it on all cores."""
    shutil.copy(CMAKE_LISTS, tree)
    if system.is_tried(system.os_release()):  # Debian's own libraries, whatever lies in /usr/local or beside the programs of PATH
        options = ['-DCMAKE_PREFIX_PATH=/usr', '-DCMAKE_FIND_USE_SYSTEM_ENVIRONMENT_PATH=OFF', *options]
    call(['cmake', '-S', str(tree), '-B', str(work), f'-DPython3_EXECUTABLE={python}', *options], quiet=True)
    call(['cmake', '--build', str(work), '--parallel', str(len(os.sched_getaffinity(0)))])


def call(command: list[str], quiet: bool = False) -> None:
    """Run a command, with its output on stderr unless `quiet`. Raises UserError if it fails, with the output if `quiet`."""
    variables = {name: value for name, value in os.environ.items() if name not in OF_OUR_MAKE}
    finished = subprocess.run(command, env=variables, stdout=subprocess.PIPE if quiet else sys.stderr, text=True)
    if finished.returncode:
        raise UserError(f'{" ".join(command[:2])} failed (above)\n{finished.stdout or ""}'.rstrip())
