"""What is measured runs in processes of its own, so that each has its own time and peak memory."""

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from dataset_prep.lmdb_store import stored_keys
from tools.support.errors import UserError
from tools.support.paths import ROOT, VENV

CONVERT = VENV / 'bin' / 'convert_imageset'


@dataclass(frozen=True)
class Run:
    """A process that ended: seconds, seconds of processor time, peak memory in bytes, and its last line of output."""

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    answer: str

    def __add__(self, other: 'Run') -> 'Run':
        """One after the other."""
        peak = max(self.peak_bytes, other.peak_bytes)
        return Run(self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds, peak, other.answer)


def python(module: str, *words: object) -> Run:
    """`python -m module words...`."""
    return command(sys.executable, '-m', module, *words)


def convert_imageset(folder: Path, names: list[str], out: Path, *options: str) -> Run:
    """Caffe's own program on files of `folder`. Raises UserError if it left some out, which it does not tell."""
    listing = out.with_suffix('.txt')
    listing.write_text(''.join(f'{name} 0\n' for name in names))
    run = command(CONVERT, *options, f'{folder}/', listing, out)
    if len(stored_keys(out)) != len(names):
        raise UserError(f'{CONVERT.name} left files out: {out} has {len(stored_keys(out))} records of {len(names)}')
    return run


def command(*words: object) -> Run:
    """Run a program to its end. Raises UserError if it fails."""
    begun = time.perf_counter()
    argv = [str(word) for word in words]
    process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds, process.returncode = time.perf_counter() - begun, os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode:
        raise UserError(f'{" ".join(argv)} ended with status {process.returncode}')
    return Run(seconds, usage.ru_utime + usage.ru_stime, 1024 * usage.ru_maxrss, (output.splitlines() or [''])[-1])


def answer(**values: object) -> None:
    """What a child tells its parent."""
    print(json.dumps(values))
