#!/usr/bin/env python3
"""Table 3 in miniature, on a CPU: front end, + Basic and + Large on CamVid, each plain, with a dense CRF, and with CRF-RNN.

First all of tools/camvid_cpu.py, where it was not run yet. Then the maps of every tenth validation image; for each of the three
a grid search of the CRF's parameters on these, and the test images with the best; CRF-RNN trained on the stored scores and the
images; nine rows, all on the 233 test images, in OUT/structured/report.html. Run again after a stop, it goes on.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

from collections.abc import Iterator

from dataset_prep.datasets import dataset
from dataset_prep.records import load_split, save_split
from tools import camvid_cpu
from tools.camvid_cpu import BASIC, FRONT, LARGE
from tools.camvid_recipe import Folders, store_maps, test
from tools.recipe import Done, Recipe
from tools.report.content import System, read_curve
from tools.report.page import Report, publish
from tools.support.errors import run_command
from tools.support.paths import RUNS

PLAIN = {'Front end': FRONT, 'Front + Basic': BASIC, 'Front + Large': LARGE}
SEARCH_SPLIT, EVERY, ROUNDS = 'val_tenth', 10, 2  # of the grid search: its list of images, which of val they are, grids
NOTES = (
    camvid_cpu.SETTING,
    'The dense CRF has the parameters that a grid search on every tenth validation image found best, for each of the three by '
    'itself. CRF-RNN starts from the plain weights and is trained, with the context module below it, for one pass over the '
    'training images.',
)


def crf_rnn_of(stage: str) -> str:
    """The stage that adds CRF-RNN to the network of another."""
    return f'{stage}-crfrnn'


def follow(recipe: Recipe, source: Path, folders: Folders) -> None:
    """The steps after those of tools/camvid_cpu.py."""
    save_split(folders.data, SEARCH_SPLIT, load_split(folders.data, 'val')[::EVERY])
    store_maps(recipe, folders, FRONT, SEARCH_SPLIT)
    store_maps(recipe, folders, BASIC, SEARCH_SPLIT)
    for stage in PLAIN.values():
        _with_crf(recipe, folders, stage)
    command = '-m', 'dataset_prep.camvid', '--data', source, '--out', folders.data, '--whole'
    recipe.do('Store the images as they are, for CRF-RNN', *command)
    for stage in map(crf_rnn_of, PLAIN.values()):
        recipe.do(f'Train CRF-RNN: {stage}', 'tools/train.py', stage)
        test(recipe, folders, stage, folders.out / stage)


def _with_crf(recipe: Recipe, folders: Folders, stage: str) -> None:
    """Search the CRF's parameters on validation images, then refine the test images with the best."""
    scores, found = folders.out / 'scores' / stage, folders.out / 'crf' / stage
    plain, keep = folders.out / SEARCH_SPLIT / stage, ('--save-scores', scores)
    test(recipe, folders, stage, plain, *keep, split=SEARCH_SPLIT, title='Scores to search on')
    recipe.do(
        f'Grid search of the CRF: {stage}',
        'tools/crf_search.py', '--scores', scores, '--data', folders.data, '--split', SEARCH_SPLIT, '--rounds', ROUNDS,
        '--out', found,
    )  # fmt: skip
    test(recipe, folders, stage, folders.out / f'{stage}-crf', '--crf', found / 'crf.json', title='Test with the CRF')


def systems(out: Path) -> Iterator[System]:
    """The nine rows."""
    for name, stage in PLAIN.items():
        yield System(name, out / stage)
        yield System(f'{name} + CRF', out / f'{stage}-crf')
        yield System(f'{name} + RNN', out / crf_rnn_of(stage))


def report(out: Path, data: Path, done: list[Done]) -> Report:
    """The page: scores, pictures and curves of what was run."""
    return Report(
        title="CamVid on a CPU: the paper's Table 3 in miniature",
        notes=NOTES,
        dataset=dataset('camvid'),
        records=load_split(data, 'test'),
        systems=list(systems(out)),
        curves=[read_curve(f'{name} + RNN', RUNS / crf_rnn_of(stage)) for name, stage in PLAIN.items()],
        done=done,
    )


def main(argv: list[str] | None = None) -> None:
    source, folders, recipe = camvid_cpu.begin(argv, __doc__, 'camvid-cpu-structured')
    camvid_cpu.follow(recipe, source, folders)
    follow(recipe, source, folders)
    publish(report(folders.out, folders.data, recipe.done), folders.out / 'structured')


if __name__ == '__main__':
    run_command(main)
