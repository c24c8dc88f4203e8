"""Measures memory: the free memory, that of a process as the kernel counts it, and that of a GPU as its driver counts it."""

import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

MIB = 1 << 20
INTERVAL_MS = 100
MEMINFO = Path('/proc/meminfo')
CGROUP = Path('/sys/fs/cgroup')  # a container's limit may be lower than the memory of the machine


def available_bytes() -> int:
    """Bytes that the system can give to a new process; in a container at most what its limit leaves."""
    line = next(line for line in MEMINFO.read_text().splitlines() if line.startswith('MemAvailable'))
    available = 1024 * int(line.split()[1])
    try:
        limit, used = (int((CGROUP / name).read_text()) for name in ('memory.max', 'memory.current'))
    except (OSError, ValueError):  # not in a container, or 'max', which is no limit
        return available
    return min(available, limit - used)


def peak_bytes(pid: str | int = 'self') -> int:
    """Peak resident memory of a process in bytes, with mapped files and without memory inherited at a fork."""
    lines = Path(f'/proc/{pid}/status').read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith('VmHWM')).split()[1])


class Peak:
    """Samples the peak memory of a process. The kernel keeps the maximum, so only growth after the last sample is missed."""

    def __init__(self, pid: int) -> None:
        self.bytes, self._pid = 0, pid

    def look(self) -> None:
        """Read the peak so far. After the process has ended, the last value stays."""
        with suppress(OSError, StopIteration):
            self.bytes = max(self.bytes, peak_bytes(self._pid))


class MemoryWatch:
    """Watches the used memory of a GPU while the block runs; `taken` is its largest growth in bytes.

    It includes what driver and libraries take, for Caffe and PyTorch alike.
    """

    def __init__(self, number: int) -> None:
        query = ['nvidia-smi', f'--id={number}', '--query-gpu=memory.used', '--format=csv,noheader,nounits']
        self._command = [*query, f'--loop-ms={INTERVAL_MS}']
        self._readings: list[int] = []

    def __enter__(self) -> 'MemoryWatch':
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        while not self._readings and self._process.poll() is None:  # the first reading comes before anything runs
            time.sleep(INTERVAL_MS / 1000)
        return self

    def __exit__(self, *_error: object) -> None:
        self._process.terminate()
        self._process.wait()
        self._thread.join()

    @property
    def taken(self) -> int:
        """Bytes between the first reading and the largest; 0 without readings."""
        return (max(self._readings) - self._readings[0]) * MIB if self._readings else 0

    def _read(self) -> None:
        for line in self._process.stdout or ():
            if line.strip().isdecimal():
                self._readings.append(int(line))
