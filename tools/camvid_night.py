#!/usr/bin/env python3
"""The paper's Table 5 on CamVid, in a night of a CPU: front end, Dilation8 and DeepLab-LargeFOV from VGG-16's convolutions.

All three keep VGG-16's convolutions up to conv3_3 as they are and train those after. For the front end, their maps at pool3 are
stored once; DeepLab, a third of its work, computes them anew from random crops. Dilation8: the context module from the identity
on the front end's stored scores, then both together. Snapshots are scored on the validation images while they train; the test
images are labelled at the end, by the last snapshot of each stage. Ends in OUT/report.html.
Needs the data set (--data, as for make lmdb-camvid) and pretrained/vgg16.caffemodel (make weights-vgg16).
Run again after a stop or a kill, it goes on where it was.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

from dataset_prep.datasets import dataset
from dataset_prep.records import load_split
from prototxt.experiments import STAGES
from tools.camvid_recipe import Folders, camvid_recipe, parse_camvid_args, store_maps, test
from tools.paper_tables import TABLE
from tools.recipe import Done, Recipe
from tools.report.content import System, read_curve
from tools.report.page import Report, publish
from tools.support.errors import run_command
from tools.support.paths import DATA, RUNS

FRONT, BASIC, JOINT, DEEPLAB = (f'camvid-night-{name}' for name in ('front', 'basic', 'joint', 'deeplab-largefov'))
SYSTEMS = {'Front end': FRONT, 'Front + Basic': BASIC, 'Dilation8': JOINT, 'DeepLab-LFOV': DEEPLAB}
VAL_EVERY = {FRONT: 500, BASIC: 1000, JOINT: 200, DEEPLAB: 500}  # iterations between snapshots that are scored
PAPER = {row.name: row for row in TABLE[5].rows if row.name in SYSTEMS}
NOTES = (
    "CamVid's training and test images at the size they came in (the paper: 640x480). VGG-16's convolutions trained on ImageNet, "
    'those up to conv3_3 kept as they are. fc6 and fc7 from random weights: 512 channels in the front end (the paper: 4096), '
    '1024 in DeepLab (as its authors have). The last snapshot of each stage is tested.',
    "The paper's column is its Table 5.",
)


def follow(recipe: Recipe, source: Path, folders: Folders) -> None:
    """All steps of the recipe, in order."""
    command = '-m', 'dataset_prep.camvid', '--data', source, '--out', folders.data, '--crop-size', STAGES[DEEPLAB].crop_size
    recipe.do('Prepare the images', *command)
    for stage in SYSTEMS.values():
        if STAGES[stage].start != 'data' and stage != JOINT:  # which goes on from the maps of the front end
            for split in ('train', 'val', 'test'):
                store_maps(recipe, folders, stage, split)
        recipe.do(f'Train: {stage}', 'tools/train.py', stage, '--val-every', VAL_EVERY[stage])
    for stage in SYSTEMS.values():
        test(recipe, folders, stage, folders.out / stage)


def report(out: Path, done: list[Done]) -> Report:
    """The page: scores, pictures and curves of what was run."""
    return Report(
        title="The paper's Table 5 on CamVid, in a night of a CPU",
        notes=NOTES,
        dataset=dataset('camvid'),
        records=load_split(DATA / 'camvid', 'test'),
        systems=[System(name, out / stage) for name, stage in SYSTEMS.items()],
        curves=[read_curve(name, RUNS / stage) for name, stage in SYSTEMS.items()],
        done=done,
        paper=PAPER,
    )


def main(argv: list[str] | None = None) -> None:
    args = parse_camvid_args(argv, __doc__, 'camvid-night')
    folders = Folders(DATA / 'camvid', args.out.resolve())
    recipe = camvid_recipe(folders.out / 'steps.json')
    follow(recipe, args.data.resolve(), folders)
    publish(report(folders.out, recipe.done), folders.out)


if __name__ == '__main__':
    run_command(main)
