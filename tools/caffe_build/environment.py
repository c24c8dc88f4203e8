"""The virtual environment `.venv`: made from the system's Python, with the packages that pyproject.toml names."""

import hashlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

from tools.support.atomic import whole_file
from tools.support.errors import UserError
from tools.support.paths import ROOT, VENV

PYTHON = VENV / 'bin' / 'python'
STAMP = VENV / '.requirements'
PATHS = '../../../..\n'  # from site-packages: the root of the checkout


def requirements(extra: str = 'dev') -> list[str]:
    """What pip installs: the dependencies of pyproject.toml, and those of one of its extras."""
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']
    return [*project['dependencies'], *project['optional-dependencies'][extra]]


def stamp() -> str:
    """What STAMP holds when `.venv` is as it should be: the hash of the requirements, and the Python it belongs to."""
    lines = '\n'.join(requirements())
    return f'{hashlib.sha256(lines.encode()).hexdigest()} {sys.version}\n'


def is_ready() -> bool:
    """Whether `.venv` runs and has the packages asked for."""
    return PYTHON.exists() and STAMP.is_file() and STAMP.read_text(encoding='utf-8') == stamp()


def prepare() -> None:
    """Make `.venv` and install the packages, unless that is done. Raises UserError when pip fails."""
    if is_ready():
        return
    if not is_of_this_python():
        print('making .venv', file=sys.stderr, flush=True)
        run([sys.executable, '-m', 'venv', '--clear', str(VENV)], 'cannot make .venv')
    print('installing Python packages', file=sys.stderr, flush=True)
    run([str(PYTHON), '-m', 'pip', 'install', '--quiet', *requirements()], 'pip could not install the Python packages')
    write_paths('dilation_toolkit', PATHS)
    with whole_file(STAMP) as temporary:
        temporary.write_text(stamp(), encoding='utf-8')


def is_of_this_python() -> bool:
    """Whether `.venv` is there whole, made by the Python that runs this, and works."""
    command = [str(PYTHON), '-c', 'import pip, sys; print(sys.version)']
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == sys.version
    except (OSError, subprocess.CalledProcessError):
        return False


def site_packages() -> Path:
    """The folder of `.venv` that holds its packages."""
    return VENV / 'lib' / f'python{sys.version_info[0]}.{sys.version_info[1]}' / 'site-packages'


def write_paths(name: str, lines: str) -> None:
    """Put folders on the path of `.venv`'s Python; relative ones start at site-packages, so that a checkout can be moved."""
    path = site_packages() / f'{name}.pth'
    if not path.is_file() or path.read_text(encoding='utf-8') != lines:
        with whole_file(path) as temporary:
            temporary.write_text(lines, encoding='utf-8')


def run(command: list[str], fault: str) -> None:
    """Run a command, with its output on stderr. Raises UserError with `fault` if it fails."""
    # A pip that is set up to install for the user refuses to do so in a virtual environment.
    if subprocess.run(command, stdout=sys.stderr, env=os.environ | {'PIP_USER': 'no'}).returncode:
        raise UserError(f'{fault} (above): {" ".join(command)}')
