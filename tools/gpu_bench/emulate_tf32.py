"""What TF32 does to a network's outputs, on a computer without a GPU: the factors of convolutions rounded as TF32 has them.

.venv/bin/python -m tools.gpu_bench.emulate_tf32 --net NET [--weights FILE...] --images IMAGE...

Before each convolution of Caffe its input and its weights are rounded to 10 bits of mantissa, as CAFFE_TF32=1 has cuBLAS do; sums
stay in float32, as there, in another order. An input that other layers read as well reaches them rounded, which only
DeepLab-MSc and FCN have. Prints how far probabilities and labels move.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tools.inference.networks import network
from tools.inference.predictor import Predictor
from tools.inference.upsampling import argmax
from tools.inference.weights import find_weights, say_weights
from tools.predict import find_images, read_image
from tools.support.errors import run_command

DROPPED_BITS = 13  # of float32's 23 bits of mantissa
PRODUCTS = ('Convolution', 'Deconvolution')


@dataclass(frozen=True)
class Moved:
    """How far an image's outputs moved: probabilities by cell, labels in pixels."""

    most: float
    mean: float
    labels: int
    pixels: int


def to_tf32(values: np.ndarray) -> np.ndarray:
    """float32 `values` rounded to TF32's 10 bits of mantissa, to the nearest, halves away from zero; the shape stays."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    half = np.uint32(1 << (DROPPED_BITS - 1))
    return ((bits + half) & ~np.uint32((1 << DROPPED_BITS) - 1)).view(np.float32)


def round_factors(net) -> None:
    """Round the weights of a caffe.Net's convolutions now, and what they read before each of their forward passes."""
    bottoms = {
        number: [net.blobs[name] for name in net.bottom_names[net._layer_names[number]]]
        for number, layer in enumerate(net.layers)
        if layer.type in PRODUCTS
    }
    for number in bottoms:
        weights = net.layers[number].blobs[0]
        weights.data[...] = to_tf32(weights.data)

    def before(number: int) -> None:
        for blob in bottoms.get(number, ()):
            blob.data[...] = to_tf32(blob.data)

    net.before_forward(before)


def compare(plain: Predictor, rounded: Predictor, image_bgr: np.ndarray) -> Moved:
    """Both networks on an image uint8 (H, W, 3)."""
    probs = [predictor.predict_scores(image_bgr) for predictor in (plain, rounded)]
    first, second = (argmax(prob, image_bgr.shape[:2], plain.zoom) for prob in probs)
    apart = np.abs(probs[0] - probs[1])
    return Moved(float(apart.max()), float(apart.mean()), int((first != second).sum()), first.size)


def line(name: str, moved: Sequence[Moved]) -> str:
    """What is said of one image or of all."""
    labels, pixels = sum(each.labels for each in moved), sum(each.pixels for each in moved)
    mean, most = np.mean([each.mean for each in moved]), max(each.most for each in moved)
    changed = f'{100 * labels / pixels:.3f} % of the labels change'
    return f'{name}: probabilities move by {mean:.1e} on average, {most:.1e} at most; {changed}'


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--net', required=True, help='a network, as for tools/test.py')
    parser.add_argument('--weights', type=Path, nargs='+', metavar='FILE', help='as for tools/test.py')
    parser.add_argument('--images', type=Path, nargs='+', required=True, metavar='IMAGE')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    net, images = network(args.net), find_images(args.images)
    weights = find_weights(net, given=args.weights)
    say_weights(weights)
    plain, rounded = (Predictor(net, weights) for _ in range(2))
    round_factors(rounded.net)
    moved = []
    for path in images:
        moved.append(compare(plain, rounded, read_image(path)))
        print(line(str(path), moved[-1:]), flush=True)
    if len(moved) > 1:
        print(line(f'{len(moved)} images', moved))


if __name__ == '__main__':
    run_command(main)
