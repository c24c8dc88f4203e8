"""One clear line for a user's mistake, instead of a traceback."""

import errno
import os
import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can mend; the message says what, where and what to do next."""


def run_command(main: Callable[[list[str] | None], int | None]) -> None:
    """Run a command's `main(argv)` and exit: 0 or its return value, 130 on Ctrl-C.

    Bad data, or a file that the system refuses, is one `error:` line and 1; a reader of the output that went away is no line.
    """
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
        print('interrupted', file=sys.stderr)
        sys.exit(130)
    sys.exit(status or 0)


def _line(error: Exception) -> str:
    """The message of an error: for one of the system the file and its reason, not its number; of a full disk what to do, too."""
    if not isinstance(error, OSError) or error.strerror is None:
        return str(error)
    files = ' -> '.join(os.fsdecode(file) for file in (error.filename, error.filename2) if isinstance(file, (str, bytes)))
    advice = '; make room there and run the same command again' if error.errno in (errno.ENOSPC, errno.EDQUOT) else ''
    return (f'{files}: {error.strerror}' if files else error.strerror) + advice
