"""Validation scores of a run's snapshots: validation.csv, best.json beside the best weights, and pictures."""

import csv
import json
import re
from dataclasses import astuple, dataclass
from pathlib import Path

from tools.support.atomic import whole_file
from tools.support.errors import UserError

TABLE, BEST, BEST_SCORE = 'validation.csv', 'best.caffemodel', 'best.json'
FOLDER = 'validation'  # in the run folder; iter_N.png is the contact sheet of a scored snapshot
COLUMNS = ('iteration', 'mean_iou')


@dataclass(frozen=True)
class Score:
    """Mean IoU of a snapshot on the validation split, as a fraction."""

    iteration: int
    mean_iou: float


def read_scores(run_dir: Path) -> list[Score]:
    """The scores of a run, sorted by iteration. Raises UserError if validation.csv is damaged."""
    path = run_dir / TABLE
    if not path.exists():
        return []
    try:
        with path.open(newline='') as lines:
            return [Score(int(row['iteration']), float(row['mean_iou'])) for row in csv.DictReader(lines)]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path} is damaged ({error!r}); move it aside, and the remaining snapshots are scored again') from error


def write_scores(run_dir: Path, scores: list[Score]) -> None:
    """Write validation.csv, complete or not at all."""
    with whole_file(run_dir / TABLE) as temporary, temporary.open('w', newline='') as file:
        csv.writer(file).writerows([COLUMNS, *map(astuple, scores)])


def contact_sheets(run_dir: Path) -> dict[int, Path]:
    """Contact sheets of the scored snapshots by iteration, sorted. All show the same images."""
    found = ((re.fullmatch(r'iter_(\d+)\.png', path.name), path) for path in (run_dir / FOLDER).glob('iter_*.png'))
    return dict(sorted((int(match[1]), path) for match, path in found if match))


def best_score(scores: list[Score]) -> Score | None:
    """Highest mean IoU; the earliest one on a tie; None if nothing was scored."""
    return max(scores, key=lambda score: score.mean_iou, default=None)


def write_best(run_dir: Path, score: Score, split: str, limit: int | None) -> None:
    """Write the score of the best weights to best.json: on the first `limit` images of `split`, or on all (None)."""
    said = {'iteration': score.iteration, 'mean_iou': score.mean_iou, 'split': split, 'limit': limit}
    with whole_file(run_dir / BEST_SCORE) as temporary:
        temporary.write_text(json.dumps(said) + '\n')


def check_same_images(run_dir: Path, split: str, limit: int | None) -> None:
    """Raise UserError if the scores in a run belong to other images: they cannot be compared."""
    path = run_dir / BEST_SCORE
    if not path.exists():
        return
    try:
        said = json.loads(path.read_text())
        before = said['split'], said.get('limit')
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f'{path} is damaged ({error!r}); move it, {TABLE} and {BEST} aside') from error
    if before != (split, limit):
        raise UserError(
            f'{run_dir}: its snapshots were scored on {_words(*before)}, but this command asks for {_words(split, limit)}; '
            f'give --val-split and --val-limit as before, or move {TABLE}, {BEST} and {BEST_SCORE} aside'
        )


def _words(split: str, limit: int | None) -> str:
    return f'{split}, {"all images" if limit is None else f"the first {limit} images"}'
