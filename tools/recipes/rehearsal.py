"""Runs the stages one after the other with the commands of their chains, and records the results."""

import csv
import math
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from dataset_prep.datasets import dataset
from pretrained.caffemodel import read_net
from prototxt import networks
from prototxt.chains import stages_of
from prototxt.experiments import NETS, STAGES, Stage
from tools.netinfo.memory_estimate import estimate
from tools.netinfo.setup import layers_of
from tools.recipes.chain import Chain
from tools.recipes.drawn_data import prepare_data
from tools.recipes.rehearsal_rows import Asked, RehearsalRow, failed, markdown, read_rows, write_rows
from tools.recipes.start_weights import needs_file, write_start
from tools.support.atomic import whole_file
from tools.support.errors import UserError
from tools.support.memory_use import MemoryWatch
from tools.training.options import Options
from tools.training.overview import overview
from tools.training.record import RECORD, loss_scale, read_record
from tools.training.run_folder import METRICS, TRAIN_PROTOTXT

ROWS, TABLE = 'rehearsal.json', 'rehearsal.md'


class Rehearsal:
    """Runs stages, with all that they start from, in one folder: `data`, `runs`, the recorded rows and the table."""

    def __init__(self, chosen: tuple[str, ...], asked: Asked, folder: Path) -> None:
        """All files go to `folder`."""
        self._asked, self._folder, self._runs, self._data = asked, folder, folder / 'runs', folder / 'data'
        gpu = None if asked.gpu is None else (asked.gpu,)
        options = Options(iters=asked.iters, keep=1, data=str(self._data), runs=str(self._runs), gpu=gpu)
        self._chain = Chain('rehearsal', chosen, options)
        self._rows = read_rows(folder / ROWS)
        self._failed: dict[str, str] = {}

    def follow(self) -> int:
        """Run the stages that have not run yet; returns 1 if a stage failed or began with a wrong loss, else 0."""
        names = self._chain.stages
        prepare_data([STAGES[name] for name in names], self._data)
        for name in names:
            if not self._done(name):
                self._try(name)
        return 0 if not self._failed and all(self._rows[name].sound for name in names) else 1

    def table(self) -> str:
        """A Markdown line for each stage that ran or failed; also written to a file."""
        lines = [
            failed(name, self._failed[name]) if name in self._failed else self._rows[name].cells()
            for name in self._chain.stages
            if name in self._rows or name in self._failed
        ]
        with whole_file(self._folder / TABLE) as temporary:
            temporary.write_text(markdown(lines))
        return markdown(lines)

    def _done(self, name: str) -> bool:
        """Whether a stage already ran with these settings, or for more iterations."""
        row = self._rows.get(name)
        return row is not None and row.asked.covers(self._asked) and (self._runs / name / RECORD).exists()

    def _try(self, name: str) -> None:
        """Run one stage and record it. If it fails, the others still run."""
        lacking = [other for other in stages_of((name,)) if other in self._failed]
        try:
            if lacking:
                raise UserError(f'it starts from {lacking[0]}')
            self._rows[name] = self._run(name)
            write_rows(self._folder / ROWS, self._rows.values())
        except UserError as error:
            self._failed[name] = str(error)

    def _run(self, name: str) -> RehearsalRow:
        """Delete what an earlier call left of a stage, and train it from its beginning; returns its row."""
        stage, run_dir, start = STAGES[name], self._runs / name, self._folder / 'start.caffemodel'
        shutil.rmtree(run_dir, ignore_errors=True)
        images = min(self._asked.batch_per_pass, stage.batch_per_pass)
        changes: dict[str, Any] = {'batch': images, 'batch_per_pass': images}
        if needs_file(stage):
            write_start(stage, start)
            changes['weights'] = [str(start)]
        self._chain.store_maps(name)  # validation takes memory of its own
        watch = nullcontext() if self._asked.gpu is None else MemoryWatch(self._asked.gpu)
        try:
            with watch as gpu:
                self._chain.train(name, **changes)
        except UserError as error:
            raise UserError((run_dir / RECORD).exists() and overview(run_dir).problem or str(error)) from error
        finally:
            start.unlink(missing_ok=True)
        row = _row(name, stage, self._asked, run_dir, gpu.taken if gpu else None)
        self._forget(name)
        return row

    def _forget(self, name: str) -> None:
        """Delete files that nothing starts from: the momentum, and the weights of a last stage."""
        needed = any(name in stages_of((other,))[:-1] for other in STAGES)
        for pattern in ('*.solverstate',) if needed else ('*.solverstate', '*.caffemodel'):
            for path in (self._runs / name).glob(pattern):
                path.unlink()


def _row(name: str, stage: Stage, asked: Asked, run_dir: Path, gpu_bytes: int | None) -> RehearsalRow:
    """The row of a run, from its files."""
    record, net = read_record(run_dir), read_net(run_dir / TRAIN_PROTOTXT)
    manifest = record['lmdb']['manifest']
    with (run_dir / METRICS).open(newline='') as lines:
        rows = list(csv.DictReader(lines))
    later = rows[1:] or rows  # the first iteration has no update before it, and allocates the memory
    images = min(asked.batch_per_pass, stage.batch_per_pass)
    whole = networks.training(name, record['lmdb']['folder'], stage.crop_size, stage.batch_per_pass)
    return RehearsalRow(
        stage=name,
        asked=asked,
        size=f'{stage.crop_size}' if stage.crop_size else 'maps {}x{}'.format(*manifest['min_side_hw']),
        images=images,
        row_images=stage.batch_per_pass,
        first_loss=float(rows[0]['loss']),
        expected=loss_scale(record) * math.log(dataset(NETS[stage.net].dataset).num_classes),
        seconds=sum(float(row['seconds']) for row in later) / len(later),
        peak_bytes=record['sessions'][-1]['peak_bytes'] if gpu_bytes is None else gpu_bytes,
        estimate_bytes=_estimate(net, asked),
        row_estimate_bytes=_estimate(whole, asked),
        goes_on=bool(stage.features_from) or any(source in STAGES for source in stage.init),
    )


def _estimate(net, asked: Asked) -> float:
    """Estimated memory for training `net`, where its blobs are."""
    return estimate(layers_of(net, 'train'), training=True, gpu=asked.gpu is not None).device
