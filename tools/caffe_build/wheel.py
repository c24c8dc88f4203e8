"""`make wheel`: the Caffe in use as a wheel with its libraries inside, for this Python on machines without Caffe's packages.

`pip install` puts it into any virtual environment of the same Python version, on a machine whose C library is at least as new. It
only holds the Python package. For the program `caffe`, or for another Python version, use `make caffe-bundle`.
"""

import argparse
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

from tools.caffe_build import environment, source
from tools.caffe_build.bundle import linked, stand_ins
from tools.support.caffe_in_use import in_use, manifest_in_use
from tools.support.errors import UserError, run_command
from tools.support.paths import ROOT

CAFFE_VERSION = '1.0.0'
IMPORTED = ('numpy', 'protobuf', 'scikit-image', 'scipy', 'six')  # by Caffe's own Python code
TAG = f'cp{sys.version_info[0]}{sys.version_info[1]}'


def main(argv: list[str] | None) -> None:
    """Write the wheel."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=ROOT / 'dist', help='folder to write it to (default: dist/)')
    args = parser.parse_args(argv)
    build = in_use()
    manifest = manifest_in_use()
    if build is None or not manifest:
        raise UserError('no Caffe of this toolkit in .venv; run: make caffe')
    if manifest['cuda_arch']:
        raise UserError("the Caffe in use is for GPUs, and a wheel cannot hold CUDA's libraries; run: CUDA=0 make wheel")
    path = make(build, args.out)
    print(f'{path}: {path.stat().st_size / 1e6:.0f} MB')


def make(build: Path, out: Path) -> Path:
    """Write the wheel of the Caffe in the folder `build` to `out`. Returns its path."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        libraries = folder / 'libraries'
        libraries.mkdir()
        pack(build, folder / 'tree', libraries)
        plain = folder / f'caffe-{version()}-{TAG}-{TAG}-linux_{platform.machine()}.whl'
        zip_tree(folder / 'tree', plain)
        # auditwheel adds the libraries that the module links to, except those that every Linux has.
        repaired = folder / 'repaired'
        run_tool('auditwheel', 'repair', '--wheel-dir', str(repaired), str(plain), LD_LIBRARY_PATH=str(libraries))
        (made,) = repaired.glob('*.whl')
        out.mkdir(parents=True, exist_ok=True)
        return Path(shutil.move(made, out / made.name))


def pack(build: Path, tree: Path, libraries: Path) -> None:
    """Fill `tree` with the Python package and its metadata, and `libraries` with the libraries to use instead of the system's.

    Python's own library is left out: the program `python` has it inside. GDAL and the like are left out as in bundle.py.
    """
    shutil.copytree(build / 'python' / 'caffe', tree / 'caffe', ignore=shutil.ignore_patterns('__pycache__'))
    for library in (build / 'lib').glob('*.so*'):
        shutil.copy(library, libraries)
    needed = linked([build / 'python' / 'caffe' / '_caffe.so'])
    stand_ins(needed, libraries)
    python = [word for name in needed if re.match(r'libpython\d', name) for word in ('--remove-needed', name)]
    for file in (tree / 'caffe' / '_caffe.so', libraries / 'libcaffe.so'):
        run_tool('patchelf', '--remove-rpath', *python, str(file))
    described = tree / f'caffe-{version()}.dist-info'
    (described / 'licenses').mkdir(parents=True)
    shutil.copy(ROOT / 'NOTICE', described / 'licenses')
    (described / 'WHEEL').write_text(f'Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: {TAG}-{TAG}-linux_{platform.machine()}\n')
    (described / 'METADATA').write_text(metadata())
    files = [file.relative_to(tree) for file in sorted(tree.rglob('*')) if file.is_file()]
    (described / 'RECORD').write_text(''.join(f'{file},,\n' for file in files))  # auditwheel adds the sums


def version() -> str:
    """Caffe's version, then after a plus Caffe's commit and this toolkit's version."""
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']
    return f'{CAFFE_VERSION}+{source.COMMIT[:7]}.toolkit{project["version"]}'


def metadata() -> str:
    """The text of METADATA: name, version, and the packages that pip installs with it, in the ranges of pyproject.toml."""
    rows = [row for row in environment.requirements() if re.match(r'[\w-]+', row)[0] in IMPORTED]  # type: ignore[index]
    lines = ['Metadata-Version: 2.1', 'Name: caffe', f'Version: {version()}', 'Summary: BVLC Caffe for CPUs, with its libraries']
    lines += ['License: BSD-2-Clause', f'Requires-Python: =={sys.version_info[0]}.{sys.version_info[1]}.*']
    return '\n'.join([*lines, *(f'Requires-Dist: {row}' for row in rows), ''])


def zip_tree(tree: Path, path: Path) -> None:
    """Write the files below `tree` into the archive `path`."""
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(tree.rglob('*')):
            archive.write(file, file.relative_to(tree))


def run_tool(program: str, *words: str, **variables: str) -> None:
    """Run a program of `.venv`. Raises UserError with its output if it fails."""
    folder = environment.PYTHON.parent
    path = os.pathsep.join([str(folder), os.environ.get('PATH', os.defpath)])
    command = [str(folder / program), *words]
    finished = subprocess.run(command, env={**os.environ, 'PATH': path, **variables}, capture_output=True, text=True)
    if finished.returncode:
        raise UserError(f'{program} failed:\n{finished.stdout}{finished.stderr}'.rstrip())


if __name__ == '__main__':
    run_command(main)
