#!/usr/bin/env python3
"""Show what is installed and what is missing: Caffe and its needs, data sets and weights (both optional), and what to do next.

+ is there; - is missing or broken, followed by what to do. Lines without a mark are information.

Runs with any Python 3.11 or newer, before anything is installed. The exit status is 1 if Caffe is not usable.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - what follows does not even import there, and before 3.6 not an f-string
    sys.exit('error: this is Python %d.%d; run it with 3.11 or newer: make doctor SYSTEM_PYTHON=PATH' % sys.version_info[:2])  # noqa: UP031

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from dataset_prep.datasets import DATASETS, dataset, how_to_prepare, own_names
from pretrained.weights import WEIGHTS
from tools.caffe_build import caffe_root, environment, system
from tools.support.bootstrap import cleaned, foreign
from tools.support.caffe_in_use import read_manifest
from tools.support.errors import UserError, run_command
from tools.support.paths import DATA, ROOT

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


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command line: nothing but --help."""
    return argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)


def main(argv: list[str] | None) -> int:
    """Print everything; returns 1 if Caffe is not usable."""
    parse_args(argv)
    shell = shell_line(os.environ.pop('LEFT_OUT', '').split())
    caffe = caffe_lines()
    datasets = [dataset_line(name) for name in [*DATASETS, *own_names()]]
    for title, lines in (
        ('Needed by everything: the machine', [*machine_lines(), shell]),
        ('Needed by everything: Caffe', caffe),
        ('Optional: data sets, in data/', datasets),
        ('Optional: weights, in pretrained/', [weight_line(name) for name in WEIGHTS]),
        ('Next', next_lines(caffe, any(line.state == '+' for line in datasets))),
    ):
        print(title)
        print('\n'.join(str(line) for line in lines))
    return 1 if any(line.state == '-' for line in caffe) else 0


def next_lines(caffe: Sequence[Line], has_data: bool) -> list[Line]:
    """What can be done now, and what else needs first. `caffe`: its lines. `has_data`: whether a data set is prepared."""
    broken = next((line.todo for line in caffe if line.state == '-' and line.todo), '')
    if broken:
        return [Line('-', 'everything', 'needs Caffe', broken)]
    lacks = [] if has_data else ['a data set']
    lacks += [] if WEIGHTS['vgg16'].path.is_file() else ['vgg16']
    return [
        Line('+', 'make demo', 'needs nothing else'),
        Line(' ', 'train a network', f'needs {" and ".join(lacks)}, see above')
        if lacks
        else Line('+', 'train a network', 'make stages lists them; each needs its data set'),
        Line(' ', 'label images', 'needs the weights of a network: one of those above, or trained here'),
    ]


def machine_lines() -> list[Line]:
    """System, cores, memory, disk and GPU."""
    total, free = memory_bytes()
    short = free < NEEDED_MEMORY
    advice = 'Dilation8 on a 900x900 tile takes 3.8 GB: close something, or use smaller tiles' if short else ''
    return [
        system_line(),
        Line('-' if short else '+', 'memory', f'{free / GIB:.1f} GiB free of {total / GIB:.1f}', advice),
        Line(' ', 'cores', str(len(os.sched_getaffinity(0)))),
        Line(' ', 'disk', f'{shutil.disk_usage(ROOT).free / GIB:.0f} GiB free'),
        Line(' ', 'GPU', gpu_name() or 'none seen (nvidia-smi)'),
    ]


def system_line() -> Line:
    """The operating system and missing packages."""
    release = system.os_release()
    name = release.get('PRETTY_NAME', platform.system())
    if not system.is_tried(release):
        return Line(' ', 'system', name, 'tried on Debian 12 and 13 only; `make caffe` says what is lacking')
    missing = system.missing_packages()
    if missing:
        return Line('-', 'system', f'{name}; {len(missing)} packages missing: {" ".join(missing)}', 'make caffe')
    return Line('+', 'system', f'{name}, all packages there')


def shell_line(left_out: Sequence[str]) -> Line:
    """Variables of the user's shell that are for other programs, and those that make has already `left_out`.

    They are removed from here on, as in all commands.
    """
    names = sorted({*left_out, *foreign(os.environ)})
    kept = cleaned(os.environ)
    os.environ.clear()
    os.environ.update(kept)
    if not names:
        return Line('+', 'shell', 'nothing that other programs load comes in between')
    return Line(' ', 'shell', f'{", ".join(names)}: set for other programs, left out by the commands here')


