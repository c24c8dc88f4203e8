"""What `make doctor` prints about this machine and the Caffe in use. It runs before anything is installed."""

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.caffe_build import caffe_root, cuda, environment, system
from tools.support.bootstrap import cleaned, foreign
from tools.support.caffe_in_use import read_manifest
from tools.support.memory_use import available_bytes
from tools.support.paths import ROOT

GIB = 1 << 30
NEEDED_MEMORY = 4 * GIB  # Dilation8 on one 900x900 tile


@dataclass(frozen=True)
class Line:
    """One line of the output. `state`: '+' there, '-' missing or broken, ' ' information. `todo`: a command or advice."""

    state: str
    name: str
    fact: str
    todo: str = ''

    def __str__(self) -> str:
        return f' {self.state} {self.name:<22} {self.fact}' + (f'  -> {self.todo}' if self.todo else '')


def machine_lines() -> list[Line]:
    """System, cores, memory, disk and GPU."""
    total, free = os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE'), available_bytes()
    short = free < NEEDED_MEMORY
    advice = 'Dilation8 on a 900x900 tile takes 3.8 GB: close something, or use smaller tiles' if short else ''
    return [
        system_line(),
        Line('-' if short else '+', 'memory', f'{free / GIB:.1f} GiB free of {total / GIB:.1f}', advice),
        Line(' ', 'cores', str(len(os.sched_getaffinity(0)))),
        Line(' ', 'disk', f'{shutil.disk_usage(ROOT).free / GIB:.0f} GiB free'),
        Line(' ', 'GPU', '; '.join(cuda.ask_driver('name,memory.total')) or 'none seen (nvidia-smi)'),
    ]


def system_line() -> Line:
    """The operating system and missing packages."""
    release = system.os_release()
    name = release.get('PRETTY_NAME', platform.system())
    if not system.is_tried(release):
        return Line(' ', 'system', name, 'tried on Debian 12 and 13 only; `make caffe` says what is missing')
    missing = system.missing_packages()
    if missing:
        return Line('-', 'system', f'{name}; {len(missing)} packages missing: {" ".join(missing)}', 'make caffe')
    return Line('+', 'system', f'{name}, all packages there')


def shell_line(left_out: Sequence[str]) -> Line:
    """Remove the shell's variables for other programs, as all commands do; the line also names those that make `left_out`."""
    names = sorted({*left_out, *foreign(os.environ)})
    kept = cleaned(os.environ)
    os.environ.clear()
    os.environ.update(kept)
    if not names:
        return Line('+', 'shell', 'no variables for other programs')
    return Line(' ', 'shell', f'{", ".join(names)}: set for other programs, left out by the commands here')


def caffe_lines() -> list[Line]:
    """The virtual environment and the Caffe in use: its origin, its device, its BLAS, and what it can do."""
    if not environment.PYTHON.exists():
        return [Line('-', '.venv', 'not there', 'make caffe')]
    module = module_folder()
    if module is None:
        return [Line('-', 'caffe', 'not installed, or does not import', 'make caffe')]
    root = module.parents[1]
    return [
        Line('+', 'caffe', f'{relative(root)}, {origin(root)}'),
        Line(' ', 'device', device(root)),
        said_line('BLAS', 'tools.support.blas_in_use'),
        said_line('engine', 'tools.support.cpu_engine'),
        *(fault_line(question, root) for question in caffe_root.QUESTIONS),
    ]


def module_folder() -> Path | None:
    """The folder of the package `caffe` that .venv's Python imports; None if the import fails."""
    command = [str(environment.PYTHON), '-c', 'import caffe; print(caffe.__file__)']
    finished = subprocess.run(command, capture_output=True, text=True, cwd='/', env={**os.environ, 'GLOG_minloglevel': '2'})
    return Path(finished.stdout.splitlines()[-1]).parent if finished.returncode == 0 else None


def origin(root: Path) -> str:
    """Commit and variant of a Caffe."""
    manifest = read_manifest(root) or {}
    variant = f', {manifest["im2col"]} im2col buffer' if 'im2col' in manifest else ', not built by this toolkit'
    return f'commit {(caffe_root.commit(root) or "unknown")[:7]}{variant}'


def device(root: Path) -> str:
    """Whether the Caffe can use a GPU, and whether there is one."""
    said = caffe_root.fault('gpu', root)
    if said is None:
        return 'GPU'
    return 'CPU only' if 'CPU-only' in said else 'built for GPUs, but none can be used here'


def said_line(title: str, module: str) -> Line:
    """What a module of .venv's Python says when it is run: a fact, and on a second line what is wrong with it."""
    finished = subprocess.run([str(environment.PYTHON), '-m', module], capture_output=True, text=True, cwd=ROOT)
    fact, advice = (finished.stdout.splitlines() + ['', ''])[:2]
    return Line('-' if advice else '+', title, fact or 'unknown', advice)


def fault_line(question: str, root: Path) -> Line:
    """The answer to one of the questions of probe.py."""
    asked_for, _ = caffe_root.QUESTIONS[question]
    said = caffe_root.fault(question, root)
    if said is None:
        return Line('+', asked_for, 'yes')
    return Line('-', asked_for, f'no: {caffe_root.last_line(said)}', 'make caffe, without CAFFE_ROOT')


def relative(path: Path) -> str:
    """A path relative to the checkout."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)
