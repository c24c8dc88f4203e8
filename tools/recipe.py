"""A recipe: commands of this toolkit run one after the other, each shown as it could be typed."""

import json
import shlex
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from tools.support.atomic import whole_file
from tools.support.errors import UserError
from tools.support.paths import ROOT


@dataclass(frozen=True)
class Done:
    """A step that ran: what it was for, the command as a person would type it, and its seconds."""

    title: str
    command: str
    seconds: float


class Recipe:
    """Runs steps in the checkout with this Python, and keeps what ran in a JSON file.

    Every command does nothing when its result is there, so a recipe that was stopped goes on where it was; the seconds
    kept are those of the longest run of each command, the one that did the work.
    """

    def __init__(self, record: Path) -> None:
        self.record = record
        self.done: list[Done] = []
        self._earlier = {row['command']: row['seconds'] for row in json.loads(record.read_text())} if record.exists() else {}

    def do(self, title: str, *argv: object) -> None:
        """Run one step, given as after `python`; UserError when it fails."""
        words = [str(word) for word in argv]
        typed = shlex.join(['python', *words])
        print(f'\n[{len(self.done) + 1}] {title}\n$ {typed}', flush=True)
        began = time.monotonic()
        status = subprocess.run([sys.executable, *words], cwd=ROOT, check=False).returncode
        if status:
            raise UserError(f'{title}: the command above ended with status {status}; run again, the recipe goes on from here')
        seconds = max(time.monotonic() - began, self._earlier.get(typed, 0.0))
        self.done.append(Done(title, typed, seconds))
        with whole_file(self.record) as temporary:
            temporary.write_text(json.dumps([asdict(row) for row in self.done], indent=1))
