"""How much memory of a GPU is in use while something else runs, as the driver sees it."""

import subprocess
import threading
import time

MIB = 1 << 20
INTERVAL_MS = 100


class MemoryWatch:
    """Watches the memory in use on GPU `number` while the block runs; `taken` is the most it grew by, bytes.

    Caffe's process and PyTorch's are measured alike, with what the driver and its libraries take for them.
    """

    def __init__(self, number: int) -> None:
        query = ['nvidia-smi', f'--id={number}', '--query-gpu=memory.used', '--format=csv,noheader,nounits']
        self._command = [*query, f'--loop-ms={INTERVAL_MS}']
        self._readings: list[int] = []

    def __enter__(self) -> 'MemoryWatch':
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()
        while not self._readings and self._process.poll() is None:  # the first is the one before anything runs
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
