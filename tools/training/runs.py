"""Run folders: what lies where in runs/<stage>/, the snapshots that other stages start from, and the lock."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from google.protobuf import text_format

from pretrained.caffemodel import caffe_pb2
from prototxt.experiments import STAGES
from prototxt.names import make_train
from tools.support.errors import UserError
from tools.support.paths import RUNS
from tools.training.snapshots import Snapshot, snapshots, whole_caffemodel

TRAIN_PROTOTXT, SOLVER_PROTOTXT = 'train.prototxt', 'solver.prototxt'
LOG, METRICS, PLOT = 'caffe.log', 'metrics.csv', 'loss.png'
LOCK = '.lock'
_LOCK_PATIENCE_S = 5.0  # a killed training's Caffe is gone by then


def newest_snapshot(run: str | Path) -> Path:
    """The newest whole caffemodel of a stage (by name) or of a run folder (by path).

    Raises UserError with the command that makes one when there is none.
    """
    return newest_weights(RUNS / run if isinstance(run, str) else run).caffemodel


def newest_weights(run_dir: Path) -> Snapshot:
    """The newest snapshot in a run folder whose caffemodel is whole; raises UserError as newest_snapshot does."""
    if (run_dir / TRAIN_PROTOTXT).exists():
        net = read_net(run_dir / TRAIN_PROTOTXT)
        for snapshot in reversed(snapshots(run_dir)):
            if whole_caffemodel(snapshot.caffemodel, net):
                return snapshot
    raise UserError(f'no whole snapshot in {run_dir}; run: {_how_to_train(run_dir)}')


def _how_to_train(run_dir: Path) -> str:
    """The command that fills `run_dir`; a folder named as no stage is could hold any of them."""
    stage = run_dir.name if run_dir.name in STAGES else 'STAGE'
    return make_train(stage) if run_dir == RUNS / stage else f'python3 tools/train.py {stage} --run-dir {run_dir}'


def read_net(path: Path):
    """The NetParameter in a prototxt. Raises UserError if the file is damaged."""
    try:
        return text_format.Parse(path.read_text(), caffe_pb2().NetParameter())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise UserError(f'{path} is damaged ({error}); if it is of a run, begin that anew with --restart') from error


@contextmanager
def locked(run_dir: Path) -> Iterator[int]:
    """Hold `run_dir` (made if need be) against other trainings; yields the lock's descriptor for Caffe to inherit.

    The lock lasts until the last process that has the descriptor is gone. A folder in which nothing was written goes again.
    Raises UserError when another training holds it.
    """
    descriptor = _lock(run_dir)
    try:
        yield descriptor
    finally:
        if _is_at(run_dir / LOCK, descriptor) and len(list(run_dir.iterdir())) == 1:
            (run_dir / LOCK).unlink()
            with suppress(OSError):  # another training may have begun there meanwhile
                run_dir.rmdir()
        os.close(descriptor)


def move_aside(run_dir: Path) -> bool:
    """Rename `run_dir`, which this process holds, and its lock with it; whether there was a run in it."""
    if not (run_dir / TRAIN_PROTOTXT).exists():
        return False
    moved = _free_name(run_dir)
    run_dir.rename(moved)
    print(f'moved {run_dir} to {moved}')
    return True


def _lock(run_dir: Path) -> int:
    """Descriptor of the folder's lock, held."""
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        run_dir.mkdir(parents=True, exist_ok=True)
        try:
            descriptor = os.open(run_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except FileNotFoundError:  # another training, which wrote nothing, took the folder away meanwhile
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(run_dir / LOCK, descriptor):
                return descriptor  # else the folder was moved aside or taken away meanwhile
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise UserError(f'{run_dir}: another training is running there; wait for it, or give another --run-dir') from None
        os.close(descriptor)
        time.sleep(0.1)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file `descriptor` is the one at `path` now."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _free_name(run_dir: Path) -> Path:
    """The first of <run>.old1, <run>.old2, ... that is not there."""
    number = 1
    while (name := run_dir.with_name(f'{run_dir.name}.old{number}')).exists():
        number += 1
    return name
