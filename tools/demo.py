#!/usr/bin/env python3
"""Show what a context module is for, on drawn scenes, without a GPU and without a download.

A plain is a lake if the scene has a boat, and a field if it has a barn, however far away. Lake and field look the same. The demo
draws scenes, trains a narrow front end from random weights, and trains the context modules Basic and Large on its scores. It
tests all three on other scenes, labels one more scene, and writes DIR/report.html and DIR/picture.png. If you stop it, the same
command goes on.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

import argparse
import shlex
from collections.abc import Sequence

from dataset_prep.datasets import dataset
from dataset_prep.records import Record, load_split
from prototxt.experiments import STAGES
from tools.recipes.steps import Steps
from tools.report.content import Done, System, read_curve, share_named
from tools.report.page import Report, publish
from tools.scoring import percent
from tools.support.arguments import positive
from tools.support.errors import run_command
from tools.support.paths import ROOT
from tools.training.run_folder import newest_snapshot

SYSTEMS = {'Front end': 'toy-front', 'Front + Basic': 'toy-basic', 'Front + Large': 'toy-large'}
PLAINS = ('lake', 'field')
RULE = (
    'A plain is a lake if the scene has a boat, and a field if it has a barn, however far away. Lake and field look the same. '
    "A narrow front end was trained from random weights, then the paper's context modules Basic and Large on its scores. "
    'prototxt/experiments.py defines the networks and solvers; stock BVLC Caffe trained them on this computer.'
)
LEARNED = (
    'The front end learned what shows close by, such as boats and barns. It does not look far, so it labels {} % of the '
    "plains' pixels correctly; a guess would get half. "
    "Basic learned from the front end's scores alone to carry boat and barn across the picture: {} %. "
    'Large, which has more maps per layer, learned the same: {} %.'
)
CAVEAT = "These numbers say nothing about the accuracy of the paper's models."
NEXT = (
    ('See what is there and what other steps need', 'make doctor'),
    ("Label CamVid's streets: what a CPU can train", 'make camvid-cpu DATA=FOLDER'),
    ('Train on your own images and classes', 'make lmdb-custom NAME=x DATA=FOLDER CLASSES=FILE CROP_SIZE=628'),
    ("See the paper's tables, and what fills each cell", 'make tables'),
)


def follow(out: Path, train_images: int, test_images: int, iters: int | None, seed: int | None) -> list[Done]:
    """Run all steps of the demonstration in order; returns the steps."""
    anew = f'rm -r {shlex.quote(str(out))}, or give another --out'
    data, runs, recipe = out / 'data', out / 'runs', Steps(out / 'steps.json', anew)
    overrides = () if iters is None else ('--iters', iters)
    seeded = () if seed is None else ('--seed', seed)

    def train(title: str, stage: str, lmdb: Path) -> None:
        recipe.do(title, 'tools/train.py', stage, '--lmdb', lmdb, '--run-dir', runs / stage, *overrides, *seeded)

    recipe.do(
        'Draw the scenes and write the LMDB',
        '-m', 'dataset_prep.toy', '--out', data, '--train', train_images, '--val', 1, '--test', test_images, *seeded,
    )  # fmt: skip
    train('Train the front end from random weights', 'toy-front', data / f'train_{STAGES["toy-front"].crop_size}')
    for split in ('train', 'test'):
        recipe.do(
            f"Store the front end's scores of the {split} images",
            'tools/extract_features.py', '--net', 'front_toy', '--weights', newest_snapshot(runs / 'toy-front'),
            '--blob', 'final', '--data', data, '--split', split, '--out', data / f'{split}_final_toy-front', *seeded,
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
    recipe.do('Label a scene that no network here was trained or tested on', *label(out, unseen(out).image))
    return recipe.done


def unseen(out: Path) -> Record:
    """The scene that no network was trained or tested on."""
    return load_split(out / 'data', 'val')[0]


def label(out: Path, *images: Path | str) -> list[str]:
    """The arguments of `python` that label images with the front end and Large, to <out>/unseen."""
    weights = [word for stage in ('toy-front', 'toy-large') for word in ('--weights', newest_snapshot(out / 'runs' / stage))]
    return list(map(str, ['tools/predict.py', '--net', 'large_toy', *weights, '--out', out / 'unseen', *images]))


def learned(systems: Sequence[System]) -> str:
    """Three sentences: what each system learned, with the share of the plains' pixels that it labels correctly."""
    return LEARNED.format(*(percent(share_named(system, PLAINS)) for system in systems))


def report(out: Path, done: list[Done]) -> Report:
    """Write the report: scores, pictures and curves."""
    systems = [System(name, out / 'test' / stage) for name, stage in SYSTEMS.items()]
    return Report(
        title='What a context module is for: drawn scenes on stock Caffe',
        notes=(RULE, learned(systems), CAVEAT),
        dataset=dataset('toy'),
        records=load_split(out / 'data', 'test'),
        systems=systems,
        curves=[read_curve(name, out / 'runs' / stage) for name, stage in SYSTEMS.items()],
        done=done,
        unseen=(unseen(out), System('Front + Large', out / 'unseen')),
        next_steps=(('Label another picture', shlex.join(['python3', *label(out, 'IMAGE')])), *NEXT),
    )


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=ROOT / 'demo', help='folder for all files (default: demo/)')
    parser.add_argument('--train', type=positive, default=96, help='images to train on (default: %(default)s)')
    parser.add_argument('--test', type=positive, default=24, help='images to test on (default: %(default)s)')
    parser.add_argument('--iters', type=positive, help='iterations of each training run (default: those of the stage)')
    parser.add_argument('--seed', type=positive, help='seed of the scenes and the trainings (default: 1)')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    out = args.out.resolve()
    page = report(out, follow(out, args.train, args.test, args.iters, args.seed))
    publish(page, out)
    print(f'\n{learned(page.systems)}')


if __name__ == '__main__':
    run_command(main)
