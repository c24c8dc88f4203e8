#!/usr/bin/env python3
"""Write a network with its weights as an ONNX file, which other programs run without Caffe and without this toolkit.

The file labels pictures of one size as tools/predict.py does; it contains mean subtraction, reflected margin, tiling and
enlargement. Its input is `data`, float32 (1, 3, H, W), BGR, 0 to 255; its output is `prob`, float32 (1, classes, H, W). Its
metadata holds the names and colours of the classes. Before the file is written, onnxruntime and Caffe run it on a photograph:
probabilities may differ by less than 1e-5, or by the rounding of float32 if the scores are very large.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

import argparse

import onnx

from tools.inference import TILINGS
from tools.inference.net_choice import add_net_arguments, network
from tools.inference.onnx_check import by_caffe, by_onnxruntime, compare, import_onnxruntime, picture
from tools.inference.onnx_export import check_exportable, default_size, describe, picture_model
from tools.inference.weights_choice import add_weights_argument, find_weights, say_weights
from tools.support.atomic import whole_file
from tools.support.errors import run_command
from tools.support.hashing import file_sum

LEAST_SIDE = 2  # pixels; one has nothing to reflect


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_net_arguments(parser)
    add_weights_argument(parser)
    parser.add_argument('--out', required=True, type=Path, metavar='FILE', help='the file to write, model.onnx')
    parser.add_argument(
        '--size', type=size, metavar='HxW', help='size of the pictures (default: the largest that runs in one piece)'
    )
    parser.add_argument('--tiling', choices=TILINGS, default='reference', help='size of the tiles (default: %(default)s)')
    parser.add_argument('--image', type=Path, metavar='FILE', help='check on this picture (default: one of scikit-image)')
    return parser.parse_args(argv)


def size(text: str) -> tuple[int, int]:
    """Height and width in a text such as 360x480."""
    sides = text.split('x')
    if len(sides) != 2 or not all(side.isdecimal() and int(side) >= LEAST_SIDE for side in sides):
        raise argparse.ArgumentTypeError(f'{text} is no size; write height x width in pixels, as 360x480')
    return int(sides[0]), int(sides[1])


def main(argv: list[str] | None) -> None:
    args = parse_args(argv)
    net_name = network(args.net, args.dataset)
    check_exportable(net_name)
    import_onnxruntime()
    size_hw = args.size or default_size(net_name)
    image = picture(args.image, size_hw)
    weights = find_weights(net_name, 'data', args.weights)
    say_weights(weights)
    expected, blobs, largest_score = by_caffe(net_name, weights, args.tiling, image)
    model = picture_model(net_name, blobs, size_hw, args.tiling)
    describe(model, net_name, [f'{path.name}, sha256 {file_sum(path)}' for path in weights])
    shown = ' '.join(f'{value.name} {shape_of(value)}' for value in (*model.graph.input, *model.graph.output))
    with whole_file(args.out) as temporary:
        onnx.save(model, temporary)
        del model, blobs
        compared = compare(by_onnxruntime(temporary, image), expected, largest_score)
    print(f'{args.out}: {shown}')
    print(f'checked against Caffe: {compared}')


def shape_of(value: onnx.ValueInfoProto) -> str:
    """The shape of a model's input or output as (1, 3, 360, 480)."""
    return str(tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim))


if __name__ == '__main__':
    run_command(main)
