#!/usr/bin/env python3
"""List the training runs: state, iteration, loss, best mean IoU.

States: training (now), finished, stopped or killed (the same command goes on), failed (with the reason), damaged (with the
file). The loss is the mean of the last 25 iterations. Scores come from --val-every; the best weights are RUN/best.caffemodel.
The newest pictures of validation images with truth and prediction are named below the table.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

import argparse
import json
import math
from collections.abc import Sequence
from dataclasses import asdict

from tools.support.errors import UserError, run_command
from tools.support.paths import RUNS
from tools.support.text_tables import columns
from tools.training.overview import AVERAGED, Overview, overviews

HEAD = ('run', 'state', 'iteration', f'loss, mean of {AVERAGED}', 'rate', 'best IoU %', 'sessions', 'begun (UTC)')


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', nargs='?', type=Path, default=RUNS, help='folder of run folders (default: runs/)')
    parser.add_argument('--json', action='store_true', help='print all facts about each run as JSON')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if not args.folder.is_dir():
        raise UserError(f'no runs in {args.folder}; make train-STAGE begins one (make stages lists the stages)')
    found = list(overviews(args.folder))
    print(json.dumps([_plain(run) for run in found], indent=1) if args.json else table(found))


def _plain(run: Overview) -> dict[str, object]:
    """A run for JSON, which has no NaN: the loss of a diverged run is null."""
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in asdict(run).items()}


def table(runs: Sequence[Overview]) -> str:
    """A table with a line for each run, and further lines for newest pictures and problems."""
    pictures = [f'{run.name}: pictures {run.pictures}' for run in runs if run.pictures]
    problems = [f'{run.name}: {run.problem}' for run in runs if run.problem]
    return '\n'.join([*columns([HEAD, *map(line, runs)]), *pictures, *problems])


def line(run: Overview) -> tuple[str, ...]:
    """The cells of a run; a dash for unknown values."""
    best = None if run.best_iou is None else f'{100 * run.best_iou:.1f} at {run.best_iteration:,}'
    far = None if run.max_iter is None else f'{run.iteration:,} of {run.max_iter:,}'
    begun = run.begun and run.begun[:16].replace('T', ' ')
    loss, rate = (None if number is None else f'{number:.4g}' for number in (run.loss, run.lr))
    return tuple(str(cell) if cell else '-' for cell in (run.name, run.state, far, loss, rate, best, run.sessions, begun))


if __name__ == '__main__':
    run_command(main)
