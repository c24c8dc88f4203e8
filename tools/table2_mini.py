#!/usr/bin/env python3
"""The paper's Table 2, and the ablation that its Section 4 argues from, in miniature: an hour and a half of a CPU of two cores.

FCN-8s, DeepLab, DeepLab-Msc, the front end, and the front end with pooling, with padding, with both: all from VGG-16's
convolutions, kept as they are, with what comes after them trained by the same settings for one pass over CamVid's training
images at 320x240; tested on all test images. OUT/report.html sets the scores beside the paper's.
Needs the data set (--data, as for make lmdb-camvid) and pretrained/vgg16.caffemodel (make weights-vgg16).
Run again after a stop, it goes on where it was.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

from collections.abc import Sequence

from dataset_prep.datasets import dataset
from dataset_prep.records import load_split
from prototxt.experiments import NETS, SMALL_WH, STAGES
from prototxt.lmdb_names import lmdb_of
from tools.camvid_recipe import camvid_recipe, parse_camvid_args
from tools.paper_tables import TABLE
from tools.recipe import Recipe
from tools.report.content import Scores, System, read_curve, read_scores
from tools.report.page import Report, publish
from tools.support.errors import run_command
from tools.support.paths import DATA, RUNS
from tools.training.runs import newest_snapshot

SYSTEMS = {  # the first four are called as the paper's Table 2 calls them
    'FCN-8s': 'camvid-small-fcn8s',
    'DeepLab': 'camvid-small-deeplab',
    'DeepLab-Msc': 'camvid-small-deeplab-msc',
    'Our front end': 'camvid-small-front',
    'Front end, pooling': 'camvid-small-front-pooling',
    'Front end, padding': 'camvid-small-front-padding',
    'Front end, pooling and padding': 'camvid-small-front-pooling-padding',
}
PAPER = {row.name: row for row in TABLE[2].rows}
NOTES = (
    "CamVid's training and test images at {}x{}. All networks: the convolutions of VGG-16 trained on ImageNet, frozen; fc6 and "
    'fc7 of 128 channels instead of 4096, from random weights; one image a step, each once, and the same rates, so that only the '
    'networks differ. FCN-8s at once, not in three stages, on the mean over pixels. DeepLab and DeepLab-Msc, the plain ones: all '
    "of the latter's layers together, and without the former's tenfold rate of the scores.".format(*SMALL_WH),
    "The paper's column is its Table 2: VOC 2012 test, whole networks, trained to the end. Only the order can be compared.",
)


def follow(source: Path, out: Path) -> Recipe:
    """All steps, in order."""
    recipe = camvid_recipe(out / 'steps.json')
    first = STAGES[SYSTEMS['Our front end']]
    recipe.do(
        'Prepare the images', '-m', 'dataset_prep.camvid', '--data', source, '--size', '{}x{}'.format(*SMALL_WH),
        '--out', (DATA / lmdb_of(first)).parent, '--crop-size', first.crop_size,
    )  # fmt: skip
    for name, stage in SYSTEMS.items():
        recipe.do(f'Train: {name}', 'tools/train.py', stage)
        recipe.do(
            f'Test: {name}', 'tools/test.py', '--net', STAGES[stage].net, '--weights', newest_snapshot(RUNS / stage),
            '--split', 'test', '--out', out / stage,
        )  # fmt: skip
    return recipe


def orders(scores: Sequence[Scores]) -> str:
    """The four of the paper's table from the lowest to the highest, here and in the paper, as a sentence."""
    here = {row.name: 100 * row.mean_iou for row in scores if row.name in PAPER}
    paper = {name: row.mean_iou for name, row in PAPER.items()}
    said = [' < '.join(f'{name} {means[name]:.1f}' for name in sorted(means, key=means.__getitem__)) for means in (here, paper)]
    return f'Order here: {said[0]}. In the paper: {said[1]}.'


def report(out: Path, recipe: Recipe) -> Report:
    """The page: scores, pictures and curves of what was run."""
    systems = [System(name, out / stage) for name, stage in SYSTEMS.items()]
    return Report(
        title="The paper's Table 2 and the ablation of its Section 4 in miniature, on CamVid",
        notes=(*NOTES, orders([read_scores(system) for system in systems])),
        dataset=dataset('camvid'),
        records=load_split(DATA / NETS[STAGES[SYSTEMS['Our front end']].net].folder, 'test'),
        systems=systems,
        curves=[read_curve(name, RUNS / stage) for name, stage in SYSTEMS.items()],
        done=recipe.done,
        paper=PAPER,
    )


def main(argv: list[str] | None = None) -> None:
    args = parse_camvid_args(argv, __doc__, 'table2-mini')
    out = args.out.resolve()
    publish(report(out, follow(args.data.resolve(), out)), out)


if __name__ == '__main__':
    run_command(main)
