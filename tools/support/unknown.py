"""A make target that no rule knows, such as a stage with a slip in its name: `python -m tools.support.unknown NAME KNOWN...`"""

import difflib
import sys
from collections.abc import Sequence

from tools.support.errors import UserError, run_command


def nearest(name: str, known: Sequence[str]) -> str:
    """The names that `name` may be meant for, as a question; empty if none is near."""
    near = difflib.get_close_matches(name, known)
    return f'did you mean {" or ".join(near)}? ' if near else ''


def main(argv: list[str] | None) -> None:
    """Always ends in the error."""
    name, *known = argv or sys.argv[1:]
    raise UserError(f'no stage or chain {name}; {nearest(name, known)}make stages lists them')


if __name__ == '__main__':
    run_command(main)
