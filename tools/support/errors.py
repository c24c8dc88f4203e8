"""One clear line for a user's mistake, instead of a traceback."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the user can mend; the message says what, where and what to do next."""


def run_command(main: Callable[[list[str] | None], int | None]) -> None:
    """Run a command's `main(argv)` and exit: 0 or its return value, 1 with one `error:` line on bad data, 130 on Ctrl-C."""
    try:
        status = main(None)
    except UserError as error:
        print(f'error: {error}', file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print('interrupted', file=sys.stderr)
        sys.exit(130)
    sys.exit(status or 0)
