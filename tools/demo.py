#!/usr/bin/env python3
"""The whole way of the data once, on a computer without a GPU and without any download: scenes drawn by this toolkit.

Draws a data set, trains a narrow front end from random weights, then the context module Basic and Large on its scores,
tests all three on images they have not seen, and writes DIR/report.html and DIR/picture.png. A demonstration of the
tools, not of the paper's accuracy. Run again after a stop, it goes on where it was.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

import argparse
import shlex

from dataset_prep.datasets import dataset
from dataset_prep.records import load_split
from prototxt.experiments import STAGES
from tools.recipes.steps import Steps
from tools.report.content import Done, System, read_curve
from tools.report.page import Report, publish
from tools.support.arguments import positive
from tools.support.errors import run_command
from tools.support.paths import ROOT
from tools.training.runs import newest_snapshot

SYSTEMS = {'Front end': 'toy-front', 'Front + Basic': 'toy-basic', 'Front + Large': 'toy-large'}
NOTES = (
    'Scenes drawn by this toolkit, in which what some regions are called depends on something far away in the picture. '
    "A narrow front end was trained from random weights, then the context modules of the paper's Table 1 on its scores; "
    'networks and solvers were generated from prototxt/experiments.py and trained by stock BVLC Caffe on this computer.',
    "The numbers are what came out; they say nothing about the accuracy of the paper's models.",
)


def follow(out: Path, train_images: int, test_images: int, iters: int | None) -> list[Done]:
    """All steps of the demonstration, in order; what ran comes back."""
    anew = f'rm -r {shlex.quote(str(out))}, or give another --out'
    data, runs, recipe = out / 'data', out / 'runs', Steps(out / 'steps.json', anew)
    overrides = () if iters is None else ('--iters', iters)

    def train(title: str, stage: str, lmdb: Path) -> None:
        recipe.do(title, 'tools/train.py', stage, '--lmdb', lmdb, '--run-dir', runs / stage, *overrides)

    recipe.do(
        'Draw the scenes and write the LMDB',
        '-m', 'dataset_prep.toy', '--out', data, '--train', train_images, '--test', test_images,
    )  # fmt: skip
    train('Train the front end from random weights', 'toy-front', data / f'train_{STAGES["toy-front"].crop_size}')
    for split in ('train', 'test'):
        recipe.do(
            f"Store the front end's scores of the {split} images",
            'tools/extract_features.py', '--net', 'front_toy', '--weights', newest_snapshot(runs / 'toy-front'),
            '--blob', 'final', '--data', data, '--split', split, '--out', data / f'{split}_final_toy-front',
        )  # fmt: skip
    for name in ('basic', 'large'):
        train(f'Train the context module {name.title()} from the identity', f'toy-{name}', data / 'train_final_toy-front')
    for name, stage in SYSTEMS.items():
        stored = () if STAGES[stage].start == 'data' else ('--features', data / 'test_final_toy-front')
        recipe.do(
            f'Test: {name}',
            'tools/test.py', '--net', STAGES[stage].net, '--weights', newest_snapshot(runs / stage),
            '--data', data, '--split', 'test', '--out', out / 'test' / stage, *stored,
        )  # fmt: skip
    return recipe.done


def report(out: Path, done: list[Done]) -> Report:
    """The page: scores, pictures and curves of what was run."""
    return Report(
        title='Dilated convolutions on stock Caffe: demonstration on drawn scenes',
        notes=NOTES,
        dataset=dataset('toy'),
        records=load_split(out / 'data', 'test'),
        systems=[System(name, out / 'test' / stage) for name, stage in SYSTEMS.items()],
        curves=[read_curve(name, out / 'runs' / stage) for name, stage in SYSTEMS.items()],
        done=done,
    )


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=ROOT / 'demo', help='folder that everything is written to (default: demo/)')
    parser.add_argument('--train', type=positive, default=48, help='images to train on (default: %(default)s)')
    parser.add_argument('--test', type=positive, default=24, help='images to test on (default: %(default)s)')
    parser.add_argument('--iters', type=positive, help='iterations of each training run (default: those of the stage)')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    out = args.out.resolve()
    publish(report(out, follow(out, args.train, args.test, args.iters)), out)


if __name__ == '__main__':
    run_command(main)
