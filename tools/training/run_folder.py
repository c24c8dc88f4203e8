"""Run folders runs/<stage>/: names of their files, the newest snapshot, and the lock."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from pretrained.caffemodel import read_net
from prototxt.experiments import STAGES
from prototxt.names import make_train
from tools.support.errors import UserError
from tools.support.paths import RUNS
from tools.training.snapshots import Snapshot, snapshots, whole_caffemodel

TRAIN_PROTOTXT, SOLVER_PROTOTXT = 'train.prototxt', 'solver.prototxt'
LOG, METRICS, PLOT = 'caffe.log', 'metrics.csv', 'loss.png'
LOCK = '.lock'
_LOCK_PATIENCE_S = 5.0  # the Caffe of a killed training has ended by then


def newest_snapshot(run: str | Path) -> Path:
    """The newest complete caffemodel of a stage (by name) or of a run folder (by path).

    If there is none, raises UserError with the command that makes one.
    """
    return newest_weights(RUNS / run if isinstance(run, str) else run).caffemodel


def newest_weights(run_dir: Path) -> Snapshot:
    """The newest snapshot with a complete caffemodel in a run folder. Raises UserError as newest_snapshot()."""
    if (run_dir / TRAIN_PROTOTXT).exists():
        net = read_net(run_dir / TRAIN_PROTOTXT)
        for snapshot in reversed(snapshots(run_dir)):
            if whole_caffemodel(snapshot.caffemodel, net):
                return snapshot
    raise UserError(f'no whole snapshot in {run_dir}; run: {_how_to_train(run_dir)}')


def _how_to_train(run_dir: Path) -> str:
    """The command that fills `run_dir`, from its name; a general hint if no stage has that name."""
    stage = run_dir.name if run_dir.name in STAGES else 'STAGE'
    return make_train(stage) if run_dir == RUNS / stage else f'python3 tools/train.py {stage} --run-dir {run_dir}'


@contextmanager
def locked(run_dir: Path) -> Iterator[int]:
    """Lock `run_dir`, which is created if it is missing; yields the lock's descriptor for Caffe to inherit.

    The lock lasts until the last process with the descriptor is gone. A folder that stays empty is deleted. Raises UserError if
    another training holds the lock.
    """
    descriptor = _lock(run_dir)
    try:
        yield descriptor
    finally:
        if _is_at(run_dir / LOCK, descriptor) and len(list(run_dir.iterdir())) == 1:
            (run_dir / LOCK).unlink()
            with suppress(OSError):  # another training may have started there in the meantime
                run_dir.rmdir()
        os.close(descriptor)


def move_aside(run_dir: Path) -> bool:
    """Rename `run_dir`, locked by this process, together with its lock; returns whether it held a run."""
    if not (run_dir / TRAIN_PROTOTXT).exists():
        return False
    moved = _free_name(run_dir)
    run_dir.rename(moved)
    print(f'moved {run_dir} to {moved}')
    return True


def _lock(run_dir: Path) -> int:
    """Take the lock of the folder; returns its descriptor."""
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        run_dir.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(run_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # another training, which wrote nothing, has deleted the folder
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(run_dir / LOCK, descriptor):
                return descriptor  # else the folder was moved aside or deleted
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise UserError(f'{run_dir}: another training is running there; wait for it, or give another --run-dir') from None
        os.close(descriptor)
        time.sleep(0.1)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file `descriptor` is still the file at `path`."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _free_name(run_dir: Path) -> Path:
    """The first free name of <run>.old1, <run>.old2, ..."""
    number = 1
    while (name := run_dir.with_name(f'{run_dir.name}.old{number}')).exists():
        number += 1
    return name
