"""One clear line for a user's mistake, instead of a traceback."""

import difflib
import errno
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

MOST_NAMED = 1000  # faults named in one message
Item = TypeVar('Item')
Result = TypeVar('Result')


class UserError(Exception):
    """A fault that the user can mend. The message says what, where, and what to do next."""


@dataclass(frozen=True)
class Fault:
    """Why one item of a batch cannot be used: a line that names its file. The batch goes on without the item."""

    reason: str


def attempt(function: Callable[[Item], Result], item: Item) -> Result | Fault:
    """function(item), or a Fault with the message of its UserError."""
    try:
        return function(item)
    except UserError as error:
        return Fault(str(error))


def end_with_faults(faults: Sequence[Fault], total: int, what: str, rest: str) -> None:
    """Raise a UserError that names the faults of a batch of `total` items, if there are any.

    `what` names the items in the plural; `rest` says what happened to the items without a fault.
    """
    if faults:
        listed = ''.join(f'\n  {fault.reason}' for fault in faults[:MOST_NAMED])
        listed += f'\n  and {len(faults) - MOST_NAMED} more' if len(faults) > MOST_NAMED else ''
        raise UserError(f'{len(faults)} of {total} {what} cannot be used; {rest}:{listed}')


def run_command(main: Callable[[list[str] | None], int | None], *, after_stop: str = '') -> None:
    """Run `main(argv)` of a command and exit with its return value or 0; after Ctrl-C with 130 and the line `after_stop`.

    Bad data or a file that the system refuses gives one `error:` line and status 1; a closed pipe gives no line. A `~` that no
    shell has expanded, as in `--data=~/x`, means the home folder.
    """
    sys.argv[1:] = map(_with_home, sys.argv[1:])
    if isinstance(sys.stdout, io.TextIOWrapper):
        # File names that are not UTF-8 are printed unchanged; characters that the terminal lacks are escaped.
        sys.stdout.reconfigure(errors='surrogateescape' if sys.stdout.encoding.lower() == 'utf-8' else 'backslashreplace')
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:  # as bootstrap.py left it while modules were imported
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        status = main(None)
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more when it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (UserError, OSError) as error:
        print(f'error: {_line(error)}', file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C, while helping processes are ended, works at once
        print('interrupted' + (f'; {after_stop}' if after_stop else ''), file=sys.stderr)
        sys.exit(130)
    sys.exit(status or 0)


def _with_home(word: str) -> str:
    """A word of the command line in which a leading `~`, or one after `=`, is replaced by the home folder."""
    option, equals, value = word.partition('=') if word.startswith('--') else ('', '', word)
    return option + equals + (value if os.path.lexists(value) else os.path.expanduser(value))


def _line(error: Exception) -> str:
    """The message of an error. A system error gives file and reason without a number; a full disk also what to do."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    files = ' -> '.join(os.fsdecode(file) for file in (error.filename, error.filename2) if isinstance(file, (str, bytes)))
    advice = '; make room there and run the same command again' if error.errno in (errno.ENOSPC, errno.EDQUOT) else ''
    return (f'{files}: {error.strerror}' if files else error.strerror) + advice


def nearest(name: str, known: Sequence[str]) -> str:
    """A question with the known names closest to `name`; empty if none is close."""
    near = difflib.get_close_matches(name, known)
    return f'did you mean {" or ".join(near)}? ' if near else ''
