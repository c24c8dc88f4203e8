"""Reorders weights of other frameworks for Caffe: kernels (out, in, height, width), matrices (out, in).

TensorFlow has kernels (height, width, in, out), and matrices (in, out) for maps flattened as (height, width, channels). Theano
and dumps of Caffe's blobs have Caffe's order. The lengths of the biases tell which one it is.
"""

from math import isqrt
from pathlib import Path

from pretrained.values import Layers, Values, outputs_first, rows_of_columns
from prototxt.experiments import VGG_CONVOLUTIONS
from tools.support.errors import UserError


def in_caffes_order(path: Path, layers: dict[str, list], *, inputs_first: bool) -> tuple[Layers, bool]:
    """The layers in Caffe's order, and whether kernels were stored with their channels last.

    `layers`: arrays, or datasets of HDF5, the weights of each layer before its bias. `inputs_first`: whether matrices are
    (in, out) if no bias tells; beside kernels with their channels last, they always are. Raises UserError for kernels in neither
    order.
    """
    pairs = {name: blobs for name, blobs in layers.items() if len(blobs) == 2 and len(blobs[1].shape) == 1}
    channels_last = _channels_last(path, {name: blobs for name, blobs in pairs.items() if len(blobs[0].shape) == 4})
    matrices = [blobs for blobs in pairs.values() if len(blobs[0].shape) == 2]
    told = {blobs[0].shape[1] == blobs[1].shape[0] for blobs in matrices if blobs[0].shape[0] != blobs[0].shape[1]}
    inputs_first = channels_last or (told.pop() if len(told) == 1 else inputs_first)
    last = pairs.get(VGG_CONVOLUTIONS[-1])
    channels = last[1].shape[0] if last and channels_last else 0
    found: Layers = {}
    for name, (weights, *rest) in layers.items():
        if len(weights.shape) == 4 and channels_last and len(rest) < 2:
            weights = outputs_first(weights)
        elif len(weights.shape) == 2 and inputs_first:
            weights = _outputs_first(weights, channels)
        else:
            weights = weights[...]
        found[name] = [weights, *(blob[...] for blob in rest)]
    return found, channels_last


def _channels_last(path: Path, kernels: dict[str, list]) -> bool:
    """Whether the outputs, as many as biases, are the last axis of the kernels and not the first."""
    sizes = [(blobs[0].shape, blobs[1].shape[0]) for blobs in kernels.values()]
    if all(shape[3] == outputs and shape[0] == shape[1] for shape, outputs in sizes):
        return True
    for name, (weights, bias) in kernels.items():
        if weights.shape[0] != bias.shape[0]:
            raise UserError(
                f'{path}: {name} has a kernel of {weights.shape} and {bias.shape[0]} biases, neither (out, in, height, width) '
                'nor, as every kernel of the file, (height, width, in, out); give a file with kernels in one order'
            )
    return False


def _outputs_first(matrix, channels: int) -> Values:
    """A matrix (inputs, outputs) as rows of outputs; its inputs are a square map of `channels`, flattened last, if that fits."""
    inputs = matrix.shape[0]
    side = isqrt(inputs // channels) if channels else 0
    map_hwc = (side, side, channels) if side and side * side * channels == inputs else None
    return rows_of_columns(lambda first, last: matrix[:, first:last], matrix.shape, map_hwc)
