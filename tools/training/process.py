"""Runs the program `caffe` as a child that dies with us, stops it once, and follows its log file."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from tools.support.errors import UserError
from tools.support.paths import CAFFE, ROOT
from tools.support.stop_signals import on_stop

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_LIBC = ctypes.CDLL(None)
_POLL_S = 0.05


def check_program() -> None:
    """Raise UserError if the program `caffe` has not been built."""
    if not os.access(CAFFE, os.X_OK):
        raise UserError(f'no program {CAFFE}; run: make caffe')


def start(
    command: list[str], cwd: Path, log: IO[bytes], lock: int | None = None, variables: dict[str, str] | None = None
) -> subprocess.Popen:
    """Start Caffe in `cwd`. Its output is appended to `log`. It keeps the descriptor `lock` open while it runs.

    `variables` are additional environment variables.
    """
    parent = os.getpid()

    def die_with_parent() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent died before the line above
            os._exit(1)

    return subprocess.Popen(
        command, cwd=cwd, env=_environment() | (variables or {}), stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
        pass_fds=() if lock is None else (lock,), preexec_fn=die_with_parent,
        start_new_session=True,  # Ctrl-C in a terminal then reaches only us, and Caffe once, through us
    )  # fmt: skip


@contextmanager
def stopping(child: subprocess.Popen) -> Iterator[list[int]]:
    """While the block runs, pass stop signals on to Caffe; yields the list of signals that came.

    The first is passed on as SIGINT: Caffe ends its iteration, writes a snapshot and stops. A further Ctrl-C kills Caffe. Other
    signals may come several times for one stop: from the system, a shell, make and a recipe.
    """
    came: list[int] = []

    def pass_on(number: int) -> None:
        came.append(number)
        if len(came) == 1:
            child.send_signal(signal.SIGINT)
            _say('\nstopping: Caffe ends its iteration and writes a snapshot (Ctrl-C again: stop at once, without a snapshot)\n')
        elif number == signal.SIGINT:
            child.kill()

    try:
        with on_stop(pass_on):
            yield came
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def follow(child: subprocess.Popen, log: Path, offset: int, look: Callable[[], None]) -> Iterator[str]:
    """The complete lines appended to `log` after byte `offset`, until the child has ended. `look` is called in between."""
    with log.open('rb') as file:
        file.seek(offset)
        pending = b''
        while True:
            look()
            ended = child.poll() is not None  # asked before reading, so that the last lines are not missed
            pending += file.read()
            *lines, pending = pending.split(b'\n')
            yield from (line.decode(errors='replace') for line in lines)
            if ended:
                return
            time.sleep(_POLL_S)


def _say(text: str) -> None:
    """Write to stderr from a signal handler, without the buffer that the handler may have interrupted.

    The reader may be gone: the same Ctrl-C also ends a `tee`.
    """
    with suppress(OSError):
        os.write(2, text.encode())


def _environment() -> dict[str, str]:
    """Our environment, with Caffe's full log on stderr (importing `caffe` here may have reduced it).

    PYTHONPATH holds this checkout, for the Python layers, and the packages of our Python, which Caffe would not find.
    """
    python_path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
    log = {'GLOG_logtostderr': '1', 'GLOG_minloglevel': '0', 'GLOG_log_prefix': '1'}
    return os.environ | log | {'PYTHONPATH': python_path}
