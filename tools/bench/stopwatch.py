"""Runs a command and measures its seconds and its peak memory. All parts of `make bench` measure with it."""

import importlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.support.bootstrap import OWN
from tools.support.errors import UserError
from tools.support.paths import ROOT

SAMPLE_S = 0.1  # between two looks at the memory; a look takes 0.1 ms a process
_SIZES = ('RssAnon', 'RssShmem', 'RssFile', 'VmHWM')  # of /proc/PID/status


@dataclass(frozen=True)
class Run:
    """Seconds of a command by the clock and of processor time, its peak memory, and the lines that it printed.

    `peak_bytes` is the most that the process and its children held at one time.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    lines: tuple[str, ...]

    def __add__(self, other: 'Run') -> 'Run':
        """Both commands, one after the other."""
        peak = max(self.peak_bytes, other.peak_bytes)
        return Run(self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds, peak, self.lines + other.lines)


def run(command: Sequence[object], variables: Mapping[str, str] | None = None) -> Run:
    """Run this Python with the arguments `command`. Raises UserError if it fails."""
    return run_program([sys.executable, *command], variables)


def run_program(command: Sequence[object], variables: Mapping[str, str] | None = None) -> Run:
    """Run a program in the checkout, with `variables` added to the environment. Raises UserError if it fails."""
    words = list(map(str, command))
    own = ','.join([*filter(None, [os.environ.get(OWN)]), *(variables or {})])  # or a command would drop them as the user's
    environment = {**os.environ, **(variables or {}), OWN: own}
    begun = time.perf_counter()
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)
    watch = _Watch(process.pid)
    assert process.stdout
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds, process.returncode = time.perf_counter() - begun, os.waitstatus_to_exitcode(status)
    process.stdout.close()
    peak = watch.stop()  # ru_maxrss would include the memory of the process that started it
    if process.returncode:
        raise UserError(f'status {process.returncode} from: {" ".join(words)}')
    return Run(seconds, usage.ru_utime + usage.ru_stime, peak, tuple(out.splitlines()))


def apart(function: Callable[..., Any], *args: object, variables: Mapping[str, str] | None = None) -> tuple[Run, Any]:
    """Call function(*args) in its own process; returns the Run and the result. `args` and the result are JSON values.

    Raises UserError if it fails.
    """
    words = ['-m', 'tools.bench.stopwatch', function.__module__, function.__qualname__, json.dumps(args)]
    found = run(words, variables)
    return found, json.loads(found.lines[-1])


class _Watch:
    """Watches the memory of a process together with its children."""

    def __init__(self, pid: int) -> None:
        self._pid, self._most, self._stop = pid, 0, threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> int:
        """The most bytes at one time."""
        self._stop.set()
        self._thread.join()
        return self._most

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            self._most = max(self._most, held_bytes(family(self._pid)))


def family(pid: int) -> list[int]:
    """The ids of a process and of all its descendants."""
    found = [pid]
    for parent in found:
        try:
            for task in Path(f'/proc/{parent}/task').iterdir():
                found += map(int, (task / 'children').read_text().split())
        except OSError:
            continue
    return found


def held_bytes(pids: Sequence[int]) -> int:
    """Memory that processes hold together now, or the peak of one of them if that was more.

    Together they hold what is their own, and pages of files, which are shared and count once.
    """
    own = files = most = 0
    for pid in pids:
        try:
            lines = Path(f'/proc/{pid}/status').read_text().splitlines()
        except OSError:
            continue
        kib = {name: int(value.split()[0]) for name, _, value in (line.partition(':') for line in lines) if name in _SIZES}
        own += kib.get('RssAnon', 0) + kib.get('RssShmem', 0)
        files, most = max(files, kib.get('RssFile', 0)), max(most, kib.get('VmHWM', 0))
    return 1024 * max(own + files, most)


def best_of(function: Callable[[], Any], times: int) -> tuple[float, Any]:
    """Seconds of the fastest of `times` calls, after one that is not counted, and the result."""
    result = function()
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        function()
        found.append(time.perf_counter() - begun)
    return min(found), result


if __name__ == '__main__':
    module, name, arguments = sys.argv[1:]
    print(json.dumps(getattr(importlib.import_module(module), name)(*json.loads(arguments))))
