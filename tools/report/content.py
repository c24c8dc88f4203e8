"""Reads the content of a report from the files that the commands wrote."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.scoring import OTHER_MEASURES
from tools.support.errors import UserError
from tools.training import scores
from tools.training.record import loss_scale, read_record


@dataclass(frozen=True)
class Done:
    """A command that was run: its purpose, its text as a person would type it, and its seconds over all runs."""

    title: str
    command: str
    seconds: float


@dataclass(frozen=True)
class System:
    """One row of the table: its name in the paper's words, and the folder with the results of tools/test.py."""

    name: str
    folder: Path


@dataclass(frozen=True)
class Scores:
    """Intersection over union as fractions. A class in neither truth nor predictions is None.

    `other`: the other measures of FCN by name; an old scores.json may lack some.
    """

    name: str
    mean_iou: float
    class_iou: dict[str, float | None]
    images: int
    other: dict[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Curve:
    """Loss per pixel of a training run and mean IoU of its scored snapshots on validation images, by iteration.

    `run_folder`: the folder of the run.
    """

    name: str
    iterations: list[int]
    losses: list[float]
    val_iou: tuple[scores.Score, ...] = ()
    run_folder: Path | None = None


def read_scores(system: System) -> Scores:
    """Scores of a tested system. Raises UserError if it was not tested."""
    path = system.folder / 'scores.json'
    if not path.exists():
        raise UserError(f'no scores at {path}; run tools/test.py for {system.name} first')
    found = json.loads(path.read_text())
    other = {name: found[key] for key, name in OTHER_MEASURES.items() if key in found}
    return Scores(system.name, found['mean_iou'], found['class_iou'], found['images'], other)


def read_curve(name: str, run_folder: Path) -> Curve:
    """Loss by iteration from a run folder's metrics.csv, mean IoU from its validation.csv.

    A summed loss is divided by the number of pixels, a weighted one by the mean weight, so that a uniform guess has ln C.
    """
    with (run_folder / 'metrics.csv').open() as lines:
        rows = list(csv.DictReader(lines))
    scale = _loss_scale(run_folder)
    iterations, losses = [int(row['iteration']) for row in rows], [float(row['loss']) / scale for row in rows]
    return Curve(name, iterations, losses, tuple(scores.read_scores(run_folder)), run_folder)


def _loss_scale(run_folder: Path) -> float:
    """The loss of a uniform guess in this run divided by ln C, from run.json; 1 if that cannot be read."""
    try:
        return loss_scale(read_record(run_folder))
    except UserError:
        return 1


def share_named(system: System, classes: Sequence[str]) -> float:
    """Share of the pixels of `classes` that a tested system labels correctly; NaN if the ground truth has none."""
    found = json.loads((system.folder / 'scores.json').read_text())
    places = [list(found['class_iou']).index(name) for name in classes]
    pixels = sum(sum(found['confusion'][place]) for place in places)
    return sum(found['confusion'][place][place] for place in places) / pixels if pixels else float('nan')
