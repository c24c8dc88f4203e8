"""For each type of layer: what it makes of its inputs' shapes, and what it keeps for itself. Nothing is allocated.

Sources: src/caffe/layers/*_layer.cpp of BVLC Caffe (LayerSetUp and Reshape of each type).
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import ceil, floor, prod
from typing import NamedTuple

from prototxt.experiments import CrfRnn

Shape = tuple[int, ...]
COLUMN_BYTES = 1 << 28  # of im2col columns that a forward pass makes at a time; caffe_build/patches/convolution-in-parts.patch
COLUMN_PART = COLUMN_BYTES // 4  # values


class Unknown(ValueError):
    """A type of layer, or a source of data, whose shapes are not known without Caffe."""


class Reach(NamedTuple):
    """How a layer's output looks at its input along height and width: cells that one output sees, and input cells per step."""

    extent: tuple[float, float]
    stride: tuple[float, float]


POINT = Reach((1, 1), (1, 1))


@dataclass(frozen=True)
class Made:
    """What a layer is, given its inputs' shapes. Counts are of values of four bytes."""

    tops: list[Shape]
    params: tuple[Shape, ...] = ()
    multiply_adds: int = 0
    column: int = 0  # the im2col buffer, of one image
    column_in_parts: int = 0  # what a forward pass on a CPU touches of it
    column_row: int = 0  # of it, a row of the output, where a GPU can go through it in bands of rows
    kept: int = 0  # beside its tops, in every phase
    kept_training: int = 0  # the same, in training only
    kept_host: int = 0  # in every phase, in the host's memory even where the blobs are a GPU's
    kept_gpu: int = 0  # of a GPU alone, in every phase
    passing: int = 0  # during its forward pass only
    passing_training: int = 0  # in training in place of that: from its forward pass to the end of its backward pass
    imports: tuple[str, ...] = ()  # what a layer in Python brings into the process
    reach: Reach = POINT
    shares_input: bool = False  # its tops are its bottom's memory under another name


def make(layer, bottoms: list[Shape]) -> Made:
    """What `layer` (a LayerParameter) makes of `bottoms`.

    Raises Unknown for a type that is not listed here, ValueError for inputs that do not fit.
    """
    rule = RULES.get(layer.type)
    if rule is None:
        raise Unknown(f'layer {layer.name} is of type {layer.type}, whose shapes are not known without Caffe')
    return rule(layer, bottoms)


# Sources of data


def _input(layer, _bottoms) -> Made:
    return Made(_repeated([_dims(shape) for shape in layer.input_param.shape], len(layer.top)))


def _dummy_data(layer, _bottoms) -> Made:
    param = layer.dummy_data_param
    shapes = [_dims(shape) for shape in param.shape] or list(
        zip(param.num, param.channels, param.height, param.width, strict=True)
    )
    return Made(_repeated(shapes, len(layer.top)))


def _memory_data(layer, _bottoms) -> Made:
    param = layer.memory_data_param
    return Made([(param.batch_size, param.channels, param.height, param.width), (param.batch_size,)], shares_input=True)


def data(layer, channels: int, size_hw: tuple[int, int]) -> Made:
    """A Data layer whose records have `channels`, cropped or else of `size_hw`. Its output is one of those read ahead.

    Records that are not cropped are stored maps, of four bytes a value: the thread that reads holds one as bytes and as a Datum.
    """
    crop, batch = layer.transform_param.crop_size, layer.data_param.batch_size
    top = (batch, channels, *((crop, crop) if crop else size_hw))
    record = 0 if crop else prod(top[1:])
    return Made([top, (batch,)][: len(layer.top)], kept=(layer.data_param.prefetch - 1) * prod(top), kept_host=2 * record)


def _repeated(shapes: list[Shape], count: int) -> list[Shape]:
    return shapes * count if len(shapes) == 1 else shapes


def _dims(shape) -> Shape:
    return tuple(shape.dim)


# Sliding windows


