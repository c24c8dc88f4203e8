"""Reads the log of `caffe train` line by line (src/caffe/solver.cpp, solvers/sgd_solver.cpp)."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

SESSION = '=== training from iteration '  # a line of tools/train.py before each start of Caffe
WORST_LOSS = 87.33  # -ln FLT_MIN, to which softmax_loss_layer.cpp clips each pixel's loss
WORST_LOSS_WEIGHTED = 46.05  # -ln kLOG_THRESHOLD (loss_layer.hpp), to which infogain_loss_layer.cpp clips it before the weight
_LOSS = re.compile(r'\] Iteration (\d+) \(\S+ iter/s, (\S+)s/\d+ iters\), loss = (\S+)')
_LAST = re.compile(r'\] Iteration (\d+), loss = (\S+)')
_RATE = re.compile(r'\] Iteration (\d+), lr = (\S+)')
_SNAPSHOT = re.compile(r'\] Snapshotting solver state to binary proto file (.+)')
_SESSION = re.compile(re.escape(SESSION) + r'(\d+)')


@dataclass(frozen=True)
class LogRow:
    """One training iteration: loss before the update, learning rate, and seconds since the previous row."""

    iteration: int
    loss: float
    lr: float
    seconds: float

    @property
    def finite(self) -> bool:
        """Whether the loss is finite; if not, the weights are lost."""
        return math.isfinite(self.loss)

    def sound(self, worst: float = WORST_LOSS) -> bool:
        """Whether the loss is finite and below `worst`, the largest loss that the layer can report.

        Caffe reports that value when the scores have become so large that the next losses will not be finite.
        """
        return self.finite and self.loss < worst


class LogReader:
    """Joins the two lines that Caffe logs for each iteration."""

    def __init__(self) -> None:
        self._loss: tuple[int, float, float] | None = None

    def feed(self, line: str) -> LogRow | None:
        """The LogRow that `line` completes; None if it completes none."""
        if match := _LOSS.search(line):
            self._loss = int(match[1]), float(match[3]), float(match[2])
        elif (match := _RATE.search(line)) and self._loss and self._loss[0] == int(match[1]):
            iteration, loss, seconds = self._loss
            return LogRow(iteration, loss, float(match[2]), seconds)
        return None


def last_pass(line: str) -> LogRow | None:
    """The loss after the last update, if `line` shows it. Caffe logs it after the last snapshot."""
    match = _LAST.search(line)
    return LogRow(int(match[1]), float(match[2]), lr=0.0, seconds=0.0) if match else None


def snapshot_begun(line: str) -> bool:
    """Whether `line` announces the second and last file of a snapshot, which Caffe then writes."""
    return _SNAPSHOT.search(line) is not None


def session_start(line: str) -> int | None:
    """The first iteration of a session, if `line` states it."""
    match = _SESSION.match(line)
    return int(match[1]) if match else None


def joined_rows(lines: Iterable[str]) -> list[LogRow]:
    """The rows of all sessions as one run. An iteration that was repeated after a snapshot counts once, as done last."""
    rows: list[LogRow] = []
    reader = LogReader()
    for line in lines:
        if (start := session_start(line)) is not None:
            rows = [row for row in rows if row.iteration < start]
        elif row := reader.feed(line):
            rows.append(row)
    return rows


def failure_lines(lines: Iterable[str], count: int = 5) -> list[str]:
    """The last `count` lines without stack frames and empty lines."""
    telling = [line.rstrip() for line in lines if line.strip() and not re.match(r'\s*(@ +0x|\*\*\*)', line)]
    return telling[-count:]
