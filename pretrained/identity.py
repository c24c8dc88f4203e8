"""Writes the start of a context module: identity initialization (paper eq. 4 and 5), as a caffemodel.

.venv/bin/python -m pretrained.identity NET [--out FILE] [--noise-std STD] [--seed N]
"""

import argparse
from pathlib import Path

import numpy as np

from dataset_prep.datasets import dataset
from pretrained import caffemodel
from pretrained.caffemodel import Weights
from prototxt.context import layer_channels, layer_names
from prototxt.experiments import NETS
from prototxt.names import resolve
from tools.support.errors import UserError, run_command
from tools.support.paths import PRETRAINED

# fyu/dilation network.py adds noise of 0.01 to Basic; the paper's eq. 4 has none. That code lacks Large, and eq. 5 says only
# sigma << C / c_{i+1}, which goes down to 1/32: noise of 0.01 would drown the signal. We take 0.01 C / c_{i+1}, because the code
# divides by a `multiplier`, which is 1 in Basic.
NOISE_STD = 0.01
SEED = 1


def identity_weights(net_name: str, noise_std: float = NOISE_STD, seed: int = SEED) -> Weights:
    """Layer name -> [weights (out, in, k, k), bias (out,)] of the context module of a row of the table of networks.

    `noise_std` is for a layer of C maps; a layer of c maps has noise_std C / c. Without noise, the module returns any
    non-negative input unchanged. Raises UserError if the row has no context module.
    """
    row = NETS[net_name]
    if row.context is None:
        rows = ', '.join(name for name, other in NETS.items() if other.context)
        raise UserError(f'{net_name} has no context module; these have: {rows}')
    classes = dataset(row.dataset).num_classes
    outs = layer_channels(row.context, classes)
    kernels = [3] * len(row.context.dilations) + [1]
    random = np.random.default_rng(seed)
    weights = {}
    for name, c_in, c_out, kernel in zip(layer_names(row.context), [classes, *outs[:-1]], outs, kernels, strict=True):
        std = noise_std * classes / c_out
        weights[name] = [identity_kernel(c_in, c_out, kernel, classes, std, random), np.zeros(c_out, np.float32)]
    return weights


def identity_kernel(
    c_in: int, c_out: int, kernel_size: int, num_classes: int, noise_std: float, random: np.random.Generator
) -> np.ndarray:
    """Weights (c_out, c_in, kernel_size, kernel_size), float32, of one layer (paper eq. 5; eq. 4 is the case c_in = c_out = C).

    The centre tap from map a to map b is C / c_out where floor(a C / c_in) = floor(b C / c_out); all else is noise.
    Raises ValueError unless C divides c_in and c_out.
    """
    if c_in % num_classes or c_out % num_classes:
        raise ValueError(f'{num_classes} classes do not divide {c_in} and {c_out} maps')
    weights = random.normal(0, noise_std, (c_out, c_in, kernel_size, kernel_size)).astype(np.float32)
    group_in = np.arange(c_in) * num_classes // c_in
    group_out = np.arange(c_out) * num_classes // c_out
    centre = weights[:, :, kernel_size // 2, kernel_size // 2]
    centre[group_out[:, None] == group_in] = num_classes / c_out
    return weights


def default_path(net_name: str) -> Path:
    """The default output path of the command."""
    return PRETRAINED / f'identity_{net_name}.caffemodel'


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('net', help='a network with a context module, as in prototxt/experiments.py; short names work')
    parser.add_argument('--out', type=Path, help='file to write (default: pretrained/identity_<net>.caffemodel)')
    parser.add_argument('--noise-std', type=float, default=NOISE_STD, help='standard deviation (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=SEED, help='seed of the noise (default: %(default)s)')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    if args.noise_std < 0 or args.seed < 0:
        raise UserError(f'--noise-std {args.noise_std}, --seed {args.seed}: neither can be negative')
    net_name = resolve(args.net, NETS)
    weights = identity_weights(net_name, args.noise_std, args.seed)
    out = args.out or default_path(net_name)
    caffemodel.write(out, weights, f'identity_{net_name}')
    count = sum(blob.size for blobs in weights.values() for blob in blobs)
    print(f'{out}: {len(weights)} layers, {count:,} parameters, noise {args.noise_std}')


if __name__ == '__main__':
    run_command(main)
