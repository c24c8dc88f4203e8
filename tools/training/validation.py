"""Scores snapshots on the validation split during a training, one after the other, by tools/test.py.

A snapshot's weights are linked to validation/iter_N.caffemodel, so that they stay until they are scored, even if the snapshot is
deleted. The best weights so far are best.caffemodel. validation.csv has a row for each scored snapshot, and
validation/iter_N.png shows its predictions on the same few images each time.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from dataset_prep.datasets import how_to_prepare
from dataset_prep.lmdb_store import read_manifest
from dataset_prep.records import load_split
from prototxt.experiments import NETS
from prototxt.lmdb_names import lmdb_of
from tools.support.atomic import whole_file
from tools.support.errors import UserError
from tools.support.paths import ROOT
from tools.training import process
from tools.training.scores import BEST, FOLDER, Score, best_score, check_same_images, read_scores, write_best, write_scores
from tools.training.settings import Settings
from tools.training.snapshots import Snapshot
from tools.training.storing import how_to_store
from tools.training.training_bar import say

UNSCORED = '.unscored'  # in place of .caffemodel


def check_validation(settings: Settings, *, maps_to_come: bool = False) -> None:
    """Raise UserError if the options ask for scores of snapshots that cannot be computed.

    `maps_to_come`: the chain stores the maps of the split before the stage begins, so they need not exist yet.
    """
    every, split = settings.options.val_every, settings.val_split
    earlier = None if settings.options.restart else read_scores(settings.run_dir)  # a run that is moved aside keeps its own
    if every is None:
        return
    if every % settings.stage.snapshot:
        raise UserError(
            f'--val-every {every} is not a multiple of the {settings.stage.snapshot} iterations between snapshots of '
            f'{settings.stage_name}; change it (VAL_EVERY=), or change --snapshot (SNAPSHOT=)'
        )
    if earlier:
        check_same_images(settings.run_dir, split, settings.options.val_limit)
    _check_split(settings)
    maps = _maps(settings)
    if maps and not maps_to_come:
        _check_maps(settings, maps)


def _check_maps(settings: Settings, maps: Path) -> None:
    """Raise UserError unless the stored maps of the split exist."""
    stage, split, there = settings.stage, settings.val_split, (maps / 'data.mdb').is_file()
    if there and (stored := read_manifest(maps).get('split')) == split:
        return
    found = f'{maps} holds maps of the split {stored}; move it away and' if there else f'no maps of the split {split} at {maps};'
    runs = settings.run_of(str(stage.features_from)).parent
    raise UserError(f'{found} run: {how_to_store(stage, split, settings.data, runs)}')


def _check_split(settings: Settings) -> None:
    """Raise UserError unless the split exists and has ground truth."""
    name, split, folder = settings.dataset.name, settings.val_split, settings.data / NETS[settings.stage.net].folder
    if split not in settings.dataset.splits:
        raise UserError(
            f'{name} has no split {split} ({", ".join(settings.dataset.splits)}); give --val-split '
            '(VAL_SPLIT=), but do not test on the split that chose the snapshot'
        )
    if not (folder / f'{split}.json').is_file():
        raise UserError(f'no list of the split {split} at {folder / split}.json; {how_to_prepare(name)}')
    if not any(record.label for record in load_split(folder, split)):
        raise UserError(f'the split {split} of {name} has no ground truth; give another --val-split (VAL_SPLIT=)')


class Validation:
    """Scores snapshots in a process beside Caffe. Without --val-every it does nothing."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._folder = settings, settings.run_dir / FOLDER
        self._child: subprocess.Popen | None = None
        self._now: Path | None = None  # the weights that are being scored

    @property
    def busy(self) -> bool:
        """Whether a snapshot is being scored."""
        return self._child is not None

    def note(self, snapshots: list[Snapshot]) -> None:
        """Keep the weights of snapshots that are still to be scored."""
        if self._settings.options.val_every is None:
            return
        done = {score.iteration for score in read_scores(self._settings.run_dir)}
        for snapshot in snapshots:
            path = self._folder / f'iter_{snapshot.iteration}.caffemodel'
            known = snapshot.iteration in done or path.exists() or path.with_suffix(UNSCORED).exists()
            if snapshot.iteration % self._settings.options.val_every == 0 and not known:
                _link(snapshot.caffemodel, path)

    def keep_up(self) -> None:
        """Take a finished score and start the next one."""
        if self._child and self._child.poll() is not None:
            self._take(self._child.returncode)
        waiting = [] if self._child else self.waiting()
        if waiting:
            self._begin(waiting[0])

    def finish(self) -> None:
        """Score all waiting snapshots, and retry those that failed, perhaps because Caffe used the memory."""
        self._score_all()
        for failed in self._folder.glob(f'iter_*{UNSCORED}') if self._settings.options.val_every else ():
            failed.rename(failed.with_suffix('.caffemodel'))
        self._score_all()

    def _score_all(self) -> None:
        """Score until nothing waits."""
        self.keep_up()
        while self._child:
            self._child.wait()
            self.keep_up()

    def close(self) -> None:
        """Stop scoring; the next session continues."""
        if self._child and self._child.poll() is None:
            self._child.kill()
            self._child.wait()

    def waiting(self) -> list[Path]:
        """Weights that wait to be scored, oldest first."""
        if self._settings.options.val_every is None:
            return []
        return sorted(self._folder.glob('iter_*.caffemodel'), key=_iteration)

    def _begin(self, weights: Path) -> None:
        """Start to score the oldest waiting weights."""
        say(f'scoring {self._settings.stage_name} at iteration {_iteration(weights)} on {self._settings.val_split}')
        with (self._folder / f'{weights.stem}.log').open('wb') as log:
            self._child, self._now = process.start(_command(self._settings, weights), ROOT, log), weights

    def _take(self, status: int) -> None:
        """Read the score of `self._now`; keep its weights if they are the best, else delete them."""
        weights, run_dir = self._now, self._settings.run_dir
        self._child = self._now = None
        assert weights is not None
        if status:
            log = weights.with_suffix('.log')
            say(f'{weights.stem} could not be scored (status {status}); see {log}')
            weights.rename(weights.with_suffix(UNSCORED))  # so that it is not retried at once
            return
        out = weights.with_suffix('')
        found = json.loads((out / 'scores.json').read_text())['mean_iou']  # None if all pixels are ignored
        score = Score(_iteration(weights), found or 0.0)
        scores = sorted([*read_scores(run_dir), score], key=lambda one: one.iteration)
        if best_score(scores) == score:
            _link(weights, run_dir / BEST)
            write_best(run_dir, score, self._settings.val_split, self._settings.options.val_limit)
        write_scores(run_dir, scores)
        (out / 'scores.json').replace(out.with_suffix('.json'))
        sheet = (out / 'pictures' / 'contact_sheet.png').replace(out.with_suffix('.png'))
        shutil.rmtree(out)
        weights.unlink()
        said = f'mean IoU {100 * score.mean_iou:.1f}, pictures: {sheet}'
        say(f'{self._settings.stage_name} at iteration {score.iteration}: {said}')


