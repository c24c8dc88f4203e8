"""One call of tools/train.py: the checks, the files of the run, Caffe, and what is made of its log."""

import shlex
import subprocess
from collections import deque
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

from dataset_prep.lmdb_writer import read_manifest
from prototxt import networks
from prototxt.solver import solver
from tools.support.errors import UserError
from tools.support.paths import CAFFE
from tools.support.stop_signals import STOPPED
from tools.training import preflight, process, record, runs
from tools.training.caffe_log import SESSION, LogReader, Row, snapshot_begun
from tools.training.failure import failure_message
from tools.training.initial import weight_files
from tools.training.metrics import Metrics
from tools.training.plot import plot_loss
from tools.training.progress import Progress
from tools.training.settings import Settings
from tools.training.snapshots import Snapshot, delete_all, fault, newest_whole, prune, snapshots, whole_caffemodel

_TAIL = 200  # lines of the log kept to explain a failure


def train(settings: Settings) -> int:
    """Train a stage, or go on with it, to its last iteration; the exit status: 0, or 130 when it was stopped.

    Raises UserError for whatever keeps it from starting or from ending well.
    """
    process.check_program()
    stage = settings.stage
    net = networks.training(
        settings.stage_name, str(settings.lmdb), stage.crop_size, settings.batch_per_pass, stage.upsample_loss
    )
    with ExitStack() as locks:
        lock = locks.enter_context(runs.locked(settings.run_dir))
        resumed = _resumed(settings, net)
        if resumed and resumed.iteration >= stage.max_iter:
            print(f'{settings.stage_name} is already at iteration {resumed.iteration}: {resumed.caffemodel}')
            return 0
        manifest = _checked(settings, net, resumed)
        if settings.restart and runs.move_aside(settings.run_dir):
            lock = locks.enter_context(runs.locked(settings.run_dir))
        command = _prepare(settings, net, resumed, manifest)
        return Session(settings, net, resumed.iteration if resumed else 0).run(command, lock)


def _resumed(settings: Settings, net) -> Snapshot | None:
    """The snapshot to go on from, if there is one; a UserError if it belongs to another run than the one asked for.

    Whole weights that cannot be gone on from are someone's work all the same: a UserError, too. What a kill cut short at the
    first snapshot is worth nothing: the run begins anew.
    """
    run_dir = settings.run_dir
    there, found = run_dir / runs.TRAIN_PROTOTXT, snapshots(run_dir)
    if found and not there.exists():
        raise UserError(f'{run_dir} has snapshots but no {runs.TRAIN_PROTOTXT}; give another --run-dir')
    if settings.restart or not found:
        return None
    begun = runs.read_net(there)
    snapshot = newest_whole(run_dir, begun)
    if snapshot is None and not any(whole_caffemodel(one.caffemodel, begun) for one in found):
        return None
    if snapshot is None:
        raise UserError(f'{run_dir} has no snapshot to go on from: {fault(found[-1], begun)}; {record.WAY_OUT}')
    record.refuse_other(run_dir, record.settings_record(settings, net))
    _refuse_other_data(settings)
    return snapshot


def _refuse_other_data(settings: Settings) -> None:
    """Raise UserError if the LMDB, where it is still there, is not the one that the run was begun on, or of other weights."""
    if (settings.lmdb / 'data.mdb').is_file():
        manifest = read_manifest(settings.lmdb)
        record.refuse_other(settings.run_dir, {'lmdb_sha256': record.manifest_sha256(manifest)})
        preflight.check_features_source(settings, manifest)


def _checked(settings: Settings, net, resumed: Snapshot | None) -> dict:
    """The manifest of the LMDB, after everything was checked. Writes nothing that stays."""
    manifest = preflight.check_lmdb(settings)
    preflight.check_disk(settings, net)
    if not resumed:
        preflight.check_features_source(settings, manifest)
        with TemporaryDirectory() as folder:
            preflight.check_weights(settings, net, weight_files(settings, Path(folder)))
    return manifest


def _prepare(settings: Settings, net, resumed: Snapshot | None, manifest: dict) -> list[str]:
    """Write the files of the run, delete what a kill cut short after `resumed`; the command that starts Caffe."""
    run_dir, start = settings.run_dir, resumed.iteration if resumed else 0
    weights = [] if resumed else weight_files(settings, run_dir)
    begun = record.read_record(run_dir) if resumed else record.begin(settings, net, weights, manifest)
    command = _command(settings, weights, resumed)
    networks.write(net, run_dir / runs.TRAIN_PROTOTXT)
    networks.write(_solver(settings, start), run_dir / runs.SOLVER_PROTOTXT)
    record.write_record(run_dir, record.add_session(begun, command, start, settings))
    delete_all(snapshot for snapshot in snapshots(run_dir) if snapshot.iteration > start)
    return command


