#!/usr/bin/env python3
"""Measure the receptive field of each layer by the gradient through real Caffe, and draw it like the paper's Figure 1.

Fields of the context module, the default if a network has one, are in cells of the front end's scores, as in Table 1. Fields of
the front end and of the whole network are in pixels. --dilations 1 2 4 is Figure 1 itself.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

import argparse
from dataclasses import replace

from prototxt.experiments import NETS
from prototxt.names import resolve
from tools.support.errors import UserError, run_command
from tools.support.paths import ROOT

PARTS = ('context', 'front', 'whole')
LARGEST = 256  # sum of the dilations; the measured map has four times as many elements per side


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument('--net', help='a network; you can shorten its name as long as it stays unique')
    which.add_argument('--dilations', type=int, nargs='+', metavar='N', help='3x3 layers with these dilations, then a 1x1 layer')
    parser.add_argument('--part', choices=PARTS, help='with --net (default: context if it has one, else front)')
    parser.add_argument('--out', type=Path, metavar='PNG', help='default: out/receptive_field/<what>.png')
    return parser.parse_args(argv)


def check_dilations(dilations: list[int]) -> None:
    """Raise UserError if the dilations make no module, or one that is too large to measure."""
    if len(dilations) < 3 or min(dilations) < 1 or sum(dilations) > LARGEST:
        given = ' '.join(map(str, dilations))
        raise UserError(f'--dilations {given}: give at least three, each at least 1, with a sum of at most {LARGEST}')


def asked_part(net_name: str, part: str | None) -> str:
    """The part of the network to measure. Raises UserError if the network does not have it."""
    row, context = NETS[net_name], NETS[net_name].context
    if row.whole or row.front_end.aligned:
        raise UserError(f'{net_name} pads its maps, so a receptive field depends on its position; give a network without padding')
    if part == 'context' and not context:
        raise UserError(f'{net_name} has no context module; leave out --part, or give --part front')
    return part or ('context' if context else 'front')


def measured(args: argparse.Namespace) -> tuple[str, str, list]:
    """Name of the part, unit, and measured receptive fields."""
    from tools.receptive.fields import context_fields, dilation_fields, whole_fields

    if args.dilations:
        check_dilations(args.dilations)
        return f'dilations {" ".join(map(str, args.dilations))}', 'cells', dilation_fields(tuple(args.dilations))
    name = resolve(args.net, NETS)
    row, part = NETS[name], asked_part(name, args.part)
    if part == 'context':
        return f'{name}, context module', 'cells', context_fields(row)
    fields = whole_fields(row if part == 'whole' else replace(row, context=None))
    return f'{name}, {"front end" if part == "front" else "whole"}', 'pixels', fields


def main(argv: list[str] | None = None) -> None:
    """Measure, print a line for each layer, and draw the figure."""
    args = parse_args(argv)
    what, unit, fields = measured(args)
    from tools.receptive.figure import draw

    print(f'{what}: receptive fields measured by gradient, in {unit}')
    for field in fields:
        print('{:<12} kernel {}  dilation {:<3} {}x{}'.format(field.layer, field.kernel, field.dilation, *field.size_hw))
    out = args.out or ROOT / 'out' / 'receptive_field' / f'{what.replace(",", "").replace(" ", "_")}.png'
    out.parent.mkdir(parents=True, exist_ok=True)
    draw(fields, out, f'{what}, in {unit}', unit)
    print(f'drawn: {out}')


if __name__ == '__main__':
    run_command(main)
