"""Runs commands of this toolkit one after the other, and shows each as a person could type it."""

import json
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from tools.report.content import Done
from tools.support.atomic import write_json
from tools.support.errors import UserError
from tools.support.paths import ROOT
from tools.support.stop_signals import STOPPED, on_stop

TRAIN_ANEW = 'run the training among the commands above with --restart, then this again'  # for steps that are trainings


class Steps:
    """Runs steps in the checkout with this Python, and keeps what ran in a JSON file.

    A command whose result exists does nothing, so a stopped recipe goes on where it was. The seconds of a command add up over
    all its runs, also stopped and failed ones. `anew` says how to begin from nothing.
    """

    def __init__(self, record: Path, anew: str) -> None:
        self.done: list[Done] = []
        self._record, self._anew = record, anew
        self._rows = _read(record) if record.exists() else {}

    def do(self, title: str, *argv: object) -> None:
        """Run one step, given as the words after `python`. Raises UserError if it fails, and SystemExit 130 if it was stopped."""
        words = [str(word) for word in argv]
        typed = shlex.join(['python', *words])
        print(f'\n[{len(self.done) + 1}] {title}\n$ {typed}', flush=True)
        with self._timed(title, typed):
            status, stopped = _run([sys.executable, *words])
        if status == 0:
            self.done.append(self._rows[typed])
        if stopped or status == STOPPED:
            print('stopped; the same command goes on', file=sys.stderr)
            raise SystemExit(STOPPED)
        if status:
            raise UserError(
                f'{title}: the command above ended with status {status}; mend what it reports, and the same recipe goes on '
                f'from here; to begin anew: {self._anew}'
            )

    @contextmanager
    def _timed(self, title: str, typed: str) -> Iterator[None]:
        """Add the seconds of the block to the row of a command, and write the file."""
        before = self._rows[typed].seconds if typed in self._rows else 0.0
        began = time.monotonic()
        try:
            yield
        finally:
            self._rows[typed] = Done(title, typed, before + time.monotonic() - began)
            write_json(self._record, [asdict(row) for row in self._rows.values()])


def _read(record: Path) -> dict[str, Done]:
    """The rows of an earlier run by command. Raises UserError if the file holds something else."""
    try:
        return {row['command']: Done(**row) for row in json.loads(record.read_text())}
    except (ValueError, TypeError, LookupError) as error:
        said = 'it only holds the seconds of the steps: delete it, and the same command goes on'
        raise UserError(f'{record} is not the record of a recipe ({error}); {said}') from error


def _run(command: list[str]) -> tuple[int, bool]:
    """Run `command` in the checkout to its end; returns its status, and whether a stop was asked for.

    Ctrl-C reaches the command from the terminal, which sends it to the whole process group; other signals are passed on.
    """
    came: list[int] = []
    children: list[subprocess.Popen] = []

    def pass_on(number: int) -> None:
        came.append(number)
        if number != signal.SIGINT:
            for child in children:
                child.send_signal(number)

    with on_stop(pass_on):  # before the start, so that a signal between the two does not leave the child alone
        children.append(subprocess.Popen(command, cwd=ROOT))
        status = children[0].wait()
    return status, bool(came)
