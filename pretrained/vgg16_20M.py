"""The start of DeepLab-LargeFOV, pretrained/vgg16_20M.caffemodel: its authors' file, or else a VGG-16 with a thinned fc6 and fc7.

.venv/bin/python -m pretrained.vgg16_20M [FILE] [--out FILE] [--input KIND] [--drop-fc]

FILE is a VGG-16 of any kind that pretrained.vgg16 reads. Without FILE the authors' file is fetched; if that cannot be had, the
best VGG-16 in pretrained/ is thinned. One without fc6 and fc7 gives its convolutions.

Known of the authors' file: fc6 is decimated from 7x7 to 3x3 (Chen et al. 2015), and both have 1024 instead of 4096 channels,
taken from VGG-16's (weiliu89/caffe, issue 258: SSD's start was made the same way). Which taps and channels was found nowhere.
Here: taps 0, 3 and 6, the three at even distances that reach from edge to edge; channels 0, 4, 8, ...; the rest is not scaled.
"""

import sys
from collections.abc import Iterator

import numpy as np

from pretrained.caffemodel import Streamed
from pretrained.fetch import fetch
from pretrained.values import Layers, Values
from pretrained.vgg16 import convert, default_source, parse_args, save
from prototxt.experiments import FrontEnd
from tools.support.errors import UserError, run_command

NAME = 'vgg16_20M'
CHANNELS, TAPS = slice(None, None, 4), slice(None, None, 3)
EVERYTHING = slice(None)
KEPT = {'fc6': (EVERYTHING, TAPS, TAPS), 'fc7': (CHANNELS,)}  # of an output's weights (inputs, rows, columns)


def thin(layers: Layers) -> Layers:
    """The same layers, fc6 and fc7 with the outputs CHANNELS of theirs: (1024, 512, 3, 3) and (1024, 1024, 1, 1) of VGG-16's."""
    thinned: Layers = {
        name: [_outputs(layers[name][0], kept), _outputs(layers[name][1], ())] for name, kept in KEPT.items() if name in layers
    }
    return layers | thinned


def _outputs(values: Values, kept: tuple[slice, ...]) -> np.ndarray:
    """Each fourth output of `values` (outputs, ...), and of its weights those `kept`."""
    found, first = [], 0
    for rows in _whole_outputs(values):
        found.append(rows[(slice(-first % CHANNELS.step, None, CHANNELS.step), *kept)].copy())
        first += len(rows)
    return np.concatenate(found)


def _whole_outputs(values: Values) -> Iterator[np.ndarray]:
    """The array; or, of one that is made as it is read, its pieces, each some outputs."""
    for piece in values.pieces() if isinstance(values, Streamed) else [values]:
        yield piece.reshape(-1, *values.shape[1:])


def authors_file() -> bool:
    """Whether their file is here now; why not is said on stderr."""
    try:
        print(f'{fetch(NAME)} is here; FROM=FILE with make, or FILE, thins a VGG-16 in its place')
    except UserError as error:
        print(f'{error}\nA VGG-16 is thinned instead.', file=sys.stderr)
        return False
    return True


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv, __doc__, NAME)
    if args.source is None and authors_file():
        return
    source = args.source or default_source()
    converted = convert(source, FrontEnd(), args.input)
    save(source, converted._replace(layers=thin(converted.layers)), args, NAME)


if __name__ == '__main__':
    run_command(main)
