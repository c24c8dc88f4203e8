"""Run folders: what lies where in runs/<stage>/, the snapshots that other stages start from, and the lock."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from google.protobuf import text_format

from pretrained.caffemodel import caffe_pb2
from tools.support.errors import UserError
from tools.support.paths import RUNS
from tools.training.snapshots import snapshots, whole_caffemodel

TRAIN_PROTOTXT, SOLVER_PROTOTXT = 'train.prototxt', 'solver.prototxt'
LOG, METRICS, PLOT = 'caffe.log', 'metrics.csv', 'loss.png'
_LOCK = '.lock'
_LOCK_PATIENCE_S = 5.0  # a killed training's Caffe is gone by then


def newest_snapshot(run: str | Path) -> Path:
    """The newest whole caffemodel of a stage (by name) or of a run folder (by path).

    Raises UserError with the command that makes one when there is none.
    """
    run_dir = RUNS / run if isinstance(run, str) else run
    if (run_dir / TRAIN_PROTOTXT).exists():
        net = read_net(run_dir / TRAIN_PROTOTXT)
        for snapshot in reversed(snapshots(run_dir)):
            if whole_caffemodel(snapshot.caffemodel, net):
                return snapshot.caffemodel
    raise UserError(f'no whole snapshot in {run_dir}; run: python tools/train.py {run_dir.name}')


def read_net(path: Path):
    """The NetParameter in a prototxt."""
    return text_format.Parse(path.read_text(), caffe_pb2().NetParameter())


@contextmanager
def locked(run_dir: Path, *, restart: bool = False) -> Iterator[int]:
    """Hold `run_dir` (made if need be) against other trainings; yields the lock's descriptor for Caffe to inherit.

    The lock lasts until the last process that has the descriptor is gone. With `restart`, a folder that is there is
    moved aside first. Raises UserError when another training holds it.
    """
    descriptor = _lock(run_dir)
    try:
        if restart and (run_dir / TRAIN_PROTOTXT).exists():
            moved = _free_name(run_dir)
            run_dir.rename(moved)
            print(f'moved {run_dir} to {moved}')
            os.close(descriptor)
            descriptor = _lock(run_dir)
        yield descriptor
    finally:
        os.close(descriptor)


def _lock(run_dir: Path) -> int:
    """Descriptor of the folder's lock, held."""
    deadline = time.monotonic() + _LOCK_PATIENCE_S
    while True:
        run_dir.mkdir(parents=True, exist_ok=True)
        path = run_dir / _LOCK
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor  # else the folder was moved aside meanwhile
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise UserError(f'{run_dir}: another training is running there; wait for it, or give another --run-dir') from None
        os.close(descriptor)
        time.sleep(0.1)


def _free_name(run_dir: Path) -> Path:
    """The first of <run>.old1, <run>.old2, ... that is not there."""
    number = 1
    while (name := run_dir.with_name(f'{run_dir.name}.old{number}')).exists():
        number += 1
    return name
