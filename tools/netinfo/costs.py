"""The costs of a layer besides outputs and weights: multiply-adds, im2col columns, values that it keeps; and what it sees.

Shapes come from Caffe (setup.py). Sources: src/caffe/layers/*_layer.cpp of BVLC Caffe.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from math import ceil, prod
from typing import Any

from prototxt.experiments import CrfRnn

Shape = tuple[int, ...]
Pair = tuple[float, float]  # along height, along width
COLUMN_BYTES = 1 << 28  # im2col columns of a forward pass at a time; caffe_build/patches/convolution-in-parts.patch
COLUMN_PART = COLUMN_BYTES // 4  # values
POINT: tuple[Pair, Pair] = (1, 1), (1, 1)


@dataclass(frozen=True)
class Costs:
    """Numbers count values of four bytes. A layer type without a row in COSTS costs only its outputs."""

    multiply_adds: int = 0
    column: int = 0  # the im2col buffer, of one image
    column_in_parts: int = 0  # the part of that buffer which a forward pass on a CPU uses
    column_row: int = 0  # its values for one row of the output; 0 if a GPU cannot use bands of rows
    copied: tuple[int, int, int] | None = None  # by oneDNN, of a convolution: input and output of one image, and weights
    kept: int = 0  # besides the tops, in every phase
    kept_training: int = 0  # the same, in training only
    kept_host: int = 0  # the same, in the host's memory even if the blobs are on a GPU
    kept_gpu: int = 0  # the same, on a GPU only
    passing: int = 0  # during the forward pass only
    passing_training: int = 0  # replaces `passing` in training: from the forward pass to the end of the backward pass
    imports: tuple[str, ...] = ()  # modules that a Python layer imports
    shares_input: bool = False  # the tops share the memory of the bottom


def costs_of(layer, kind: str, bottoms: Sequence[Shape], tops: Sequence[Shape], params: Sequence[Shape]) -> Costs:
    """The costs of `layer` (a LayerParameter) of type `kind`, given the shapes that Caffe made."""
    rule = COSTS.get(kind)
    return rule(layer, bottoms, tops, params) if rule else Costs()


def reach_of(layer, kind: str, bottoms: Sequence[Shape]) -> tuple[Pair, Pair]:
    """Input cells that one output of a layer sees along height and width, and input cells per step."""
    if kind in ('Convolution', 'Im2col', 'Deconvolution'):
        kernel, stride, _, dilation = _window(layer.convolution_param)
        extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        if kind == 'Deconvolution':
            return (ceil(extent[0] / stride[0]), ceil(extent[1] / stride[1])), (1 / stride[0], 1 / stride[1])
        return (extent[0], extent[1]), stride
    if kind == 'Pooling':
        param = layer.pooling_param
        if param.global_pooling:
            return (bottoms[0][2], bottoms[0][3]), (1, 1)
        kernel = (param.kernel_h, param.kernel_w) if param.HasField('kernel_h') else (param.kernel_size,) * 2
        return kernel, (param.stride_h, param.stride_w) if param.HasField('stride_h') else (param.stride,) * 2
    return POINT


def data_costs(layer, top: Shape) -> Costs:
    """A Data layer. Its output is one of the batches that are read ahead.

    Records without a crop are stored maps of four bytes a value. The reading thread holds one record as bytes and as a Datum.
    """
    record = 0 if layer.transform_param.crop_size else prod(top[1:])
    return Costs(kept=(layer.data_param.prefetch - 1) * prod(top), kept_host=2 * record)


def _convolution(layer, bottoms, tops, params) -> Costs:
    """A convolution. To add the bias it keeps a row of ones."""
    param, out, weight = layer.convolution_param, tops[0][2:], params[0]
    kernel, stride, pad, _ = _window(param)
    plain = kernel == stride == (1, 1) and pad == (0, 0)
    column = 0 if plain else bottoms[0][1] * prod(kernel) * prod(out)
    by_onednn = len(out) == 2 and param.engine == param.DEFAULT
    return Costs(
        multiply_adds=len(bottoms) * bottoms[0][0] * prod(out) * prod(weight),
        column=column,
        column_in_parts=min(column, COLUMN_PART),
        column_row=column // out[0] if stride == (1, 1) else 0,
        copied=(_in_blocks(bottoms[0][1:]), _in_blocks(tops[0][1:]), prod(weight)) if by_onednn else None,
        kept=prod(out) if param.bias_term else 0,
    )


def _in_blocks(image: Shape) -> int:
    """Values of an image in oneDNN's layout: blocks of 16 channels, except for the few of a picture."""
    channels, *size = image
    return (channels if channels <= 4 else 16 * ceil(channels / 16)) * prod(size)


def _deconvolution(layer, bottoms, tops, params) -> Costs:
    """A deconvolution: a convolution backwards, so its columns have the size of the input."""
    param, size, weight = layer.convolution_param, bottoms[0][2:], params[0]
    kernel, stride, pad, _ = _window(param)
    plain = kernel == stride == (1, 1) and pad == (0, 0)
    column = 0 if plain else param.num_output * prod(kernel) * prod(size)
    return Costs(
        multiply_adds=len(bottoms) * bottoms[0][0] * prod(size) * prod(weight),
        column=column,
        column_in_parts=column,
        kept=prod(tops[0][2:]) if param.bias_term else 0,
    )


