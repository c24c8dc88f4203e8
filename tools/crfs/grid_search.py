"""Searches the parameters of the dense CRF on grids, coarse to fine, on stored scores of a validation split.

The search is that of Chen et al. (DeepLab, ICLR 2015, Sec. 4): on 100 images, w2 and sg are fixed at 3, and w1, sa and sb are
tried on a coarse grid, then around the best. Mean IoU decides.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from dataset_prep.datasets import dataset
from dataset_prep.records import Record, read_image, read_label
from tools import scoring
from tools.crfs.dense_crf import CrfParameters
from tools.crfs.refining import labels_of, run_on_cores
from tools.inference.score_maps import score_path
from tools.support.atomic import whole_file
from tools.support.made_with import claim

TRIALS, BEST, HEAT_MAP = 'trials.jsonl', 'crf.json', 'heat_map.png'  # the files that a search writes
# The first values of each axis; each round halves the step. DeepLab's authors search w1 in 5 to 10, sa in 50:10:100, sb in 3:1:10
# (Sec. 4). Here w1 and sa begin lower: their published optima reach w1 3 (and sa 121), and small images need a smaller sa. Three
# values an axis give 27 sets of parameters instead of 48 for each w1. Later rounds look between these values and one step beyond.
AXES = {'bilateral_weight': (3.0, 5.0, 8.0), 'position_std': (40.0, 70.0, 100.0), 'colour_std': (3.0, 5.0, 10.0)}
LEAST = {'bilateral_weight': 0.25, 'position_std': 1.0, 'colour_std': 0.5, 'spatial_weight': 0.25, 'spatial_std': 0.5}


@dataclass(frozen=True)
class Trial:
    """Tried parameters (None: no CRF) and their confusion matrix over all images."""

    parameters: CrfParameters | None
    matrix: np.ndarray

    @property
    def mean_iou(self) -> float:
        """Mean IoU as a fraction."""
        return float(scoring.mean_iou(self.matrix))


class Search:
    """A search in a folder, with a line in `trials.jsonl` for each trial. A stopped search goes on after the last whole line."""

    def __init__(self, folder: Path, scores: Path, records: Sequence[Record], settings: dict) -> None:
        """Continue the search in `folder` if its `settings` (plain JSON) are the same; else move its files aside."""
        self._scores, self._records, self._file = scores, records, folder / TRIALS
        self.classes = dataset(records[0].dataset).num_classes
        claim(folder, settings, TRIALS, (BEST, HEAT_MAP), strange=f'{TRIALS} that no earlier search wrote', option='--out')
        self.trials = {trial.parameters: trial for trial in self._read()}

    def tried(self, parameters: CrfParameters | None) -> Trial:
        """The trial of `parameters`; it is run now if there is none yet."""
        if parameters not in self.trials:
            work = partial(count, self._scores, parameters, self.classes)
            trial = Trial(parameters, np.sum(run_on_cores(work, self._records, title(parameters)), axis=0))
            with self._file.open('a') as file:
                file.write(json.dumps({'parameters': parameters and asdict(parameters), 'matrix': trial.matrix.tolist()}) + '\n')
            self.trials[parameters] = trial
        return self.trials[parameters]

    def coarse_to_fine(self, start: CrfParameters, axes: dict[str, tuple[float, ...]], rounds: int) -> Iterator[Trial]:
        """Yield each finished trial: no CRF, then the grid of `axes`, then grids around the best, each with half the steps."""
        yield self.tried(None)
        steps = {name: smallest_step(values) for name, values in axes.items()}
        for _ in range(rounds):
            yield from (self.tried(parameters) for parameters in grid(start, axes))
            start = self.best().parameters or start
            steps = {name: step / 2 for name, step in steps.items()}
            axes = {name: around(getattr(start, name), steps[name], LEAST[name]) for name in axes}

    def best(self) -> Trial:
        """The trial with a CRF that has the highest mean IoU; the first one on a tie."""
        return max((trial for trial in self.trials.values() if trial.parameters), key=lambda trial: trial.mean_iou)

    def _read(self) -> Iterator[Trial]:
        """The trials of an earlier run. A line that was cut short is dropped."""
        if not self._file.is_file():
            return
        whole = [line for line in self._file.read_text().splitlines(keepends=True) if line.endswith('\n')]
        with whole_file(self._file) as temporary:
            temporary.write_text(''.join(whole))
        for line in whole:
            row = json.loads(line)
            parameters = CrfParameters(**row['parameters']) if row['parameters'] else None
            yield Trial(parameters, np.array(row['matrix'], np.int64))


def grid(start: CrfParameters, axes: dict[str, tuple[float, ...]]) -> list[CrfParameters]:
    """All combinations of the values of `axes`; other parameters are those of `start`."""
    return [CrfParameters(**asdict(start) | dict(zip(axes, values, strict=True))) for values in product(*axes.values())]


def around(value: float, step: float, least: float) -> tuple[float, ...]:
    """`value` and its neighbours one `step` away, none below `least`."""
    return tuple(sorted({max(least, value + sign * step) for sign in (-1, 0, 1)}))


def smallest_step(values: Sequence[float]) -> float:
    """The smallest step between neighbouring values of an axis; 0 for an axis of one value, which stays."""
    ordered = sorted(values)
    return min((after - before for before, after in zip(ordered, ordered[1:], strict=False)), default=0.0)


def count(scores: Path, parameters: CrfParameters | None, classes: int, record: Record) -> np.ndarray:
    """The confusion matrix of one image."""
    return scoring.confusion(
        read_label(record), labels_of(score_path(scores, record.id), read_image(record), parameters), classes
    )


def title(parameters: CrfParameters | None) -> str:
    """w1, sa and sb in short, for the progress bar."""
    if parameters is None:
        return 'no CRF'
    return f'w {parameters.bilateral_weight:g} xy {parameters.position_std:g} colour {parameters.colour_std:g}'
