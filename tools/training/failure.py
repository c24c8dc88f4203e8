"""Explains why `caffe train`, or the watch over it, failed."""

import errno
import re
import signal
from pathlib import Path

from tools.training.caffe_log import failure_lines

_LESS = 'a smaller --batch-per-pass or --crop-size needs less'
_ROOM = 'make room (a smaller --keep needs less); the same command then goes on from the newest whole snapshot'
_MEANINGS = (
    (r'out of memory|bad_alloc|Cannot allocate memory', f'out of memory: {_LESS}'),
    # If Caffe cannot write a file, its log only names the call that failed (io.cpp, WriteProtoToBinaryFile).
    (r'No space left on device|SerializeToOstream', f'the disk is full: {_ROOM}'),
    (r'Check failed', 'a check inside Caffe failed; the checks before the start should have found this'),
)


def meaning(returncode: int, lines: list[str]) -> str:
    """Why Caffe ended with `returncode` (negative: a signal), in words, from the code and the last `lines` of its log."""
    text = '\n'.join(lines)
    for pattern, words in _MEANINGS:
        if re.search(pattern, text):
            return words
    if returncode == -signal.SIGXFSZ:
        return 'a file would exceed the size limit (ulimit -f): raise the limit, or write to another --run-dir'
    if returncode == -signal.SIGKILL:
        return f'killed, probably by the system because memory ran out: {_LESS}'
    if returncode < 0:
        return f'ended by {signal.Signals(-returncode).name}'
    return f'ended with status {returncode}'


def failure_message(returncode: int, lines: list[str], log: object) -> str:
    """One message with the meaning, the last lines of the log, and the path of the log."""
    last = '\n'.join(f'    {line}' for line in failure_lines(lines))
    return f'caffe train: {meaning(returncode, lines)}; the last lines of {log}:\n{last}'


def system_failure(error: OSError, run_dir: Path) -> str:
    """One message about a system error during a training in `run_dir`: which file, why, and what to do next."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f'{run_dir}: the disk is full: {_ROOM}'
    return f'{error.filename or run_dir}: {error.strerror or error}; the same command goes on from the newest whole snapshot'