def _convolution(layer, bottoms: list[Shape]) -> Made:
    """Unpadded sizes round down. The bias goes in by a product with a row of ones, which is kept."""
    param, (num, channels, *size) = layer.convolution_param, _four(layer, bottoms[0])
    kernel, stride, pad, dilation = _window(param)
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    out = [(side + 2 * p - e) // s + 1 for side, p, e, s in zip(size, pad, extent, stride, strict=True)]
    _check(layer, out, size)
    weight = (param.num_output, channels // param.group, *kernel)
    plain = kernel == stride == (1, 1) and pad == (0, 0)
    column = 0 if plain else channels * prod(kernel) * prod(out)
    return Made(
        [(num, param.num_output, *out)] * len(bottoms),
        params=(weight, (param.num_output,)) if param.bias_term else (weight,),
        multiply_adds=len(bottoms) * num * prod(out) * prod(weight),
        column=column,
        column_in_parts=min(column, COLUMN_PART),
        column_row=column // out[0] if stride == (1, 1) else 0,
        kept=prod(out) if param.bias_term else 0,
        reach=Reach((extent[0], extent[1]), stride),
    )


def _deconvolution(layer, bottoms: list[Shape]) -> Made:
    """A convolution backwards: its weights have the input's channels first, its columns the input's size."""
    param, (num, channels, *size) = layer.convolution_param, _four(layer, bottoms[0])
    kernel, stride, pad, dilation = _window(param)
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    out = [s * (side - 1) + e - 2 * p for side, p, e, s in zip(size, pad, extent, stride, strict=True)]
    _check(layer, out, size)
    weight = (channels, param.num_output // param.group, *kernel)
    plain = kernel == stride == (1, 1) and pad == (0, 0)
    column = 0 if plain else param.num_output * prod(kernel) * prod(size)
    return Made(
        [(num, param.num_output, *out)] * len(bottoms),
        params=(weight, (param.num_output,)) if param.bias_term else (weight,),
        multiply_adds=len(bottoms) * num * prod(size) * prod(weight),
        column=column,
        column_in_parts=column,
        kept=prod(out) if param.bias_term else 0,
        reach=Reach((ceil(extent[0] / stride[0]), ceil(extent[1] / stride[1])), (1 / stride[0], 1 / stride[1])),
    )


def _im2col(layer, bottoms: list[Shape]) -> Made:
    """The values under each position of a window, as channels."""
    (num, channels, *size), (kernel, stride, pad, dilation) = _four(layer, bottoms[0]), _window(layer.convolution_param)
    extent = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    out = [(side + 2 * p - e) // s + 1 for side, p, e, s in zip(size, pad, extent, stride, strict=True)]
    _check(layer, out, size)
    return Made([(num, channels * prod(kernel), *out)], reach=Reach((extent[0], extent[1]), stride))


def _python(layer, bottoms: list[Shape]) -> Made:
    """Only our own Python layers are known (prototxt.reflect_pad, tools.crf_rnn.layers)."""
    param, (num, channels, *size) = layer.python_param, _four(layer, bottoms[0])
    match param.module, param.layer:
        case 'prototxt.reflect_pad', 'ReflectPad':
            pad = int(param.param_str)
            return Made([(num, channels, *(side + 2 * pad for side in size))], imports=('numpy',))
        case 'tools.crf_rnn.layers', 'BilinearZoom':
            out = bottoms[1][2:] if len(bottoms) > 1 else [8 * side for side in size]
            return Made([(num, channels, *out)], imports=('numpy', 'numba'))
        case 'tools.crf_rnn.layers', 'MultiStageMeanfield':
            return _mean_field(param.param_str, bottoms[0])
    raise Unknown(f'layer {layer.name} is a program in Python, whose shapes are not known without Caffe')


def _mean_field(param_str: str, unary: Shape) -> Made:
    """CRF-RNN (tools.crf_rnn.layers): the arrays of its iterations, each as large as the unary of an image.

    Forward five at once: the unary by pixels, the logits, and the softmax and both filters' results of an iteration; of a batch
    the logits of the image before, too. In training these three are kept of each iteration, and a backward pass has six more:
    the gradient as it comes, by the unary and by the logits, and three of scratch. The spatial lattice stays, the bilateral one
    is made anew for each image.
    """
    num, channels, *size = unary
    pixels, iterations = prod(size), (asdict(CrfRnn()) | json.loads(param_str or '{}'))['iterations_train']
    maps, bilateral = pixels * channels, _lattice(pixels, 5)
    return Made(
        [unary],
        params=((1, 1, channels, channels),) * 3,
        kept_host=_lattice(pixels, 2),
        passing=(5 + (num > 1)) * maps + bilateral,
        passing_training=num * (3 * iterations * maps + bilateral) + 6 * maps,
        imports=('numpy', 'numba'),
    )


def _lattice(points: int, dimensions: int) -> int:
    """A permutohedral lattice (tools.crf_rnn.lattice) without its vertices, whose number only the image tells.

    Of each point the weight, the number and the place of each corner of its simplex; its scale, and the norm of its kernel.
    """
    return points * (3 * (dimensions + 1) + 2)


def _pooling(layer, bottoms: list[Shape]) -> Made:
    """Sizes round up unless told otherwise; a maximum remembers where it was."""
    param, (num, channels, *size) = layer.pooling_param, _four(layer, bottoms[0])
    kernel, stride, pad = _pooling_window(param, size)
    rounded = floor if param.round_mode == param.FLOOR else ceil
    out = [rounded((side + 2 * p - k) / s) + 1 for side, p, k, s in zip(size, pad, kernel, stride, strict=True)]
    if any(pad):  # the last window begins inside the image
        out = [o - ((o - 1) * s >= side + p) for o, s, side, p in zip(out, stride, size, pad, strict=True)]
    _check(layer, out, size)
    top = (num, channels, *out)
    remembers = param.pool != param.AVE and len(layer.top) == 1
    return Made([top] * len(layer.top), kept=prod(top) if remembers else 0, reach=Reach(kernel, stride))


def _pooling_window(param, size: list[int]):
    if param.global_pooling:
        return (size[0], size[1]), (1, 1), (0, 0)
    kernel = (param.kernel_h, param.kernel_w) if param.HasField('kernel_h') else (param.kernel_size,) * 2
    stride = (param.stride_h, param.stride_w) if param.HasField('stride_h') else (param.stride,) * 2
    return kernel, stride, (param.pad_h, param.pad_w) if param.HasField('pad_h') else (param.pad,) * 2


def _window(param):
    """(kernel, stride, pad, dilation), each (vertical, horizontal), of a ConvolutionParameter."""
    kernel = (param.kernel_h, param.kernel_w) if param.HasField('kernel_h') else _pair(param.kernel_size, 1)
    stride = (param.stride_h, param.stride_w) if param.HasField('stride_h') else _pair(param.stride, 1)
    pad = (param.pad_h, param.pad_w) if param.HasField('pad_h') else _pair(param.pad, 0)
    return kernel, stride, pad, _pair(param.dilation, 1)


def _pair(values, default: int) -> tuple[int, int]:
    values = list(values) or [default]
    return (values[0], values[-1])


def _four(layer, shape: Shape) -> Shape:
    if len(shape) != 4:
        raise ValueError(f'layer {layer.name} takes (images, channels, height, width), its input is {shape}')
    return shape


def _check(layer, out: list[int], size: list[int]) -> None:
    if min(out) < 1:
        raise ValueError(f'layer {layer.name} has nothing left of an input of {size[0]}x{size[1]}; give a larger one')


# Layers with weights that are no windows


def _inner_product(layer, bottoms: list[Shape]) -> Made:
    param, axis = layer.inner_product_param, layer.inner_product_param.axis % len(bottoms[0])
    rows, inputs = prod(bottoms[0][:axis]), prod(bottoms[0][axis:])
    weight = (inputs, param.num_output) if param.transpose else (param.num_output, inputs)
    params = (weight, (param.num_output,)) if param.bias_term else (weight,)
    return Made([(*bottoms[0][:axis], param.num_output)], params=params, multiply_adds=rows * prod(weight), kept=rows)


def _batch_norm(layer, bottoms: list[Shape]) -> Made:
    """Mean, variance and their weight; it keeps the normalized values, and some more as large."""
    channels = (bottoms[0][1],)
    return Made([bottoms[0]], params=(channels, channels, (1,)), kept=2 * prod(bottoms[0]))


def _scale(layer, bottoms: list[Shape]) -> Made:
    param = layer.scale_param
    if len(bottoms) > 1:
        return Made([bottoms[0]])
    shape = _along(bottoms[0], param.axis, param.num_axes)
    return Made([bottoms[0]], params=(shape, shape) if param.bias_term else (shape,), kept_training=prod(bottoms[0]))


def _bias(layer, bottoms: list[Shape]) -> Made:
    param = layer.bias_param
    return Made([bottoms[0]], params=(_along(bottoms[0], param.axis, param.num_axes),) if len(bottoms) == 1 else ())


def _prelu(layer, bottoms: list[Shape]) -> Made:
    shared = layer.prelu_param.channel_shared
    return Made([bottoms[0]], params=((1,) if shared else (bottoms[0][1],),), kept_training=2 * prod(bottoms[0]))


def _along(shape: Shape, axis: int, num_axes: int) -> Shape:
    axis %= len(shape)
    return shape[axis:] if num_axes == -1 else shape[axis : axis + num_axes]


# Layers without weights


def _same(layer, bottoms: list[Shape]) -> Made:
    return Made([bottoms[0]])


def _dropout(layer, bottoms: list[Shape]) -> Made:
    return Made([bottoms[0]], kept_training=prod(bottoms[0]))


def _lrn(layer, bottoms: list[Shape]) -> Made:
    return Made([bottoms[0]], kept=2 * prod(bottoms[0]))


def _softmax(layer, bottoms: list[Shape]) -> Made:
    return Made([bottoms[0]], kept=prod(bottoms[0]) // bottoms[0][layer.softmax_param.axis])


def _softmax_loss(layer, bottoms: list[Shape]) -> Made:
    """The probabilities are kept, and a blob of gradients with them: the softmax within has the layer's loss weight, which
    Layer::SetLossWeights writes into each of them, on the host. On a GPU the same blob is there too: SoftmaxWithLoss notes in
    it which pixels count, and within InfogainLoss the softmax multiplies its output by it."""
    values = prod(bottoms[0])
    axis = layer.infogain_loss_param.axis if layer.type == 'InfogainLoss' else layer.softmax_param.axis
    scale = values // bottoms[0][axis]
    return Made([(), bottoms[0]][: len(layer.top) or 1], kept=values + scale, kept_host=values, kept_gpu=values)


def _loss(layer, bottoms: list[Shape]) -> Made:
    return Made([()], kept=prod(bottoms[0]))


def _accuracy(layer, bottoms: list[Shape]) -> Made:
    return Made([(), (bottoms[0][layer.accuracy_param.axis],)][: len(layer.top)])


def _concat(layer, bottoms: list[Shape]) -> Made:
    param = layer.concat_param
    axis = (param.concat_dim if param.HasField('concat_dim') else param.axis) % len(bottoms[0])
    return Made([_with(bottoms[0], axis, sum(shape[axis] for shape in bottoms))])


def _slice(layer, bottoms: list[Shape]) -> Made:
    param, tops = layer.slice_param, len(layer.top)
    axis = (param.slice_dim if param.HasField('slice_dim') else param.axis) % len(bottoms[0])
    whole = bottoms[0][axis]
    points = list(param.slice_point) or [whole * i // tops for i in range(1, tops)]
    edges = [0, *points, whole]
    return Made([_with(bottoms[0], axis, end - start) for start, end in zip(edges, edges[1:], strict=False)])


def _crop(layer, bottoms: list[Shape]) -> Made:
    axis = layer.crop_param.axis % len(bottoms[0])
    return Made([(*bottoms[0][:axis], *bottoms[1][axis:])])


def _flatten(layer, bottoms: list[Shape]) -> Made:
    shape, param = bottoms[0], layer.flatten_param
    first, last = param.axis % len(shape), param.end_axis % len(shape)
    return Made([(*shape[:first], prod(shape[first : last + 1]), *shape[last + 1 :])], shares_input=True)


def _reshape(layer, bottoms: list[Shape]) -> Made:
    param, shape = layer.reshape_param, bottoms[0]
    first = param.axis if param.axis >= 0 else len(shape) + param.axis + 1
    last = len(shape) if param.num_axes == -1 else first + param.num_axes
    dims = [shape[first + i] if dim == 0 else dim for i, dim in enumerate(param.shape.dim)]
    if -1 in dims:
        known = prod(dim for dim in dims if dim != -1)
        dims[dims.index(-1)] = prod(shape[first:last]) // known
    return Made([(*shape[:first], *dims, *shape[last:])], shares_input=True)


def _split(layer, bottoms: list[Shape]) -> Made:
    return Made([bottoms[0]] * len(layer.top), shares_input=True)


def _silence(layer, bottoms: list[Shape]) -> Made:
    return Made([])


def _with(shape: Shape, axis: int, size: int) -> Shape:
    return (*shape[:axis], size, *shape[axis + 1 :])


RULES: dict[str, Callable[..., Made]] = {
    'Input': _input, 'DummyData': _dummy_data, 'MemoryData': _memory_data,
    'Im2col': _im2col, 'Python': _python, 'Convolution': _convolution, 'Deconvolution': _deconvolution, 'Pooling': _pooling,
    'InnerProduct': _inner_product, 'BatchNorm': _batch_norm, 'Scale': _scale, 'Bias': _bias, 'PReLU': _prelu,
    'ReLU': _same, 'ELU': _same, 'Sigmoid': _same, 'TanH': _same, 'AbsVal': _same, 'BNLL': _same, 'Power': _same,
    'Exp': _same, 'Log': _same, 'Threshold': _same, 'Eltwise': _same, 'Dropout': _dropout, 'LRN': _lrn,
    'Softmax': _softmax, 'SoftmaxWithLoss': _softmax_loss, 'InfogainLoss': _softmax_loss, 'EuclideanLoss': _loss,
    'SigmoidCrossEntropyLoss': _loss,
    'Accuracy': _accuracy, 'Concat': _concat, 'Slice': _slice, 'Crop': _crop, 'Flatten': _flatten, 'Reshape': _reshape,
    'Split': _split, 'Silence': _silence,
}  # fmt: skip
