"""Reads ahead and writes behind in separate processes.

Threads do not help: pycaffe holds Python's global lock while a network computes.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from tools.support.stop_signals import not_for_helpers

Item = TypeVar('Item')
DONE = 'done'


@contextmanager
def read_ahead(function: Callable[[Item], Any], items: Sequence[Item]) -> Iterator[Iterator[Any]]:
    """An iterator over function(item) that computes the next result while the last one is in use.

    `function` must be importable. Its error is raised in place of the result.
    """
    context = get_context('forkserver')
    here, there = context.Pipe()
    process = context.Process(target=_read, args=(function, items, there), daemon=True)
    with not_for_helpers():
        process.start()
    there.close()
    try:
        yield (_next(here) for _ in items)
    finally:
        here.close()  # a reader that is not done finds nobody listening, and ends
        process.join()


@contextmanager
def write_behind(function: Callable[..., None]) -> Iterator[Callable[..., None]]:
    """Yield a function that hands its arguments to `function` in another process. At the end of the block all is done.

    An error of `function` is raised by a later call or at the end.
    """
    context = get_context('forkserver')
    here, there = context.Pipe()
    process = context.Process(target=_write, args=(function, there), daemon=True)
    with not_for_helpers():
        process.start()
    there.close()

    def write(*arguments: Any) -> None:
        try:
            here.send(arguments)
        except BrokenPipeError:
            _next(here)

    try:
        yield write
        here.send(None)
        _next(here)
    except BrokenPipeError:
        _next(here)
    finally:
        here.close()
        process.join()


def begun(parallel: Callable[[Iterable], Iterator[Any]], tasks: Iterable) -> Iterator[Any]:
    """parallel(tasks) of a joblib.Parallel that yields results one by one. Its processes do not get Ctrl-C."""
    from joblib.externals.loky.backend import resource_tracker

    resource_tracker.ensure_running()  # for the reason in not_for_helpers
    with not_for_helpers():
        return parallel(tasks)


def _next(connection: Connection) -> Any:
    """The next value from the other process. Its error, or its sudden end, is raised here."""
    try:
        result = connection.recv()
    except (EOFError, ConnectionResetError) as error:
        raise ChildProcessError('a helping process ended before its work was done; out of memory?') from error
    if isinstance(result, BaseException):
        raise result
    return result


def _read(function: Callable, items: Sequence, connection: Connection) -> None:
    """The process that reads."""
    try:
        for item in items:
            connection.send(function(item))
    except (BrokenPipeError, ConnectionResetError):
        return
    except Exception as error:
        connection.send(error)


def _write(function: Callable, connection: Connection) -> None:
    """The process that writes. If the other process is gone, it ends after its current item."""
    try:
        while (arguments := connection.recv()) is not None:
            function(*arguments)
        connection.send(DONE)
    except EOFError:
        return
    except Exception as error:
        connection.send(error)
