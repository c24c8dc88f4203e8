"""Running a command for its seconds and its memory."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.support.errors import UserError
from tools.support.paths import ROOT

SAMPLE_S = 0.25  # a look costs some milliseconds a gigabyte, of a core that is measured


@dataclass(frozen=True)
class Run:
    """What a command took: seconds by the clock and of processor time, which other programs on the machine disturb less,
    the largest resident memory of it and its children together, its output.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int
    lines: tuple[str, ...]


def run(command: Sequence[object], variables: Mapping[str, str] | None = None) -> Run:
    """Run a command with this Python, given as after `python`. Raises UserError when it fails."""
    words = [sys.executable, *map(str, command)]
    begun = time.perf_counter()
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True, env={**os.environ, **(variables or {})})
    watch = _Watch(process.pid)
    out, _ = process.communicate()
    seconds = time.perf_counter() - begun
    if process.returncode:
        raise UserError(f'status {process.returncode} from: {" ".join(words)}')
    return Run(seconds, *watch.stop(), tuple(out.splitlines()))


class _Watch:
    """Watches the memory and the processor time of a process and its children, some of which may end before it."""

    def __init__(self, pid: int) -> None:
        self._pid, self._most, self._spent, self._stop = pid, 0, dict[int, float](), threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> tuple[float, int]:
        """Processor seconds of all, and the most memory of all at once."""
        self._stop.set()
        self._thread.join()
        return sum(self._spent.values()), self._most

    def _watch(self) -> None:
        while not self._stop.wait(SAMPLE_S):
            pids = family(self._pid)
            self._most = max(self._most, sum(map(resident_bytes, pids)))
            for pid in pids:
                self._spent[pid] = max(self._spent.get(pid, 0.0), cpu_seconds(pid))


def family(pid: int) -> list[int]:
    """A process and all that came from it."""
    found = [pid]
    for parent in found:
        try:
            for task in Path(f'/proc/{parent}/task').iterdir():
                found += map(int, (task / 'children').read_text().split())
        except OSError:
            continue
    return found


def resident_bytes(pid: int) -> int:
    """Memory that a process holds, its share of what it has in common with others; 0 when it is gone."""
    try:
        lines = Path(f'/proc/{pid}/smaps_rollup').read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith('Pss:')), 0)


def cpu_seconds(pid: int) -> float:
    """Processor time of a process so far, its threads' included; 0 when it is gone."""
    try:
        fields = Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf('SC_CLK_TCK')


def available_bytes() -> int:
    """Memory that is free for programs."""
    lines = Path('/proc/meminfo').read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith('MemAvailable:'))


def best_of(function: Callable[[], Any], times: int) -> tuple[float, Any]:
    """Seconds of the fastest of some calls, after one that is not counted, and what it returned."""
    result = function()
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        function()
        found.append(time.perf_counter() - begun)
    return min(found), result
