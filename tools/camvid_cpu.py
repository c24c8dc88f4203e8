#!/usr/bin/env python3
"""CamVid within reach of a CPU: VGG-16's own convolutions, frozen, run once an image; the layers after them trained.

Stores the trunk's conv5_3 maps of the training and the test images, trains a narrow fc6 and fc7 and the scoring layer on
them, then the context modules Basic and Large on the scores, then all these layers and Basic together; tests each on all test
images, and writes OUT/report.html.
Needs the data set (--data, as for make lmdb-camvid) and pretrained/vgg16.caffemodel (make weights-vgg16).
Run again after a stop, it goes on where it was.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

from dataset_prep.datasets import dataset
from dataset_prep.records import load_split
from tools.camvid_recipe import Folders, camvid_recipe, parse_camvid_args, store_maps, test
from tools.recipe import Done, Recipe
from tools.report.content import System, read_curve
from tools.report.page import Report, publish
from tools.support.errors import run_command
from tools.support.paths import DATA, RUNS

FRONT, BASIC, LARGE, JOINT = 'camvid-cpu-front', 'camvid-cpu-basic', 'camvid-cpu-large', 'camvid-cpu-joint'
SYSTEMS = {'Front end': FRONT, 'Front + Basic': BASIC, 'Front + Large': LARGE, 'Front + Basic, joint': JOINT}
SETTING = (
    "CamVid's training and test images at the size they came in. The convolutions of VGG-16 trained on ImageNet, frozen; "
    'fc6 and fc7 of 128 channels instead of 4096, from random weights; the context modules Basic and Large from the identity. '
    'Not the models of the paper: what a CPU trains in two hours.'
)


def follow(recipe: Recipe, source: Path, folders: Folders) -> None:
    """All steps of the recipe, in order."""
    command = '-m', 'dataset_prep.camvid', '--data', source, '--out', folders.data, '--lists-only'
    recipe.do('List the images, check the labels', *command)
    for split in ('train', 'test'):
        store_maps(recipe, folders, FRONT, split)
    recipe.do('Train fc6, fc7 and final', 'tools/train.py', FRONT)
    for split in ('train', 'test'):
        store_maps(recipe, folders, BASIC, split)
    recipe.do('Train the context module Basic', 'tools/train.py', BASIC)
    recipe.do('Train the context module Large', 'tools/train.py', LARGE)
    recipe.do('Train fc6, fc7, final and Basic together', 'tools/train.py', JOINT)
    for stage in SYSTEMS.values():
        test(recipe, folders, stage, folders.out / stage)


def report(out: Path, done: list[Done]) -> Report:
    """The page: scores, pictures and curves of what was run."""
    return Report(
        title='CamVid on a CPU: frozen VGG-16 trunk, narrow front end, context modules Basic and Large',
        notes=[SETTING, 'Joint: all layers after the frozen ones, and Basic, trained on together.'],
        dataset=dataset('camvid'),
        records=load_split(DATA / 'camvid', 'test'),
        systems=[System(name, out / stage) for name, stage in SYSTEMS.items()],
        curves=[read_curve(name, RUNS / stage) for name, stage in SYSTEMS.items()],
        done=done,
    )


def begin(argv: list[str] | None, doc: str | None = __doc__, target: str = 'camvid-cpu') -> tuple[Path, Folders, Recipe]:
    """From the command line, of this recipe or the one that goes on from it: the data set, the folders, what ran before.

    Raises UserError without a data set or VGG-16.
    """
    args = parse_camvid_args(argv, doc, 'camvid-cpu', target)
    out = args.out.resolve()
    return args.data.resolve(), Folders(DATA / 'camvid', out), camvid_recipe(out / 'steps.json')


def main(argv: list[str] | None = None) -> None:
    source, folders, recipe = begin(argv)
    follow(recipe, source, folders)
    publish(report(folders.out, recipe.done), folders.out)


if __name__ == '__main__':
    run_command(main)
