#!/usr/bin/env python3
"""Find the parameters of the dense CRF by a coarse-to-fine grid search on stored scores of a validation split.

The network does not run: the scores come from tools/test.py --save-scores. --out gets crf.json, the best parameters for --crf of
tools/crf.py and tools/test.py; trials.jsonl, all trials; and heat_map.png. If you stop the search, the same command goes on.
Files of a search on other scores or images are moved to <out>.1, .2, ...
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

import argparse
import random
import time
from collections.abc import Sequence
from dataclasses import replace

from dataset_prep.records import Record, load_split
from tools.crfs.dense_crf import CrfParameters, save_parameters
from tools.crfs.grid_search import AXES, BEST, HEAT_MAP, LEAST, Search, title
from tools.crfs.heat_map import draw_heat_map
from tools.inference.score_maps import SUFFIX, score_path
from tools.support.errors import UserError, run_command
from tools.support.hashing import file_sum

IMAGES, SEED, ROUNDS = 100, 10, 3  # images and seed as in DeepLab's scripts (SetupEnv.m)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--scores', type=Path, required=True, metavar='DIR', help='folder of score maps of the split')
    parser.add_argument('--data', type=Path, required=True, metavar='DIR', help='folder written by dataset_prep')
    parser.add_argument('--split', default='val', help='default: %(default)s')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder for the results')
    parser.add_argument(
        '--images', type=int, default=IMAGES, metavar='N', help='number of images, drawn at random (default: %(default)s)'
    )
    parser.add_argument(
        '--rounds', type=int, default=ROUNDS, metavar='N', help='number of grids, each finer than the last (default: %(default)s)'
    )
    parser.add_argument(
        '--iterations', type=int, default=10, metavar='N', help='iterations of mean-field inference (default: %(default)s)'
    )
    for name in LEAST:
        shown = AXES.get(name, (getattr(CrfParameters(), name),))
        option = '--' + name.replace('_', '-')
        parser.add_argument(option, type=float, nargs='+', default=shown, metavar='X', help=f'first grid (default: {shown})')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.images < 1 or args.rounds < 1:
        raise UserError('--images and --rounds must be at least 1')
    records = drawn(load_split(args.data, args.split), args.scores, args.images)
    search = Search(args.out, args.scores, records, settings(args, records))
    axes = {name: tuple(getattr(args, name)) for name in LEAST if len(getattr(args, name)) > 1}
    start = replace(CrfParameters(iterations=args.iterations), **{name: getattr(args, name)[0] for name in LEAST})
    print('grid: ' + ', '.join(f'{name} {numbers(values)}' for name, values in axes.items()), flush=True)
    began, done = time.monotonic(), len(search.trials)
    for trial in search.coarse_to_fine(start, axes, args.rounds):
        print(f'{100 * trial.mean_iou:6.2f} %  {title(trial.parameters)}', flush=True)
    seconds, made = time.monotonic() - began, len(search.trials) - done
    finish(search, records, args.out)
    if made:
        print(f'{made} trials of {len(records)} images in {seconds:.0f} s: {made * len(records) / seconds:.2f} images/s')


def numbers(values: Sequence[float]) -> str:
    """The values of an axis, from the command line."""
    return ' '.join(f'{value:g}' for value in values)


def drawn(records: list[Record], scores: Path, images: int) -> list[Record]:
    """The images to search on. Raises UserError if one has no scores or no ground truth."""
    chosen = random.Random(SEED).sample(records, min(images, len(records)))
    for record in chosen:
        if not score_path(scores, record.id).is_file():
            raise UserError(f'no {record.id}{SUFFIX} in {scores}; run: tools/test.py --split SPLIT --save-scores {scores}')
        if record.label is None:
            raise UserError(f'{record.id} has no ground truth; give another --split')
    return chosen


def settings(args: argparse.Namespace, records: list[Record]) -> dict:
    """Everything that the trials depend on, as plain JSON."""
    said = args.scores / 'settings.json'
    return {
        'scores_sha256': file_sum(said) if said.is_file() else None,
        'split_sha256': file_sum(args.data / f'{args.split}.json'),
        'images': [record.id for record in records],
    }


def finish(search: Search, records: list[Record], out: Path) -> None:
    """Write and print the best parameters, and draw the heat map."""
    best, without = search.best(), search.tried(None).mean_iou
    assert best.parameters
    found = {'mean_iou': best.mean_iou, 'mean_iou_without_crf': without, 'images': len(records), 'trials': len(search.trials) - 1}
    save_parameters(out / BEST, best.parameters, search=found)
    tried = {parameters: trial.mean_iou for parameters, trial in search.trials.items() if parameters}
    draw_heat_map(tried, out / HEAT_MAP, without)
    print(f'best: {best.parameters}\nmean IoU {100 * best.mean_iou:.2f} %, without CRF {100 * without:.2f} %; written to {out}')


if __name__ == '__main__':
    run_command(main, after_stop='the same command goes on')
