"""`make caffe-bundle OUT=caffe.tar.xz`: the program `caffe` with all its libraries, for a machine where nothing can be installed.

The other machine needs a C library at least as new. For a CUDA build it also needs the driver and CUDA's own libraries, in the
folders that NVIDIA_LIBS names (PyTorch's are fine): NVIDIA_LIBS=... caffe/run caffe train --solver ... --gpu 0
OpenCV links to GDAL, GDCM and OpenGL, and through them to a hundred libraries. Caffe never calls those, so they are left out.
"""

import argparse
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tools.support.atomic import whole_file
from tools.support.caffe_in_use import in_use
from tools.support.errors import UserError, run_command

OF_THE_C_LIBRARY = re.compile(r'(ld-linux|lib(c|m|dl|rt|pthread|resolv|util)\.so)')
OF_CUDA = re.compile(r'lib(cuda|cudart|cublas|cublasLt|curand|nccl)\.so')
LEFT_OUT = re.compile(r'lib(gdal|gdcm\w+|OpenGL|GLX)\.so')
RUN = """#!/bin/sh
# run PROGRAM ARGUMENTS
here=$(dirname "$(readlink -f "$0")")
program=$1
shift
LD_LIBRARY_PATH="$here/lib${NVIDIA_LIBS:+:$NVIDIA_LIBS}" exec "$here/bin/$program" "$@"
"""


def main(argv: list[str] | None) -> None:
    """Write the archive."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('out', type=Path, help='the archive to write, .tar.xz')
    parser.add_argument('more', nargs='*', type=Path, help='other programs to pack, such as caffe_tests')
    args = parser.parse_args(argv)
    build = in_use()
    if build is None or not (build / 'lib' / 'libcaffe.so').is_file():
        raise UserError('no Caffe of this toolkit in .venv; run: make caffe')
    with tempfile.TemporaryDirectory() as folder:
        pack(build, args.more, Path(folder) / 'caffe')
        with whole_file(args.out) as temporary, tarfile.open(temporary, 'w:xz', preset=3) as archive:
            archive.add(Path(folder) / 'caffe', 'caffe')
    print(f'{args.out}: {args.out.stat().st_size / 1e6:.0f} MB')


def pack(build: Path, more: list[Path], folder: Path) -> None:
    """Fill `folder` with the programs, the libraries, and `run`. The programs look in `../lib` first."""
    libraries, programs = folder / 'lib', folder / 'bin'
    libraries.mkdir(parents=True)
    programs.mkdir()
    for library in (build / 'lib').glob('*.so*'):
        shutil.copy(library, libraries)
    for program in (build / 'bin' / 'caffe', *more):
        shutil.copy(program, programs)
    (folder / 'run').write_text(RUN, encoding='utf-8')
    (folder / 'run').chmod(0o755)
    stand_ins(linked(list(programs.iterdir())), libraries)
    # linked() now sees the stand-ins, so it no longer lists what only the real libraries need.
    for name, path in linked(list(programs.iterdir())).items():
        if not (libraries / name).exists() and not OF_THE_C_LIBRARY.match(name) and not OF_CUDA.match(name):
            shutil.copy(path, libraries / name)


def linked(files: list[Path]) -> dict[str, Path]:
    """Name -> path of every library that `files` load. Raises UserError if one is missing, unless it is CUDA's."""
    found: dict[str, Path] = {}
    for file in files:
        said = subprocess.run(['ldd', str(file)], env={'PATH': '/usr/bin:/bin'}, capture_output=True, text=True).stdout
        for name, path in re.findall(r'(\S+) => (not found|/\S+)', said):
            if path != 'not found':
                found[name] = Path(path)
            elif not OF_CUDA.match(name):
                raise UserError(f'{file} needs {name}, which is missing; run: make caffe')
    return found


def stand_ins(needed: dict[str, Path], folder: Path) -> None:
    """Write to `folder` a stand-in for each library of `needed` that is left out."""
    for name, path in needed.items():
        if LEFT_OUT.match(name):
            users = [user for other, user in needed.items() if other.startswith('libopencv')]
            stand_in(path, users, folder / name)


def stand_in(library: Path, users: Sequence[Path], out: Path) -> None:
    """Write to `out` a library with those functions of `library` that `users` call; they do nothing."""
    named = set().union(*(symbols(user, '--undefined-only') for user in users))
    names = sorted(symbols(library, '--defined-only') & named)
    text = ''.join(f'.globl {name}\n.type {name},@function\n{name}:\n' for name in names) + 'ret\n'
    command = ['c++', '-shared', '-nostdlib', '-fPIC', f'-Wl,-soname,{out.name}', '-x', 'assembler', '-', '-o', str(out)]
    subprocess.run(command, input=text, text=True, check=True)


def symbols(file: Path, which: str) -> set[str]:
    """Dynamic symbols of a library, without their versions."""
    said = subprocess.run(['nm', '-D', which, str(file)], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].split('@')[0] for line in said.splitlines()}


if __name__ == '__main__':
    run_command(main)