def memory_bytes() -> tuple[int, int]:
    """Total and available memory of this machine in bytes."""
    text = Path('/proc/meminfo').read_text(encoding='utf-8')
    total, free = (int(re.search(rf'^{name}:\s+(\d+) kB', text, re.M)[1]) for name in ('MemTotal', 'MemAvailable'))  # type: ignore[index]
    return total * 1024, free * 1024


def gpu_name() -> str:
    """The GPUs of this machine as nvidia-smi names them; empty without nvidia-smi."""
    if shutil.which('nvidia-smi') is None:
        return ''
    query = ['nvidia-smi', '--query-gpu=name,memory.total', '--format=csv,noheader']
    finished = subprocess.run(query, capture_output=True, text=True)
    return '; '.join(finished.stdout.splitlines()) if finished.returncode == 0 else ''


def caffe_lines() -> list[Line]:
    """The virtual environment and the Caffe in use: its origin, its libraries, and what it lacks."""
    if not environment.PYTHON.exists():
        return [Line('-', '.venv', 'not there', 'make caffe')]
    module = module_folder()
    if module is None:
        return [Line('-', 'caffe', 'not installed, or does not import', 'make caffe')]
    root = module.parents[1]
    return [
        Line('+', 'caffe', f'{relative(root)}, {origin(root)}'),
        Line(' ', 'device', device(root)),
        blas_line(),
        *(fault_line(question, root) for question in caffe_root.LACKS),
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


def blas_line() -> Line:
    """The BLAS of Caffe and its kernel, and what to do if the kernel is far below the processor."""
    command = [str(environment.PYTHON), '-m', 'tools.support.blas_in_use']
    finished = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    fact, advice = (finished.stdout.splitlines() + ['', ''])[:2]
    return Line('-' if advice else '+', 'BLAS', fact or 'not found out', advice)


def fault_line(question: str, root: Path) -> Line:
    """The answer to one of the questions of probe.py."""
    said = caffe_root.fault(question, root)
    if said is None:
        return Line('+', caffe_root.HAS[question], 'yes')
    return Line('-', caffe_root.HAS[question], f'no: {caffe_root.last_line(said)}', 'make caffe, without CAFFE_ROOT')


def dataset_line(name: str) -> Line:
    """The splits of a data set with their counts, and its complete LMDBs."""
    try:
        folder, expected = DATA / name, dataset(name).splits
    except UserError as error:  # a user's own
        return Line('-', name, str(error))
    counts = {split: record_count(folder / f'{split}.json') for split in expected}
    if not any(counts.values()):
        return Line(' ', name, 'not there', preparation(name))
    fact = ', '.join(f'{split} {count or "missing"}' for split, count in counts.items())
    short = [f'{split} has {whole} in a complete copy' for split, whole in expected.items() if counts[split] != whole]
    stores = sorted(path.parent.name for path in folder.glob('*/manifest.json'))
    return Line('+', name, f'{fact}; LMDBs: {", ".join(stores) or "none"}', '; '.join(short))


def record_count(path: Path) -> int:
    """Number of records in a split's file; 0 if it is missing or broken."""
    try:
        return len(json.loads(path.read_text(encoding='utf-8'))['records'])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def preparation(name: str) -> str:
    """How to prepare a data set."""
    return how_to_prepare(name).removeprefix('run: ') + (', or make demo' if name == 'toy' else '')


def weight_line(name: str) -> Line:
    """Whether a weight file is there, by its size. Its checksum is checked when it is fetched."""
    row = WEIGHTS[name]
    todo = row.made_by or f'make weights-{name}'
    if not row.path.is_file():
        return Line(' ', name, 'not there', todo)
    size = row.path.stat().st_size
    wanted = row.size or row.min_size or 0
    if size < wanted or (row.size and size != wanted):
        return Line('-', name, f'{relative(row.path)} has {size:,} bytes, not {wanted:,}: broken', todo)
    return Line('+', name, f'{relative(row.path)}, {size / 1e6:.0f} MB')


def relative(path: Path) -> str:
    """A path relative to the checkout."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else str(path)


if __name__ == '__main__':
    run_command(main)
