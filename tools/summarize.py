#!/usr/bin/env python3
"""Print a network: layers, output shapes, parameters, multiply-adds, receptive fields, memory.

NET is a network of the table or any prototxt; --stage prints the net of a training stage. Caffe sets the net up; with --time it
also runs it, with random weights. `sees` is the receptive field of an output cell and `step` the distance to the next cell, in
pixels of the input (for a stage on stored maps, in cells of the maps).
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

import argparse
from typing import Any

from pretrained.caffemodel import read_net
from prototxt import networks
from prototxt.experiments import NETS, STAGES
from prototxt.lmdb_names import lmdb_of
from prototxt.names import resolve
from tools.netinfo.fit import gb
from tools.netinfo.memory_estimate import estimate
from tools.netinfo.net_table import memory_lines, table, time_line
from tools.netinfo.setup import Layer, layers_of, resize
from tools.netinfo.stages import stage_layers
from tools.netinfo.timing import bound_by_memory, layer_seconds, memory_speed, net_to_time
from tools.support.errors import UserError, run_command
from tools.support.memory_use import available_bytes
from tools.support.paths import DATA


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('net', nargs='?', help='a prototxt, or a network, whose name you can shorten: ' + ', '.join(NETS))
    parser.add_argument('--stage', help='a training stage, as make stages lists them, in place of a network')
    parser.add_argument(
        '--input', type=size, metavar='[CHANNELSx]HxW',
        help="size of the input (default: the net's own); for a stage on images one side, the crop; on stored maps the maps'",
    )  # fmt: skip
    parser.add_argument('--batch', type=int, metavar='N', help="images in a pass of a stage (default: the stage's)")
    parser.add_argument('--phase', choices=('test', 'train'), help='of a prototxt (default: test)')
    parser.add_argument('--gpu', action='store_true', help='memory on a GPU, and beside it on the host')
    parser.add_argument(
        '--time', type=positive, nargs='?', const=3, metavar='PASSES',
        help='seconds of each layer on this CPU, forward and backward: the median of PASSES (default: 3)',
    )  # fmt: skip
    return parser.parse_args(argv)


def positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f'{text} is no number of passes')
    return int(text)


def size(text: str) -> tuple[int, ...]:
    """The numbers in a size such as 900, 900x1100 or 4x628x628."""
    try:
        sides = tuple(int(side) for side in text.split('x'))
    except ValueError:
        sides = ()
    if not 1 <= len(sides) <= 3 or min(sides) < 1:
        raise argparse.ArgumentTypeError(f'{text} is no size; write it as 900x1100, or 4x628x628')
    return sides


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if (args.net is None) == (args.stage is None):
        raise UserError('give a network or a prototxt, or a --stage')
    if args.batch is not None and not args.stage:
        raise UserError(
            '--batch is for a training stage: a network runs one tile at a time, a prototxt states its batch; leave it out'
        )
    if args.phase is not None and (args.stage or not is_file(args.net)):
        raise UserError('--phase is for a prototxt: a network runs as deployed, a stage as trained; leave it out')
    if args.time and args.gpu:
        raise UserError('--time measures this CPU; leave out --gpu (GPUs: make bench-gpu)')
    training = args.stage is not None or args.phase == 'train'
    net, layers = of_stage(args) if args.stage else of_file(args) if is_file(args.net) else of_net(args)
    needed = estimate(layers, training=training, gpu=args.gpu)
    if args.time:
        print_timed(args, net, layers, training=training)
    else:
        print(table(layers))
    print(memory_lines(needed))


def print_timed(args: argparse.Namespace, net, layers: list[Layer], *, training: bool) -> None:
    """Run the net and print its layers with their times. Raises UserError if it would need more memory than is free."""
    needed, free = estimate(layers, training=True).host, available_bytes()
    if needed > free:
        raise UserError(f'both passes take about {gb(needed)}, {gb(free)} are free; give a smaller --input, or leave out --time')
    timed = net_to_time(net, layers)
    if not is_file(args.net or ''):
        timed.force_backward = not training  # memory that training the deploy net would need
    seconds = layer_seconds(timed, 'train' if training else 'test', args.time)
    bytes_per_s = memory_speed()
    print(table(layers, seconds, bound_by_memory(layers, seconds, bytes_per_s)))
    print(time_line(seconds, bytes_per_s))


def is_file(net: str) -> bool:
    return net.endswith('.prototxt') or Path(net).is_file()


def of_net(args: argparse.Namespace) -> tuple[Any, list[Layer]]:
    """The deploy net of a network."""
    name = resolve(args.net, NETS)
    tile = (args.input[-2], args.input[-1]) if args.input and len(args.input) > 1 else (args.input * 2 if args.input else None)
    net = networks.deploy(name, size_hw=tile)
    return net, layers_of(net, 'test', apart=True)


def of_stage(args: argparse.Namespace) -> tuple[Any, list[Layer]]:
    """The net of a training stage, on images or on stored maps, whose size comes from the LMDB if that exists."""
    name = resolve(args.stage, STAGES, 'stage')
    stage = STAGES[name]
    if stage.start == 'data':
        crop = args.input[-1] if args.input else None
        net = networks.training(name, 'images', crop, args.batch)
        return net, stage_layers(name, net, None)
    maps = (args.input[-2], args.input[-1]) if args.input and len(args.input) > 1 else None
    net = networks.training(name, str(DATA / lmdb_of(stage)), None, args.batch)
    return net, stage_layers(name, net, maps)


def of_file(args: argparse.Namespace) -> tuple[Any, list[Layer]]:
    """The net in any prototxt; its first input gets the given size."""
    path, phase = Path(args.net), args.phase or 'test'
    net = read_net(path)
    if args.input and len(args.input) > 1:
        resize(net, args.input)
    source = args.input if args.input and len(args.input) == 3 else None
    return net, layers_of(net, phase, source, apart=True)


if __name__ == '__main__':
    run_command(main)
