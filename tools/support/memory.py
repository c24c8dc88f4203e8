"""The memory that a process has had."""

from pathlib import Path


def peak_bytes(pid: str | int = 'self') -> int:
    """The most memory that a process has had, with pages of files it maps, without what it inherited at a fork."""
    lines = Path(f'/proc/{pid}/status').read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith('VmHWM')).split()[1])