def _command(settings: Settings, weights: Path) -> list[str]:
    """The command that scores a snapshot of a stage."""
    data, maps = settings.data / NETS[settings.stage.net].folder, _maps(settings)
    command = [
        sys.executable, str(ROOT / 'tools' / 'test.py'), '--net', settings.stage.net, '--weights', str(weights),
        '--data', str(data), '--split', settings.val_split, '--out', str(weights.with_suffix('')),
    ]  # fmt: skip
    command += ['--features', str(maps)] if maps else []
    command += ['--limit', str(settings.options.val_limit)] if settings.options.val_limit else []
    return command + (['--gpu', str(settings.gpus[0])] if settings.gpus else [])


def _maps(settings: Settings) -> Path | None:
    """The stored maps of the validation split, for a stage on stored maps."""
    return None if settings.stage.start == 'data' else settings.data / lmdb_of(settings.stage, settings.val_split)


def _iteration(path: Path) -> int:
    """The number in iter_N.caffemodel."""
    return int(path.stem.removeprefix('iter_'))


def _link(source: Path, path: Path) -> None:
    """Make a hard link to a file, or a copy if the file system has no hard links."""
    path.parent.mkdir(exist_ok=True)
    with whole_file(path) as temporary:
        try:
            os.link(source, temporary)
        except OSError:
            shutil.copyfile(source, temporary)
