"""Makes a start of DeepLab, pretrained/NAME.caffemodel: the authors' file, or a VGG-16 with thinned fc6 and fc7.

.venv/bin/python -m pretrained.thinned NAME [FILE] [--out FILE] [--input KIND] [--drop-fc]

NAME is vgg16_128 (plain DeepLab) or vgg16_20M (LargeFOV). FILE is a VGG-16 of any kind that pretrained.vgg16 reads, or a thinned
one, such as the authors' vgg16_20M for PyTorch. Without FILE the authors' file is fetched; if that fails, the best VGG-16 in
pretrained/ is thinned. A VGG-16 without fc6 and fc7 gives its convolutions.

Known of the authors' files: fc6 is decimated from 7x7 to 4x4 or 3x3 (Chen et al. 2015); vgg16_20M has 1024 instead of 4096
channels in fc6 and fc7, taken from VGG-16's (weiliu89/caffe, issue 258: SSD's start was made the same way). No source says which
taps and channels. Here: every second or third tap, from edge to edge; channels 0, 4, 8, ...; the rest is not scaled.
"""

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from pretrained.caffemodel import Streamed
from pretrained.conversion import FC, Converted, convert
from pretrained.fetch import fetch
from pretrained.values import Layers, Values
from pretrained.vgg16 import default_source, parse_args, save
from prototxt.experiments import FrontEnd
from tools.support.errors import UserError, run_command


class Steps(NamedTuple):
    """The step at which fc6's taps (in rows and columns) and the channels of fc6 and fc7 are kept."""

    taps: int
    channels: int


FC6_TAPS = 7  # of VGG-16's fc6, along a side
STEPS = {'vgg16_128': Steps(2, 1), 'vgg16_20M': Steps(3, 4)}


def start(name: str, source: Path, told: str | None = None, widths: FrontEnd | None = None) -> Converted:
    """DeepLab's start `name` from `source`: unchanged if its fc6 and fc7 are thinned already, else a VGG-16 thinned by thin().

    `told` and errors as in pretrained.conversion.convert; `widths` are VGG-16's.
    """
    steps, widths = STEPS[name], widths or FrontEnd()
    narrow = replace(widths, fc=widths.fc // steps.channels)
    there = convert(source, narrow, told, fc6_kernel=len(range(0, FC6_TAPS, steps.taps)))
    if there.layers.keys() >= set(FC):
        return there
    converted = convert(source, widths, told)
    return converted._replace(layers=thin(converted.layers, steps))


def thin(layers: Layers, steps: Steps) -> Layers:
    """The layers with fc6 and fc7 thinned by `steps`.

    From VGG-16's own, vgg16_128 gets (4096, 512, 4, 4) and (4096, 4096, 1, 1), and vgg16_20M gets (1024, 512, 3, 3) and
    (1024, 1024, 1, 1).
    """
    taps, channels = slice(None, None, steps.taps), slice(None, None, steps.channels)
    kept = {'fc6': (slice(None), taps, taps), 'fc7': (channels,)}  # of an output's weights (inputs, rows, columns)
    thinned: Layers = {
        name: [_outputs(layers[name][0], steps.channels, kept[name]), _outputs(layers[name][1], steps.channels, ())]
        for name in kept
        if name in layers
    }
    return layers | thinned


def _outputs(values: Values, step: int, kept: tuple[slice, ...]) -> np.ndarray:
    """Every `step`-th output of `values` (outputs, ...), with its `kept` weights."""
    found, first = [], 0
    for rows in _whole_outputs(values):
        found.append(rows[(slice(-first % step, None, step), *kept)].copy())
        first += len(rows)
    return np.concatenate(found)


def _whole_outputs(values: Values) -> Iterator[np.ndarray]:
    """The array, or the pieces of a streamed one; each piece holds whole outputs."""
    for piece in values.pieces() if isinstance(values, Streamed) else [values]:
        yield piece.reshape(-1, *values.shape[1:])


def authors_file(name: str) -> bool:
    """Fetch the authors' file; returns whether it is there, with the reason on stderr if not."""
    try:
        print(f'{fetch(name)} is here; to replace it by a thinned VGG-16, give FILE, or FROM=FILE with make')
    except UserError as error:
        print(f'{error}\nA VGG-16 is thinned instead.', file=sys.stderr)
        return False
    return True


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv, __doc__, STEPS)
    if args.source is None and authors_file(args.name):
        return
    source = args.source or default_source()
    save(source, start(args.name, source, args.input), args, args.name)


if __name__ == '__main__':
    run_command(main)
