#!/usr/bin/env python3
"""Refine stored scores by the dense CRF (Kraehenbuehl and Koltun 2011), so that labels follow the edges of the image.

--scores is a folder with <stem>.scores for each image (tools/test.py --save-scores DIR). --out gets <stem>.png, one channel of
class ids. Parameters come from --crf, a file of tools/crf_search.py; options override it. Images that cannot be read or have
no scores are left out and named at the end; the exit status is then 1.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

import argparse
from dataclasses import fields, replace
from functools import partial

from tools.crfs.dense_crf import CrfParameters, load_parameters
from tools.crfs.refining import labels_of, run_on_cores
from tools.inference.input_images import find_images, read_image
from tools.inference.score_maps import score_path
from tools.support.errors import UserError, attempt, end_with_faults, run_command
from tools.support.png import write_png

HELP = {
    'bilateral_weight': 'of the kernel on positions and colours', 'position_std': 'pixels, of that kernel',
    'colour_std': 'grey levels, of that kernel', 'spatial_weight': 'of the kernel on positions alone',
    'spatial_std': 'pixels, of that kernel', 'iterations': 'of mean-field inference',
}  # fmt: skip


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--scores', type=Path, required=True, metavar='DIR', help='folder of score maps')
    parser.add_argument('--images', type=Path, nargs='+', required=True, metavar='IMAGE', help='image files, or folders of them')
    parser.add_argument('--out', type=Path, required=True, metavar='DIR', help='folder for the label maps')
    parser.add_argument('--crf', type=Path, metavar='FILE', help='parameters by tools/crf_search.py')
    parser.add_argument('--jobs', type=int, metavar='N', help='processes (default: one a core)')
    for field in fields(CrfParameters):
        kind = int if field.name == 'iterations' else float
        option = '--' + field.name.replace('_', '-')
        parser.add_argument(option, type=kind, metavar='X', help=f'{HELP[field.name]} (default: {field.default})')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    images = find_images(args.images)
    check(images, args.out)
    parameters = chosen(args)
    refine = partial(attempt, partial(refine_image, args.scores, parameters, args.out))
    faults = list(filter(None, run_on_cores(refine, images, 'dense CRF', args.jobs)))
    print(f'{len(images) - len(faults)} label maps written to {args.out}; {parameters}')
    end_with_faults(faults, len(images), 'images', 'the others are refined')


def chosen(args: argparse.Namespace) -> CrfParameters:
    """The parameters of --crf, or the defaults, with the values of the options."""
    given = {field.name: getattr(args, field.name) for field in fields(CrfParameters) if getattr(args, field.name) is not None}
    return replace(load_parameters(args.crf) if args.crf else CrfParameters(), **given)


def check(images: list[Path], out: Path) -> None:
    """Raise UserError if two images would write one file, or a result would overwrite an image."""
    stems = {image.stem: image for image in images}
    for image in images:
        if stems[image.stem] != image:
            raise UserError(f'{stems[image.stem]} and {image} would both write {image.stem}.png; choose different folders')
        if image.resolve() == (out / f'{image.stem}.png').resolve():
            raise UserError(f'{image} would be overwritten by its result; choose another --out')


def refine_image(scores: Path, parameters: CrfParameters, out: Path, image: Path) -> None:
    """Refine one image to a label map."""
    write_png(out / f'{image.stem}.png', labels_of(score_path(scores, image.stem), read_image(image), parameters))


if __name__ == '__main__':
    run_command(main)
