"""Translates a deploy net of Caffe into an ONNX model, for another engine.

All sizes are constants: OpenCV and other engines do not read computed sizes.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tools.netinfo.setup import layers_of

Pads = tuple[int, int, int, int]  # top, left, bottom, right
OPSET, IR_VERSION = 18, 8


class OnnxGraph:
    """Builds an ONNX model: `add` appends an operation and returns the name of its output."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def add(self, operation: str, *inputs, **attributes) -> str:
        """Append an operation. `inputs` are names of outputs, or arrays, which become constants."""
        output = f'{operation}{len(self.nodes)}'
        names = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        self.nodes.append(helper.make_node(operation, names, [output], **attributes))
        return output

    def _constant(self, values) -> str:
        name = f'constant{len(self.constants)}'
        self.constants.append(numpy_helper.from_array(np.asarray(values, order='C'), name))
        return name

    def model(self, input_shape: Sequence[int], output_shape: Sequence[int] | None = None) -> onnx.ModelProto:
        """The model from `data`, float32, to the last output, renamed `prob`."""
        self.nodes[-1].output[0] = 'prob'
        data = helper.make_tensor_value_info('data', onnx.TensorProto.FLOAT, input_shape)
        prob = helper.make_tensor_value_info('prob', onnx.TensorProto.FLOAT, output_shape)
        graph = helper.make_graph(self.nodes, 'net', [data], [prob], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid('', OPSET)], ir_version=IR_VERSION)


def onnx_model(net, weights: Mapping[str, Sequence[np.ndarray]]) -> onnx.ModelProto:
    """The ONNX model of a NetParameter from `data` to its last blob; `weights` are blobs by layer.

    `net` begins with an Input layer. Dropout is left out. Raises KeyError for a layer type that is not translated.
    """
    graph = OnnxGraph()
    append_net(graph, net, weights, 'data')
    return graph.model(net.layer[0].input_param.shape[0].dim)


def append_net(graph: OnnxGraph, net, weights: Mapping[str, Sequence[np.ndarray]], data: str) -> str:
    """Append the layers of `net` after its blob `data` to a graph; returns the name of the last output."""
    layers = layers_of(net, 'test')
    sizes_hw = {top: shape[2:] for layer in layers for top, shape in zip(layer.tops, layer.shapes, strict=True)}
    outputs = {net.layer[0].top[0]: data}
    for layer in net.layer[1:]:
        bottoms = [outputs[name] for name in layer.bottom]
        blobs = [np.asarray(blob, np.float32) for blob in weights.get(layer.name, [])]
        around = [sizes_hw[name] for name in layer.bottom]
        outputs[layer.top[0]] = OPERATIONS[layer.type](graph, layer, around, *bottoms, *blobs)
    return outputs[net.layer[-1].top[0]]


def append_reflection(graph: OnnxGraph, blob: str, size_hw: Sequence[int], pads: Pads) -> str:
    """Append reflection padding without the edge pixel to a blob (N, C, *size_hw); returns the name of its output.

    A pad may exceed the size, as in OpenCV's BORDER_REFLECT_101. ONNX's Pad must be smaller than the side, so several Pads may
    be needed. Raises ValueError for a side of one pixel, which has nothing to reflect.
    """
    if min(size_hw) < 2 and any(pads):
        raise ValueError(f'{size_hw[0]}x{size_hw[1]} has a side of one pixel, and cannot be reflected')
    height, width = size_hw
    while any(pads):
        top, left, bottom, right = (min(pad, side - 1) for pad, side in zip(pads, (height, width) * 2, strict=True))
        blob = graph.add('Pad', blob, np.array([0, 0, top, left, 0, 0, bottom, right]), mode='reflect')
        height, width = height + top + bottom, width + left + right
        pads = (pads[0] - top, pads[1] - left, pads[2] - bottom, pads[3] - right)
    return blob


def append_cut(graph: OnnxGraph, blob: str, corner: Sequence[int], size_hw: Sequence[int]) -> str:
    """Append a crop of `size_hw` from row and column `corner` of a blob (N, C, H, W); returns the name of its output."""
    ends = np.array(corner) + np.array(size_hw)
    return graph.add('Slice', blob, np.array(corner), ends, np.array([2, 3]))


# What each type of layer becomes; `sizes_hw` are those of its bottoms


def _convolution(graph, layer, sizes_hw, bottom, weight, *bias):
    param = layer.convolution_param
    window = {'strides': list(param.stride) * 2 or [1, 1], 'dilations': list(param.dilation) * 2 or [1, 1]}
    window |= {'kernel_shape': weight.shape[2:], 'pads': list(param.pad) * 4 or [0] * 4, 'group': param.group}
    return graph.add('Conv', bottom, weight, *map(np.ravel, bias), **window)


def _deconvolution(graph, layer, sizes_hw, bottom, weight, *bias):
    param = layer.convolution_param
    window = {'kernel_shape': weight.shape[2:], 'strides': list(param.stride) * 2, 'pads': list(param.pad) * 4 or [0] * 4}
    return graph.add('ConvTranspose', bottom, weight, *map(np.ravel, bias), **window, group=param.group)


def _pooling(graph, layer, sizes_hw, bottom):
    """Append a pooling. Caffe averages over the zeros of the padding too; a Pad makes every engine do so."""
    param = layer.pooling_param
    window = {'kernel_shape': [param.kernel_size] * 2, 'strides': [param.stride] * 2, 'ceil_mode': 1}
    if param.pool != param.AVE:
        return graph.add('MaxPool', bottom, pads=[param.pad] * 4, **window)
    if param.pad:
        bottom = graph.add('Pad', bottom, np.array([0, 0, param.pad, param.pad] * 2))
    return graph.add('AveragePool', bottom, **window)


def _crop(graph, layer, sizes_hw, bottom, _like):
    (offset,) = layer.crop_param.offset
    return append_cut(graph, bottom, (offset, offset), sizes_hw[1])


def _power(graph, layer, sizes_hw, bottom):
    param = layer.power_param
    for operation, value, neutral in (('Mul', param.scale, 1), ('Add', param.shift, 0), ('Pow', param.power, 1)):
        if value != neutral:
            bottom = graph.add(operation, bottom, np.float32(value))
    return bottom


def _reflect_pad(graph, layer, sizes_hw, bottom):
    pad = int(layer.python_param.param_str)
    return append_reflection(graph, bottom, sizes_hw[0], (pad, pad, pad, pad))


OPERATIONS: dict[str, Callable[..., str]] = {
    'Convolution': _convolution,
    'Crop': _crop,
    'Deconvolution': _deconvolution,
    'Dropout': lambda graph, layer, sizes_hw, bottom: bottom,
    'Eltwise': lambda graph, layer, sizes_hw, *bottoms: graph.add('Sum', *bottoms),
    'Pooling': _pooling,
    'Power': _power,
    'Python': _reflect_pad,
    'ReLU': lambda graph, layer, sizes_hw, bottom: graph.add('Relu', bottom),
    'Softmax': lambda graph, layer, sizes_hw, bottom: graph.add('Softmax', bottom, axis=1),
}
