"""Watches a running Caffe: its log, its snapshots and its end."""

import math
import shlex
import signal
import subprocess
import time
from collections import deque
from typing import NoReturn

from tools.support.atomic import to_disk
from tools.support.errors import UserError
from tools.support.memory_use import Peak
from tools.training import process, record, run_folder
from tools.training.caffe_log import SESSION, LogReader, LogRow, last_pass, snapshot_begun
from tools.training.class_weights import ClassWeights
from tools.training.events import Events
from tools.training.failure import failure_message
from tools.training.metrics import Metrics
from tools.training.plot import draw
from tools.training.record_order import record_begun_with
from tools.training.scores import read_scores
from tools.training.settings import Settings
from tools.training.snapshots import Snapshot, delete_all, newest_whole, prune, snapshots, whole_snapshots
from tools.training.start import Start, say_order_lost
from tools.training.training_bar import Progress
from tools.training.validation import Validation
from tools.training.watch import Watch

_SECONDS_BETWEEN_PLOTS = 10
_TAIL = 200  # lines of the log kept to explain a failure
# After a stop: normal end; stopped before Caffe handled signals; killed by a second Ctrl-C.
_ENDS_OF_STOPPED = 0, -signal.SIGINT, -signal.SIGKILL


class Supervisor:
    """Follows Caffe from start to end, and writes metrics, curves and scores to the run folder."""

    def __init__(self, settings: Settings, net, class_weights: ClassWeights | None = None) -> None:
        self._settings, self._net = settings, net
        self._run_dir, self._log = settings.run_dir, settings.run_dir / run_folder.LOG
        self._reader, self._tail = LogReader(), deque[str](maxlen=_TAIL)
        self._snapshot_begun = False
        self._drawn = -math.inf
        self._watch, self._validation = Watch(settings, class_weights), Validation(settings)

    def run(self, start: Start, lock: int) -> Snapshot | None:
        """Run Caffe to its end; returns the newest snapshot that training can continue from.

        Raises UserError if Caffe failed, or ended without the snapshot of its last iteration.
        """
        events = self._run_dir if self._settings.options.tensorboard else None
        self._events = Events(events, start.iteration)  # this import takes seconds
        with self._log.open('ab') as log:
            log.write(f'\n{SESSION}{start.iteration}: {shlex.join(start.command)}\n'.encode())
            log.flush()
            self._metrics = Metrics(self._run_dir / run_folder.METRICS, self._log)
            for row in self._metrics.rows:
                self._watch.fault(row)
            offset = log.tell()  # before the start: Caffe appends to the same file
            child = process.start(start.command, self._run_dir, log, lock, start.variables)
        self._awaited = start.first_record  # until Caffe logs its first record
        stage, peak = self._settings.stage, Peak(child.pid)
        self._progress = Progress(self._settings.stage_name, start.iteration, stage.max_iter, stage.batch_size)
        try:
            with process.stopping(child) as signals:
                for line in process.follow(child, self._log, offset, peak.look):
                    self._take(line, child, stopping=bool(signals))
            record.amend_session(self._run_dir, peak_bytes=peak.bytes)
            self._keep_up(last=True)
            self._progress.close()  # so that its rate leaves out the scoring after the training
            if not signals and child.wait() == 0:
                self._validation.finish()
                self._draw()
        finally:
            self._progress.close()
            self._validation.close()
            self._events.close()
        return self._result(child.wait(), stopped=bool(signals))

    def _take(self, line: str, child: subprocess.Popen, *, stopping: bool) -> None:
        """Handle one line of Caffe's log. `stopping`: a stop signal was passed on."""
        self._tail.append(line)
        if snapshot_begun(line):
            self._snapshot_begun = True
            to_disk(self._log)  # before the snapshot is complete: else a power cut could leave it without its rows
        if record_begun_with(line) is not None:
            self._awaited = 0
        last = last_pass(line)
        if last and not last.finite:
            self._end_diverged(child, last, str(self._watch.fault(last)))
        row = self._reader.feed(line)
        if row is None:
            return
        if self._awaited:
            say_order_lost(self._awaited, 'this Caffe does not read LMDBs through the shared library liblmdb')
            record.amend_session(self._run_dir, first_record=0)
            self._awaited = 0
        self._metrics.append(row)
        self._progress.show(row)
        self._events.add(row)
        if fault := self._watch.fault(row):
            self._end_diverged(child, row, fault)
        if self._validation.busy:
            self._validation.keep_up()
        if self._snapshot_begun:  # again: Caffe has gone on computing
            self._snapshot_begun = False
            self._keep_up()
            if stopping and self._settings.several_gpus:  # Caffe has written the snapshot and goes on
                child.kill()

    def _keep_up(self, *, last: bool = False) -> None:
        """After each snapshot, and after the `last`: start its scoring, delete the oldest, and draw the curve now and then."""
        whole = whole_snapshots(self._run_dir, self._net)
        self._validation.note(whole)
        self._validation.keep_up()
        prune(self._run_dir, whole, self._settings.options.keep)
        if last or time.monotonic() - self._drawn > _SECONDS_BETWEEN_PLOTS:
            self._draw()

    def _draw(self) -> None:
        """Draw the curves so far."""
        self._drawn = time.monotonic()
        self._events.add_scores(read_scores(self._run_dir))
        draw(self._settings, self._metrics.rows)

    def _end_diverged(self, child: subprocess.Popen, row: LogRow, fault: str) -> NoReturn:
        """End Caffe after its weights have diverged."""
        child.kill()
        child.wait()
        raise UserError(self._diverged(row, fault))

    def _diverged(self, row: LogRow, fault: str) -> str:
        """What happened, likely causes, and what is left. Deletes snapshots with weights that are not finite."""
        if not row.finite:
            good = max((other.iteration for other in self._metrics.rows if other.sound(self._watch.worst)), default=-1)
            delete_all(snapshot for snapshot in snapshots(self._run_dir) if snapshot.iteration > good)
        last = newest_whole(self._run_dir, self._net, self._watch.good + 1)
        left = f'the last good snapshot is {last.caffemodel}' if last else 'there is no good snapshot yet'
        return (
            f'{self._log}: {fault}, training has diverged; {left}; {self._watch.causes()}; '
            'begin anew with a smaller --base-lr (and --restart), or with a higher --max-loss if such a loss is expected'
        )

    def _result(self, status: int, *, stopped: bool) -> Snapshot | None:
        """The newest complete snapshot. Raises UserError unless Caffe ended normally or was `stopped`."""
        last, end = newest_whole(self._run_dir, self._net), self._settings.stage.max_iter
        if status not in (_ENDS_OF_STOPPED if stopped else (0,)):
            raise UserError(failure_message(status, list(self._tail), self._log))
        if not stopped and (last is None or last.iteration < end):
            raise UserError(f'{self._run_dir}: Caffe ended, but its snapshot at iteration {end} is not whole; is the disk full?')
        return last
