"""The program `caffe` as a child process: it dies with us, it is stopped once, its log goes to a file that we follow."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from tools.support.errors import UserError
from tools.support.paths import CAFFE

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None)
_POLL_S = 0.05
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def check_program() -> None:
    """Raise UserError if the program `caffe` has not been built."""
    if not os.access(CAFFE, os.X_OK):
        raise UserError(f'no program {CAFFE}; run: make caffe')


def check_gpu(gpu: int) -> None:
    """Raise UserError if Caffe was built without CUDA, or sees no such device."""
    answer = subprocess.run(
        [str(CAFFE), 'device_query', '-gpu', str(gpu)], env=_environment(), capture_output=True, text=True, errors='replace'
    )
    if 'CPU-only Caffe' in answer.stderr:
        raise UserError(f'--gpu {gpu}: {CAFFE} is built for the CPU only; leave --gpu (GPU=) out, or build Caffe with CUDA')
    if answer.returncode:
        lines = [line for line in answer.stderr.splitlines() if line.startswith(('F', 'E'))] or ['it ended without a word']
        raise UserError(f'--gpu {gpu}: Caffe cannot use this device: {lines[0]}')


def start(command: list[str], cwd: Path, log: IO[bytes], lock: int) -> subprocess.Popen:
    """Start Caffe in `cwd` with all it says appended to `log`, holding the descriptor `lock` for as long as it lives."""
    parent = os.getpid()

    def die_with_parent() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it died before the line above
            os._exit(1)

    return subprocess.Popen(
        command, cwd=cwd, env=_environment(), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        pass_fds=(lock,), preexec_fn=die_with_parent,
        start_new_session=True,  # a terminal's Ctrl-C then reaches us only, and Caffe through us, once
    )  # fmt: skip


@contextmanager
def stopping(child: subprocess.Popen) -> Iterator[list[int]]:
    """While the block runs, turn Ctrl-C and SIGTERM into Caffe's own way to stop; yields the list of signals that came.

    The first is passed on as SIGINT: Caffe ends its iteration, writes a snapshot and stops. The second kills it.
    """
    came: list[int] = []

    def pass_on(number: int, _frame: object) -> None:
        came.append(number)
        if len(came) == 1:
            print('\nstopping: Caffe ends its iteration and writes a snapshot (again: stop at once, without)', file=sys.stderr)
        child.send_signal(signal.SIGINT if len(came) == 1 else signal.SIGKILL)

    before = {number: signal.signal(number, pass_on) for number in _STOP_SIGNALS}
    try:
        yield came
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if child.poll() is None:
            child.kill()
            child.wait()


def follow(child: subprocess.Popen, log: Path, offset: int) -> Iterator[str]:
    """The whole lines that are appended to `log` after byte `offset`, until the child has ended."""
    with log.open('rb') as file:
        file.seek(offset)
        pending = b''
        while True:
            ended = child.poll() is not None  # before reading, so that nothing written before the end is missed
            pending += file.read()
            *lines, pending = pending.split(b'\n')
            yield from (line.decode(errors='replace') for line in lines)
            if ended:
                return
            time.sleep(_POLL_S)


def _environment() -> dict[str, str]:
    """Ours, with Caffe's log whole and on stderr (importing `caffe` here may have asked for less)."""
    return os.environ | {'GLOG_logtostderr': '1', 'GLOG_minloglevel': '0', 'GLOG_log_prefix': '1'}