def _window(param):
    """(kernel, stride, pad, dilation), each (vertical, horizontal), of a ConvolutionParameter."""
    kernel = (param.kernel_h, param.kernel_w) if param.HasField('kernel_h') else _pair(param.kernel_size, 1)
    stride = (param.stride_h, param.stride_w) if param.HasField('stride_h') else _pair(param.stride, 1)
    pad = (param.pad_h, param.pad_w) if param.HasField('pad_h') else _pair(param.pad, 0)
    return kernel, stride, pad, _pair(param.dilation, 1)


def _pair(values, default: int) -> tuple[int, int]:
    values = list(values) or [default]
    return values[0], values[-1]


def _python(layer, bottoms, tops, params) -> Costs:
    """Our own Python layers; what other Python layers hold is unknown."""
    param = layer.python_param
    match param.module, param.layer:
        case 'prototxt.reflect_pad', _:
            return Costs(imports=('numpy',))
        case 'tools.crfs.crf_rnn_layers', 'MultiStageMeanfield':
            return _mean_field(param.param_str, bottoms[0])
        case 'tools.crfs.crf_rnn_layers', _:
            return Costs(imports=('numpy', 'numba'))
    return Costs()


def _mean_field(param_str: str, unary: Shape) -> Costs:
    """CRF-RNN (tools.crfs.crf_rnn_layers): its arrays, each as large as the unary of an image, and its lattices.

    A forward pass holds five arrays: the unary by pixels, the logits, and an iteration's softmax and two filter results. In a
    batch it also holds the logits of the image before. In training each iteration keeps its softmax and filter results, and a
    backward pass holds six more arrays: the incoming gradient, the gradients by unary and by logits, and three of scratch.
    The spatial lattice stays; a bilateral one is made for each image.
    """
    num, channels, *size = unary
    pixels, iterations = prod(size), (asdict(CrfRnn()) | json.loads(param_str or '{}'))['iterations_train']
    maps, bilateral = pixels * channels, _lattice(pixels, 5)
    return Costs(
        kept_host=_lattice(pixels, 2),
        passing=(5 + (num > 1)) * maps + bilateral,
        passing_training=num * (3 * iterations * maps + bilateral) + 6 * maps,
        imports=('numpy', 'numba'),
    )


def _lattice(points: int, dimensions: int) -> int:
    """A permutohedral lattice (tools.crfs.lattice) without its vertices, whose number depends on the image.

    Each point has weight, number and place of each corner of its simplex, its scale, and the norm of its kernel.
    """
    return points * (3 * (dimensions + 1) + 2)


def _pooling(layer, bottoms, tops, params) -> Costs:
    """A pooling. Max pooling keeps the position of each maximum, unless a second top holds it."""
    remembers = layer.pooling_param.pool != layer.pooling_param.AVE and len(tops) == 1
    return Costs(kept=prod(tops[0]) if remembers else 0)


def _inner_product(layer, bottoms, tops, params) -> Costs:
    rows = prod(tops[0]) // layer.inner_product_param.num_output
    return Costs(multiply_adds=rows * prod(params[0]), kept=rows)


def _softmax(layer, bottoms, tops, params) -> Costs:
    return Costs(kept=prod(bottoms[0]) // bottoms[0][layer.softmax_param.axis])


def _softmax_loss(layer, bottoms, tops, params) -> Costs:
    """A softmax loss keeps its probabilities and as many gradients.

    Layer::SetLossWeights writes the loss weight into those gradients, on the host. On a GPU they exist as well: SoftmaxWithLoss
    marks there which pixels count, and in InfogainLoss the inner softmax uses them.
    """
    values = prod(bottoms[0])
    axis = layer.infogain_loss_param.axis if layer.type == 'InfogainLoss' else layer.softmax_param.axis
    scale = values // bottoms[0][axis]
    return Costs(kept=values + scale, kept_host=values, kept_gpu=values)


def _as_input(times: int) -> Callable[..., Costs]:
    """Keeps `times` as many values as its input."""
    return lambda layer, bottoms, tops, params: Costs(kept=times * prod(bottoms[0]))


def _in_training(times: int) -> Callable[..., Costs]:
    """The same, in training only; nothing for a Scale with two inputs."""
    return lambda layer, bottoms, tops, params: Costs(kept_training=times * prod(bottoms[0]) if len(bottoms) == 1 else 0)


def _shares(layer, bottoms, tops, params) -> Costs:
    return Costs(shares_input=True)


COSTS: dict[str, Callable[[Any, Sequence[Shape], Sequence[Shape], Sequence[Shape]], Costs]] = {
    'Convolution': _convolution, 'Deconvolution': _deconvolution, 'Pooling': _pooling, 'Python': _python,
    'InnerProduct': _inner_product, 'Softmax': _softmax, 'SoftmaxWithLoss': _softmax_loss, 'InfogainLoss': _softmax_loss,
    'BatchNorm': _as_input(2), 'LRN': _as_input(2), 'EuclideanLoss': _as_input(1), 'SigmoidCrossEntropyLoss': _as_input(1),
    'Dropout': _in_training(1), 'Scale': _in_training(1), 'PReLU': _in_training(2),
    'MemoryData': _shares, 'Flatten': _shares, 'Reshape': _shares, 'Split': _shares,
}  # fmt: skip
