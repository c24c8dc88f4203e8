"""The memory that a process has had."""

from contextlib import suppress
from pathlib import Path


def peak_bytes(pid: str | int = 'self') -> int:
    """The most memory that a process has had, with pages of files it maps, without what it inherited at a fork."""
    lines = Path(f'/proc/{pid}/status').read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith('VmHWM')).split()[1])


class Peak:
    """Looks at a process now and then; the kernel keeps the maximum, so only what came after the last look is lost."""

    def __init__(self, pid: int) -> None:
        self.bytes, self._pid = 0, pid

    def look(self) -> None:
        """Take the peak so far; of a process that has ended the last one stays."""
        with suppress(OSError, StopIteration):
            self.bytes = max(self.bytes, peak_bytes(self._pid))
