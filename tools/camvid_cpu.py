#!/usr/bin/env python3
"""CamVid within reach of a CPU: VGG-16's own convolutions, frozen, run once an image; the layers after them trained.

Stores the trunk's conv5_3 maps of the training and the test images, trains a narrow fc6 and fc7 and the scoring layer on
them, then the context modules Basic and Large on the scores, then all these layers and Basic together; tests each on all test
images, and writes OUT/report.html.
Needs the data set (--data, as for make lmdb-camvid) and pretrained/vgg16.caffemodel (make weights-vgg16).
Run again after a stop, it goes on where it was.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

from dataset_prep.datasets import dataset
from dataset_prep.records import load_split
from prototxt.experiments import STAGES
from prototxt.lmdb_names import lmdb_of
from prototxt.shapes import TRUNK_END
from tools.camvid_recipe import VGG16, camvid_recipe, parse_camvid_args
from tools.recipe import Done, Recipe
from tools.report.content import System, read_curve
from tools.report.page import Report, publish
from tools.support.errors import run_command
from tools.support.paths import DATA, RUNS
from tools.training.runs import newest_snapshot

FRONT, BASIC, LARGE, JOINT = 'camvid-cpu-front', 'camvid-cpu-basic', 'camvid-cpu-large', 'camvid-cpu-joint'
SYSTEMS = {'Front end': FRONT, 'Front + Basic': BASIC, 'Front + Large': LARGE, 'Front + Basic, joint': JOINT}
SETTING = (
    "CamVid's training and test images at the size they came in. The convolutions of VGG-16 trained on ImageNet, frozen; "
    'fc6 and fc7 of 128 channels instead of 4096, from random weights; the context modules Basic and Large from the identity. '
    'Not the models of the paper: what a CPU trains in two hours.'
)


@dataclass(frozen=True)
class Folders:
    """Where the recipe keeps what it makes: lists and LMDBs; results."""

    data: Path
    out: Path

    def maps(self, split: str, stage: str) -> Path:
        """The maps of a split that a stage goes on from."""
        return self.data.parent / lmdb_of(STAGES[stage], split)


def follow(recipe: Recipe, source: Path, folders: Folders) -> None:
    """All steps of the recipe, in order."""
    command = '-m', 'dataset_prep.camvid', '--data', source, '--out', folders.data, '--lists-only'
    recipe.do('List the images, check the labels', *command)
    for split in ('train', 'test'):
        store_trunk(recipe, folders, split)
    recipe.do('Train fc6, fc7 and final', 'tools/train.py', FRONT)
    for split in ('train', 'test'):
        store_scores(recipe, folders, split)
    recipe.do('Train the context module Basic', 'tools/train.py', BASIC)
    recipe.do('Train the context module Large', 'tools/train.py', LARGE)
    recipe.do('Train fc6, fc7, final and Basic together', 'tools/train.py', JOINT)
    for stage in SYSTEMS.values():
        test(recipe, folders, stage, folders.out / stage)


def store_trunk(recipe: Recipe, folders: Folders, split: str) -> None:
    """The maps of the frozen trunk."""
    images = '--data', folders.data, '--split', split
    _store(recipe, f"Store the trunk's maps: {split} images", TRUNK_END, VGG16, folders.maps(split, FRONT), *images)


def store_scores(recipe: Recipe, folders: Folders, split: str) -> None:
    """The scores of the front end."""
    maps = '--features', folders.maps(split, FRONT)
    weights, out = newest_snapshot(RUNS / FRONT), folders.maps(split, BASIC)
    _store(recipe, f"Store the front end's scores: {split} images", 'final', weights, out, *maps)


def test(
    recipe: Recipe, folders: Folders, stage: str, out: Path, *options: object, split: str = 'test', title: str = 'Test'
) -> None:
    """Label a split with the newest snapshot of a stage and score it."""
    recipe.do(
        f'{title}: {stage}',
        'tools/test.py', '--net', STAGES[stage].net, '--weights', newest_snapshot(RUNS / stage), '--data', folders.data,
        '--split', split, '--features', folders.maps(split, stage), '--out', out, *options,
    )  # fmt: skip


def _store(recipe: Recipe, title: str, blob: str, weights: Path, out: Path, *source: object) -> None:
    net = STAGES[FRONT].net
    recipe.do(title, 'tools/extract_features.py', '--net', net, '--weights', weights, '--blob', blob, '--out', out, *source)


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
