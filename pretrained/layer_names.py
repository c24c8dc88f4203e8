"""Groups the arrays of a file into layers with the names of Caffe's networks.

VGG-16's layers are known by Caffe's names (conv1_1), Keras's (block1_conv1, and Keras 3's numbers), torchvision's (features.N,
classifier.N with and without a dropout first), timm's (pre_logits.fcN), and those of a bare Sequential (N). Prefixes such as
`state_dict`, `module.` or `backbone.` are recognised and removed. Every other layer keeps its own name.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from prototxt.experiments import VGG_CONVOLUTIONS
from tools.support.errors import UserError

Way = tuple[str, ...]  # the parts of a name: 'module.features.0' is ('module', 'features', '0')

CONVOLUTION = re.compile(r'conv(\d)_(\d)|block(\d)_conv(\d)')
# A Sequential of VGG-16's convolutions, ReLUs and poolings; 31 and 33 are fc6 and fc7 as convolutions (amdegroot/ssd.pytorch).
_AT = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
SEQUENTIAL = {str(index): name for index, name in zip((*_AT, 31, 33), (*VGG_CONVOLUTIONS, 'fc6', 'fc7'), strict=True)}
# torchvision; up to 0.1.7, as in conversions from Caffe, a dropout came before each dense layer.
CLASSIFIER = {'0': 'fc6', '1': 'fc6', '3': 'fc7', '4': 'fc7', '6': 'fc8'}
OTHERS = {'fc1': 'fc6', 'fc2': 'fc7', 'predictions': 'fc8', 'crfrnn': 'inference1'} | {
    name: name for name in ('fc6', 'fc7', 'fc8')
}
# Keras 3 stores layers by class and order, not by name.
OTHERS |= {f'conv2d{f"_{i}" if i else ""}': name for i, name in enumerate(VGG_CONVOLUTIONS)}
OTHERS |= {'dense': 'fc6', 'dense_1': 'fc7', 'dense_2': 'fc8'}

MEAN_FIELD = ('spatial_ker_weights', 'bilateral_ker_weights', 'compatibility_matrix')  # sadeepj/crfasrnn_keras, in Caffe's order
_WORDS = 'weights?|kernel|filters?|W|w|bias(?:es)?|b'
PART = re.compile(rf'{_WORDS}|beta|gamma|(?:running|moving)_\w+|num_batches_tracked|param_\d+|\d+|{"|".join(MEAN_FIELD)}')
PART_BEHIND = re.compile(rf'(.+)_(?:{_WORDS})(?:_\d+)?')  # conv1_1_W, block1_conv1_W_1
PREFERRED = ('', 'state_dict', 'model')  # the names above the right weights if a file has several copies


def layers(path: Path, arrays: Mapping[str, np.ndarray]) -> dict[str, list]:
    """Layer -> its arrays, weights before the bias, in the order of the file. The state of an optimizer or random generator is
    left out, and so is everything else without floats.

    `arrays` are by names like 'module.features.0.weight' or 'conv1_1/kernel:0', and may be anything with a shape and a dtype.
    Raises UserError for quantized layers of VGG-16, and if the file has several copies of them and none is clearly the right one.
    """
    grouped: dict[Way, dict[str, np.ndarray]] = {}
    for name, array in arrays.items():
        way, part = _way(name)
        if not array.shape or any(word.lower().startswith('optim') for word in way):
            continue
        if array.dtype.kind == 'f':
            grouped.setdefault(way, {})[part] = array
        elif _known(way):
            raise UserError(f'{path}: {name} has numbers of type {array.dtype}; give a file that has them as floats')
    known = {way: found for way in grouped if (found := _known(way))}
    prefix, copies = _prefixes(path, known.values())
    named: dict[str, list] = {}
    for way, parts in grouped.items():
        own_prefix, name = known.get(way, (None, ''))
        if own_prefix != prefix or name in named:
            if any(way[: len(copy)] == copy for copy in copies):
                continue
            name = '.'.join(way[len(prefix) :] if way[: len(prefix)] == prefix else way)
        named[name] = _ordered(parts)
    return named


def _way(name: str) -> tuple[Way, str]:
    """The layer of an array, and which part of the layer it is."""
    words = re.split(r'[/.]', re.sub(r':\d+$', '', name))
    last = words[-1]
    if words[-2:-1] == ['vars']:
        words = words[:-2]
    elif len(words) > 1 and PART.fullmatch(last):
        words = words[:-1]
    elif behind := PART_BEHIND.fullmatch(last):
        words[-1] = behind[1]
    once = [word for word, before in zip(words, [None, *words], strict=False) if word != before]  # Keras: conv1_1/conv1_1/kernel
    return tuple(once), last


def _known(way: Way) -> tuple[Way, str] | None:
    """(prefix, name in Caffe) of a known layer, else None."""
    last, parent = way[-1], way[-2] if len(way) > 1 else ''
    if match := CONVOLUTION.fullmatch(last):
        group, number = (part for part in match.groups() if part)
        return way[: -1 - (parent == f'conv{group}')], f'conv{group}_{number}'  # TF-slim has conv1/conv1_1
    table = CLASSIFIER if parent == 'classifier' else SEQUENTIAL if last.isdecimal() else OTHERS
    own = parent in ('classifier', 'features', 'pre_logits')
    return (way[: -1 - own], table[last]) if last in table else None


def _prefixes(path: Path, known: Iterable[tuple[Way, str]]) -> tuple[Way, list[Way]]:
    """The prefix of the wanted layers, and the prefixes of other copies, such as a running average."""
    counts = Counter(prefix for prefix, name in known if name in VGG_CONVOLUTIONS)
    if not counts:
        return (), []
    most = [prefix for prefix, count in counts.items() if count == max(counts.values())]
    meant = [prefix for prefix in most if ''.join(prefix[:1]) in PREFERRED] if len(most) > 1 else most
    if len(meant) != 1:
        there = ', '.join('.'.join(prefix) or 'no name' for prefix in most)
        raise UserError(f'{path}: holds the same layers several times, under {there}; save one of them alone')
    return meant[0], [prefix for prefix in most if prefix not in meant]


def _ordered(parts: dict[str, np.ndarray]) -> list:
    """Arrays of a layer, those with several dimensions first; for a mean field in Caffe's order and shape."""
    if set(parts) == set(MEAN_FIELD):
        return [np.asarray(parts[part])[None, None] for part in MEAN_FIELD]
    return sorted(parts.values(), key=lambda array: len(array.shape) < 2)
