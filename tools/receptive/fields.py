"""Measures receptive fields in real Caffe: the part of the input on which one element of a layer's output has a gradient.

The number of channels does not change it, so the networks have one channel in the front end and C in the context module. All
weights are equal and positive, so every ReLU passes its input on. Average pooling replaces max pooling, because max pooling gives
its gradient to one cell of its window only.
"""

from dataclasses import dataclass, replace

import numpy as np

from prototxt.context import buffer_width
from prototxt.experiments import BASIC, Context, Net
from prototxt.networks import deploy_row
from prototxt.shapes import RECEPTIVE_FIELD, STRIDE
from tools.support.blas_in_use import warn_of_slow_kernel
from tools.support.caffe_import import net_of

MARGIN_CELLS = 4  # around the largest receptive field, so that a larger one would show


@dataclass(frozen=True)
class Field:
    """The receptive field of one element of a layer's output. `gradient` (h, w) is cut to the part that is not zero."""

    layer: str
    kernel: int
    dilation: int
    gradient: np.ndarray

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the receptive field, in elements of the input."""
        height, width = self.gradient.shape
        return height, width


def dilation_fields(dilations: tuple[int, ...]) -> list[Field]:
    """Receptive fields of three or more 3x3 layers with these dilations, named F1, F2, ... as in paper Figure 1."""
    fields = context_fields(Net('toy', (0, 0), Context(dilations)))[:-1]
    return [replace(field, layer=f'F{number}') for number, field in enumerate(fields, 1)]


def context_fields(row: Net) -> list[Field]:
    """Receptive field of each layer of the context module, in cells of the front end's scores."""
    assert row.context
    side = 2 * buffer_width(row.context) + 1 + 2 * MARGIN_CELLS
    return _fields(row, row.front_end.final, side)


def whole_fields(row: Net) -> list[Field]:
    """Receptive field of each layer of the whole network, in pixels of the image."""
    cells = 2 * buffer_width(row.context) + 1 if row.context else 1
    return _fields(row, 'data', RECEPTIVE_FIELD + STRIDE * (cells - 1 + 2 * MARGIN_CELLS))


def _fields(row: Net, start: str, side: int) -> list[Field]:
    """Receptive fields of all convolutions and poolings after blob `start`, which has `side` x `side` elements."""
    net, layers = _net(row, start, side)
    return [Field(layer.name, *_window(layer), _gradient(net, layer, start)) for layer in layers]


def _net(row: Net, start: str, side: int):
    """A caffe.Net with equal positive weights after a forward pass of ones from `start`, and its convolutions and poolings."""
    narrow = replace(row, front_end=replace(row.front_end, trunk=(1,) * 5, fc=1), upsample=False)
    if row.context:
        narrow = replace(narrow, context=replace(row.context, multiples=BASIC, pad=_zeros(row.context)))
    message = deploy_row(narrow, 'receptive-field', start, (side, side))
    message.force_backward = True
    del message.layer[-1]  # the softmax
    for layer in message.layer:
        if layer.type == 'Pooling':
            layer.pooling_param.pool = layer.pooling_param.AVE
    net = net_of(message)
    warn_of_slow_kernel()
    for weights, bias in net.params.values():
        weights.data[...] = 1 / weights.data[0].size
        bias.data[...] = 0
    net.blobs[start].data[...] = 1
    net.forward()
    return net, [layer for layer in message.layer if layer.type in ('Convolution', 'Pooling')]


def _zeros(context: Context) -> str:
    """Replace reflection by padding with zeros: the gradient of reflection folds back into the map."""
    return 'once' if context.pad == 'reflect' else context.pad


def _gradient(net, layer, start: str) -> np.ndarray:
    """Gradient of the middle element of the layer's first map with respect to `start`, cut to the part that is not zero."""
    top = net.blobs[layer.top[0]]
    top.diff[...] = 0
    height, width = top.data.shape[2:]
    top.diff[0, 0, height // 2, width // 2] = 1
    net.backward(start=layer.name)
    seen = net.blobs[start].diff[0].sum(axis=0, dtype=np.float64)
    rows, columns = (np.flatnonzero(seen.any(axis=axis)) for axis in (1, 0))
    return seen[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _window(layer) -> tuple[int, int]:
    """Kernel size and dilation."""
    if layer.type == 'Pooling':
        return layer.pooling_param.kernel_size, 1
    param = layer.convolution_param
    return param.kernel_size[0], param.dilation[0] if len(param.dilation) else 1
