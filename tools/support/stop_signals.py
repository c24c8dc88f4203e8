"""Handles Ctrl-C, SIGTERM and a closed terminal in a program that waits for a child."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker

STOPPED = 130  # exit status after a stop, as in shells after Ctrl-C


@contextmanager
def not_for_helpers() -> Iterator[None]:
    """Processes started in the block do not get Ctrl-C, which a terminal sends to all; the process that started them ends them.

    A Ctrl-C in the block reaches this process when the block ends.
    """
    resource_tracker.ensure_running()  # multiprocessing's own: starting it lets Ctrl-C through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def on_stop(react: Callable[[int], None]) -> Iterator[None]:
    """While the block runs, a stop signal calls `react` with its number and does nothing else.

    SIGHUP stays ignored if it was (nohup). A child started in the block has the signals' default handlers.
    """

    def handle(number: int, _frame: object) -> None:
        if number == signal.SIGHUP:
            _leave_lost_terminal()
        react(number)

    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    numbers = (signal.SIGINT, signal.SIGTERM, *(() if ignored else (signal.SIGHUP,)))
    before = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave_lost_terminal() -> None:
    """Point standard output and error elsewhere if they were a terminal that is gone: writing there would raise."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b'')
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