def _command(settings: Settings, weights: list[Path], resumed: Snapshot | None) -> list[str]:
    """The command line of Caffe, to be run in the run's folder, so that the folder can be moved."""
    command = [str(CAFFE), 'train', '--solver', runs.SOLVER_PROTOTXT]
    if resumed:
        command += ['--snapshot', resumed.solverstate.name]
    elif weights:
        command += ['--weights', ','.join(map(str, weights))]
    if settings.gpus:
        command += ['--gpu', ','.join(map(str, settings.gpus))]
    if settings.several_gpus:
        command += ['--sigint_effect', 'snapshot']  # 'stop' ends the first GPU's thread, for which the others then wait for ever
    return command


def _solver(settings: Settings, start: int):
    """SolverParameter of the run from iteration `start`.

    Each iteration is displayed, so that short runs have a curve too. Caffe seeds its random numbers when it starts: a session
    that goes on gets a seed of its own, else it would draw the crops and the dropout of the first one again.
    Several GPUs add their gradients layer by layer while the pass goes on, which must not meet the next pass of a split batch.
    """
    stage = settings.stage
    message = solver(
        settings.stage_name, runs.TRAIN_PROTOTXT, settings.stage_name, max_iter=stage.max_iter, iter_size=stage.iter_size,
        snapshot=stage.snapshot, display=1, gpu=bool(settings.gpus),
    )  # fmt: skip
    message.base_lr = stage.base_lr
    if settings.several_gpus and stage.iter_size > 1:
        message.layer_wise_reduce = False
    if stage.random_seed is not None:
        message.random_seed = stage.random_seed + start
    return message


class Session:
    """Caffe from one start to its end."""

    def __init__(self, settings: Settings, net, start: int) -> None:
        self._settings, self._net, self._start = settings, net, start
        self._run_dir, self._log = settings.run_dir, settings.run_dir / runs.LOG
        self._reader, self._tail = LogReader(), deque[str](maxlen=_TAIL)
        self._snapshot_begun = False

    def run(self, command: list[str], lock: int) -> int:
        """Run `command` to its end; the exit status as `train` gives it."""
        with self._log.open('ab') as log:
            log.write(f'\n{SESSION}{self._start}: {shlex.join(command)}\n'.encode())
            log.flush()
            self._metrics = Metrics(self._run_dir / runs.METRICS, self._log)
            child, offset = process.start(command, self._run_dir, log, lock), log.tell()
        self._progress = Progress(
            self._settings.stage_name, self._start, self._settings.stage.max_iter, self._settings.stage.batch_size
        )
        try:
            with process.stopping(child) as signals:
                for line in process.follow(child, self._log, offset):
                    self._take(line, child, stopping=bool(signals))
        finally:
            self._progress.close()
        self._keep_up()
        return self._result(child.wait(), stopped=bool(signals))

    def _take(self, line: str, child: subprocess.Popen, *, stopping: bool) -> None:
        """One line of Caffe's log; `stopping` once a stop signal was passed on."""
        self._tail.append(line)
        self._snapshot_begun |= snapshot_begun(line)
        row = self._reader.feed(line)
        if row is None:
            return
        self._metrics.append(row)
        self._progress.show(row)
        if not row.finite:
            child.kill()
            child.wait()
            raise UserError(self._diverged(row))
        if self._snapshot_begun:  # and ended: Caffe computes again
            self._snapshot_begun = False
            self._keep_up()
            if stopping and self._settings.several_gpus:  # it has written the snapshot and goes on
                child.kill()

    def _keep_up(self) -> None:
        """After a snapshot: let the oldest go, draw the curve."""
        prune(self._run_dir, self._net, self._settings.keep)
        if self._metrics.rows:
            title, classes = self._settings.stage_name, self._settings.dataset.num_classes
            plot_loss(self._metrics.rows, self._run_dir / runs.PLOT, title, classes)

    def _diverged(self, row: Row) -> str:
        """Delete the snapshots of spoiled weights, and say what is left."""
        good = max((other.iteration for other in self._metrics.rows if other.sound), default=-1)
        delete_all(snapshot for snapshot in snapshots(self._run_dir) if snapshot.iteration > good)
        last = newest_whole(self._run_dir, self._net)
        left = f'the last good snapshot is {last.caffemodel}' if last else 'there is no good snapshot yet'
        return (
            f'{self._log}: the loss is {row.loss} at iteration {row.iteration}, training has diverged; {left}; '
            'begin anew with a smaller --base-lr (and --restart)'
        )

    def _result(self, status: int, *, stopped: bool) -> int:
        """Say how it ended, on stdout; a UserError if badly."""
        last = newest_whole(self._run_dir, self._net)
        if status != 0 and not stopped:
            raise UserError(failure_message(status, list(self._tail), self._log))
        reached = last.iteration if last else 0
        where = f'{last.caffemodel}' if last else 'no snapshot'
        print(f'{self._settings.stage_name}: iteration {reached} of {self._settings.stage.max_iter}, {where}')
        print(f'curve: {self._run_dir / runs.PLOT}  rows: {self._run_dir / runs.METRICS}  log: {self._log}')
        if reached >= self._settings.stage.max_iter:
            return 0
        print('stopped; the same command goes on from there')
        return STOPPED
