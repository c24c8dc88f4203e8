"""CAFFE_ROOT=/path: an existing Caffe, checked in a process of its own and then taken into use in `.venv`, or refused."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tools.caffe_build import environment, install
from tools.support.caffe_in_use import read_manifest
from tools.support.errors import UserError
from tools.support.paths import VENV

PROBE = Path(__file__).with_name('probe.py')
PROGRAM_FOLDERS = ('build/tools', 'build/install/bin', 'bin', 'tools')  # of Make, CMake, an install, others
# Questions of probe.py -> what is asked for, and the fault if the answer is no.
QUESTIONS = {
    'layers': ('layer types', 'layer types are missing'),
    'dilation': (
        'dilated convolution',
        'convolution_param { dilation } does not work; BVLC Caffe has it since December 2015',
    ),
    'lmdb': ('Data layer on LMDB', 'the Data layer cannot read an LMDB; build it with USE_LMDB'),
    'large_files': (
        'weights above 512 MiB',
        'a caffemodel of more than 512 MiB does not load; see SetTotalBytesLimit in src/caffe/util/io.cpp',
    ),
}


def use(root: Path) -> None:
    """Take the Caffe at `root` into use. Raises UserError with the reason if it cannot be used."""
    programs, module_folder = find_programs(root), root / 'python'
    if not (module_folder / 'caffe' / '__init__.py').is_file():
        raise UserError(f'CAFFE_ROOT={root}: no python/caffe there; build it with Python support (`make pycaffe`)')
    refuse_unless_fit(root)
    environment.write_paths(install.MODULE_PATHS, f'{module_folder.resolve()}\n')
    for name, program in programs.items():
        install.link(VENV / 'bin' / name, program.resolve())
    print(f'Caffe in use: {root} (commit {commit(root) or "unknown"})', file=sys.stderr)


def is_used(root: Path) -> bool:
    """Whether `.venv` already uses the programs and the module of the Caffe at `root`."""
    paths = environment.site_packages() / f'{install.MODULE_PATHS}.pth'
    in_use = VENV / 'bin' / install.PROGRAMS[0]
    return (
        paths.is_file()
        and paths.read_text(encoding='utf-8') == f'{(root / "python").resolve()}\n'
        and in_use.exists()
        and in_use.resolve() == find_programs(root)[install.PROGRAMS[0]].resolve()
    )


def find_programs(root: Path) -> dict[str, Path]:
    """The programs `caffe` and others of the Caffe at `root`. Raises UserError naming what is not there."""
    if not root.is_dir():
        raise UserError(f'CAFFE_ROOT={root}: no such folder')
    for folder in PROGRAM_FOLDERS:
        found = {name: root / folder / name for name in install.PROGRAMS}
        if found['caffe'].is_file():
            missing = [name for name, path in found.items() if not path.is_file()]
            if missing:
                raise UserError(f'CAFFE_ROOT={root}: {root / folder} lacks {", ".join(missing)}; compile all tools')
            return found
    raise UserError(f'CAFFE_ROOT={root}: no program `caffe` in {", ".join(PROGRAM_FOLDERS)}; compile it first')


def refuse_unless_fit(root: Path) -> None:
    """Raise UserError with everything that the Caffe at `root` lacks."""
    imported = ask('import caffe', root)
    if imported.returncode:
        version = '.'.join(str(part) for part in sys.version_info[:2])
        raise UserError(
            f'CAFFE_ROOT={root}: `import caffe` fails under Python {version}: {last_line(imported.stderr)}\n'
            'Build its Python package for this Python; without CAFFE_ROOT, `make caffe` builds a Caffe that fits'
        )
    answers = [(lack, fault(question, root)) for question, (_, lack) in QUESTIONS.items()]
    lacks = [f'{lack} ({last_line(said)})' for lack, said in answers if said is not None]
    if lacks:
        raise UserError(
            f'CAFFE_ROOT={root} (commit {commit(root) or "unknown"}) cannot be used:\n  '
            + '\n  '.join(lacks)
            + '\nWithout CAFFE_ROOT, `make caffe` builds one that can'
        )


def fault(question: str, root: Path) -> str | None:
    """None when probe.py answers yes under the Caffe at `root`; else what it said."""
    finished = ask(question, root)
    return None if finished.returncode == 0 else finished.stdout + finished.stderr


def ask(question: str, root: Path) -> subprocess.CompletedProcess[str]:
    """Ask probe.py a question, or run a statement, under the Caffe at `root`."""
    variables = {**os.environ, 'PYTHONPATH': str(root / 'python'), 'GLOG_minloglevel': '2'}
    arguments = ['-c', question] if ' ' in question else [str(PROBE), question]
    return subprocess.run([str(environment.PYTHON), *arguments], env=variables, capture_output=True, text=True)


def last_line(said: str) -> str:
    """The last line with text, without glog's stack trace."""
    lines = [line for line in said.splitlines() if line.strip() and not line.lstrip().startswith(('@', '***'))]
    return lines[-1].strip() if lines else 'no message'


def commit(root: Path) -> str | None:
    """The commit of the Caffe at `root`: from its manifest if we built it, from git if it is a clone, else None."""
    manifest = read_manifest(root)
    if manifest:
        return str(manifest['commit'])
    if shutil.which('git') is None:
        return None
    query = ['git', '-C', str(root), 'rev-parse', '--show-toplevel', 'HEAD']
    top, _, head = subprocess.run(query, capture_output=True, text=True).stdout.strip().partition('\n')
    return head if head and Path(top) == root.resolve() else None
