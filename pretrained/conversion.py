"""Converts a VGG-16 of any form into the front end's layers, from a file that pretrained.formats reads."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pretrained import caffemodel, formats
from pretrained.caffemodel import Streamed
from pretrained.conventions import CONVENTIONS, for_caffe, orientation, recognise
from pretrained.values import Layers, Values, all_finite, scores
from prototxt.experiments import FrontEnd
from prototxt.shapes import FRONT_END
from tools.support.errors import UserError

FC = ('fc6', 'fc7')


class Converted(NamedTuple):
    """Layers for Caffe, and lines about them for the user."""

    layers: Layers
    said: list[str]


def layer_shapes(widths: FrontEnd, fc6_kernel: int = 7) -> dict[str, tuple[int, int, int, int]]:
    """Weight shape (out, in, height, width) of each layer of the front end but the last: conv1_1 ... conv5_3, fc6, fc7."""
    shapes, channels = {}, 3
    for window in FRONT_END:
        if window.stride > 1:
            continue
        out = widths.fc if window.name in FC else widths.trunk[int(window.name[4]) - 1]
        kernel = fc6_kernel if window.name == 'fc6' else window.kernel
        shapes[window.name] = (out, channels, kernel, kernel)
        channels = out
    return shapes


def convert(source: Path, widths: FrontEnd, told: str | None = None, fc6_kernel: int = 7) -> Converted:
    """conv1_1 ... conv5_3, and fc6 and fc7 if the source has them whole, in the front end's shapes, for Caffe's pixels.

    `told`: a row of CONVENTIONS for unknown weights. Raises UserError if a convolution is missing, has another shape or is not
    finite, if the source has layers that no VGG-16 has, and if the expected pixels are unknown.
    """
    found, shapes = formats.read(source), layer_shapes(widths, fc6_kernel)
    held, by_shape = _with_fc_by_shape(found.layers, shapes)
    scoring = _check_is_vgg16(source, held, shapes)
    convolutions = {name: _convolution(source, name, held[name], shapes[name]) for name in shapes if name not in FC}
    convention, said = _convention(source, found, list(convolutions.values()), told)
    weights, bias = convolutions['conv1_1']
    convolutions['conv1_1'] = for_caffe(weights, bias, CONVENTIONS[convention])
    fc, fault = _fully_connected(source, held, {name: shapes[name] for name in FC})
    layers: Layers = {name: list(blobs) for name, blobs in convolutions.items()}
    return Converted(layers | fc, [f'kind: {found.kind}', said, *filter(None, [by_shape, fault, scoring])])


def _with_fc_by_shape(layers: Layers, shapes: Mapping[str, tuple[int, ...]]) -> tuple[Layers, str]:
    """The layers, with fc6 and fc7 renamed if they have other names, and a line about that.

    Their shapes identify them: only one layer is as large as fc6, and only one other as large as fc7.
    """
    named = {}
    for name in FC:
        fitting = [other for other, blobs in layers.items() if other not in shapes and _fits(blobs, shapes[name])]
        if name not in layers and len(fitting) == 1:
            named[fitting[0]] = name
    said = '; '.join(f'{name}: {other}, by its shape' for other, name in named.items())
    return {named.get(name, name): blobs for name, blobs in layers.items()}, said


def _check_is_vgg16(source: Path, layers: Layers, shapes: Collection[str]) -> str:
    """A line about scoring layers of another task, which are left out; '' if there are none.

    Raises UserError for a missing convolution, and for any other layer that a VGG-16 does not have.
    """
    missing = [name for name in shapes if name not in layers and name not in FC]
    more = {name: blobs for name, blobs in layers.items() if name not in shapes}
    scoring = [name for name, blobs in more.items() if scores(blobs)]
    left_over = [name for name in more if name not in scoring]
    if missing or left_over:
        lacking = [f'it has no {", ".join(missing)}'] if missing else []
        vectors = any(all(len(blob.shape) == 1 for blob in more[name]) for name in left_over)
        over = [f'left over: {caffemodel.named(left_over)}{" (batch normalization?)" if vectors else ""}'] if left_over else []
        raise UserError(f'{source}: not a VGG-16; {"; ".join(lacking + over)}; see pretrained/README.md for files that work')
    return f'left out: {caffemodel.named(scoring)}, scores of another task' if scoring else ''


def _convolution(source: Path, name: str, blobs: list[Values], shape: tuple[int, ...]) -> list[np.ndarray]:
    """[weights, bias] of a convolution."""
    if not _fits(blobs, shape) or blobs[0].shape != shape:
        raise UserError(f'{source}: {name} has {_shapes(blobs)}, VGG-16 has {shape} and ({shape[0]},); give a VGG-16')
    if not all(map(all_finite, blobs)):
        raise UserError(f'{source}: {caffemodel.not_finite([name])}; give another')
    return [np.asarray(blobs[0]), np.asarray(blobs[1]).reshape(-1)]


def _convention(source: Path, found: formats.Source, convolutions: list, told: str | None) -> tuple[str, str]:
    """(row of CONVENTIONS, a line about it) for the weights of a source.

    Published weights are recognised by their values, fine-tuned ones by a conv1_1 that is still close to the ImageNet VGG-16's.
    For others the user or the kind of file tells.
    """
    known = recognise(convolutions)
    if known and told and told != known[0]:
        raise UserError(f'{source}: these are the weights of {known[1]}, whose input is {known[0]}; leave out --input {told}')
    way = orientation(np.asarray(convolutions[0][0]))
    near = ('caffe-rgb' if way.rgb else 'caffe') if way else None
    convention = known[0] if known else told or near or found.convention
    if convention is None:
        choices = '; '.join(f'{name}: {row.what}' for name, row in CONVENTIONS.items())
        raise UserError(
            f'{source}: not a known VGG-16, and nothing in a file of {found.kind} says which pixels it expects; '
            f'name them: INPUT= with make, or --input ({choices})'
        )
    whose = f'those of {known[1]}' if known else 'not those of the ImageNet VGG-16'
    expects = 'input BGR' if convention == 'caffe' else f'its input ({CONVENTIONS[convention].what}) made BGR in conv1_1'
    return convention, f'convolutions: {whose}, {expects}'


def _fully_connected(source: Path, layers: Layers, shapes: dict[str, tuple[int, ...]]) -> tuple[Layers, str]:
    """fc6 and fc7 in `shapes` if `layers` has both in VGG-16's shapes, else nothing and the reason.

    Both keep their memory order: rows of (channel, row, column). Raises UserError for values that are not finite.
    """
    absent = [name for name in shapes if name not in layers]
    if absent:
        return {}, 'fc6 and fc7: not in this source'
    for name, shape in shapes.items():
        if not _fits(layers[name], shape):
            return {}, f'fc6 and fc7: left out: {name} has {_shapes(layers[name])}, VGG-16 has {shape}'
        if not all(map(all_finite, layers[name])):
            if _all_nan(layers[name][0]):  # as torchvision publishes IMAGENET1K_FEATURES
                return {}, f'fc6 and fc7: left out: {name} has only NaN'
            raise UserError(f'{source}: {caffemodel.not_finite([name])}; give another')
    return {
        name: [_reshaped(layers[name][0], shape), _reshaped(layers[name][1], shape[:1])] for name, shape in shapes.items()
    }, ''


def _all_nan(values: Values) -> bool:
    return isinstance(values, np.ndarray) and bool(np.isnan(values).all())


def _fits(blobs: list[Values], shape: tuple[int, ...]) -> bool:
    return [blob.size for blob in blobs] == [int(np.prod(shape)), shape[0]]


def _reshaped(values: Values, shape: tuple[int, ...]) -> Values:
    return Streamed(shape, values.pieces) if isinstance(values, Streamed) else values.reshape(shape)


def _shapes(blobs: list[Values]) -> str:
    return ' and '.join(str(blob.shape) for blob in blobs)
