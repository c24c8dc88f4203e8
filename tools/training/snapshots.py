"""Finds the snapshots of a run, checks that they are complete, and deletes old ones."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pretrained import caffemodel
from prototxt.shapes import param_shapes
from tools.support.atomic import to_disk
from tools.support.errors import UserError
from tools.support.wire import VARINT, fields

# Field numbers of SolverState, from caffe.proto; Caffe writes fields in the order of their numbers.
_ITER, _HISTORY, _CURRENT_STEP = 1, 3, 4


@dataclass(frozen=True)
class Snapshot:
    """The two files that Caffe writes at an iteration: first the weights, then the state of the solver."""

    iteration: int
    caffemodel: Path

    @property
    def solverstate(self) -> Path:
        """The file with the momentum of each weight. Caffe writes it after the caffemodel."""
        return self.caffemodel.with_suffix('.solverstate')

    def files(self) -> list[Path]:
        """The files of the two that exist."""
        return [path for path in (self.caffemodel, self.solverstate) if path.exists()]


def snapshots(run_dir: Path) -> list[Snapshot]:
    """All snapshots in `run_dir`, complete or not, oldest first."""
    found = (re.fullmatch(r'.*_iter_(\d+)', path.stem) for path in run_dir.glob('*_iter_*.caffemodel'))
    named = [Snapshot(int(match[1]), run_dir / f'{match[0]}.caffemodel') for match in found if match]
    return sorted(named, key=lambda snapshot: snapshot.iteration)


def whole_caffemodel(path: Path, net) -> bool:
    """Whether the file is complete and holds every layer of `net` (a NetParameter) in its shape. Values are not checked."""
    try:
        caffemodel.check(net, [path], finite=False)
    except UserError:
        return False
    return True


def whole_solverstate(path: Path, iteration: int, net) -> bool:
    """Whether the file is complete, with the state at `iteration` and a momentum (Adam: two) for each learnable blob."""
    try:
        found = list(fields(memoryview(np.memmap(path, mode='r'))))  # type: ignore[arg-type]
    except (OSError, ValueError):
        return False
    numbers = [field.number for field in found]
    momenta = sum(len(shapes) for shapes in param_shapes(net).values())
    whole = bool(found) and numbers[-1] == _CURRENT_STEP and numbers.count(_HISTORY) in (momenta, 2 * momenta)
    return whole and any(field[:2] == (_ITER, VARINT) and field.value == iteration for field in found)


def fault(snapshot: Snapshot, net) -> str | None:
    """Why training of `net` cannot continue from the two files; None if it can."""
    if not snapshot.solverstate.exists():
        return f'{snapshot.solverstate.name} is missing'
    if not whole_solverstate(snapshot.solverstate, snapshot.iteration, net):
        return f'{snapshot.solverstate.name} is cut short or belongs to another network'
    if not whole_caffemodel(snapshot.caffemodel, net):
        return f'{snapshot.caffemodel.name} is cut short or belongs to another network'
    return None


def whole_snapshots(run_dir: Path, net) -> list[Snapshot]:
    """The snapshots that training can continue from, oldest first."""
    return [snapshot for snapshot in snapshots(run_dir) if not fault(snapshot, net)]


def newest_whole(run_dir: Path, net, last: float = math.inf) -> Snapshot | None:
    """The newest snapshot up to iteration `last` that training can continue from. Those that a kill cut short are skipped."""
    found = (snapshot for snapshot in reversed(snapshots(run_dir)) if snapshot.iteration <= last)
    return next((snapshot for snapshot in found if not fault(snapshot, net)), None)


def prune(run_dir: Path, whole: list[Snapshot], keep: int) -> None:
    """Delete snapshots older than the newest `keep` of the `whole` ones, after fsyncing those."""
    if len(whole) > keep:
        for snapshot in whole[-keep:]:
            to_disk(*snapshot.files())
        delete_all(snapshot for snapshot in snapshots(run_dir) if snapshot.iteration < whole[-keep].iteration)


def delete_all(some: Iterable[Snapshot]) -> None:
    """Delete snapshots, the solverstate of each first: a training never resumes from a caffemodel alone."""
    for snapshot in some:
        for path in reversed(snapshot.files()):
            path.unlink()
