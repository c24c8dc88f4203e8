"""A deploy net of Caffe as an ONNX model, to run it in another engine."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx
from onnx import helper, numpy_helper


class OnnxGraph:
    """An ONNX model in the making: `add` appends an operation and returns the name of its output."""

    def __init__(self):
        self.nodes, self.constants = [], []

    def add(self, operation: str, *inputs, **attributes) -> str:
        """`inputs` are names of outputs, or arrays, which become constants of the model."""
        output = f'{operation}{len(self.nodes)}'
        names = [value if isinstance(value, str) else self._constant(value) for value in inputs]
        self.nodes.append(helper.make_node(operation, names, [output], **attributes))
        return output

    def _constant(self, values) -> str:
        name = f'constant{len(self.constants)}'
        self.constants.append(numpy_helper.from_array(np.array(values, order='C'), name))
        return name

    def model(self, input_shape: tuple[int, ...]) -> onnx.ModelProto:
        """The model from `data` to the output of the last operation."""
        data = helper.make_tensor_value_info('data', onnx.TensorProto.FLOAT, input_shape)
        last = helper.make_tensor_value_info(self.nodes[-1].output[0], onnx.TensorProto.FLOAT, None)
        graph = helper.make_graph(self.nodes, 'net', [data], [last], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 18)], ir_version=8)


def onnx_model(net, weights: Mapping[str, Sequence[np.ndarray]]) -> onnx.ModelProto:
    """The NetParameter `net`, which begins with an Input layer, from `data` to its last blob; `weights` are blobs by layer.

    Written for inference: Dropout is left out. Raises KeyError for a type of layer that is not translated.
    """
    graph, outputs = OnnxGraph(), {net.layer[0].top[0]: 'data'}
    for layer in net.layer[1:]:
        bottoms = [outputs[name] for name in layer.bottom]
        outputs[layer.top[0]] = OPERATIONS[layer.type](graph, layer, *bottoms, *weights.get(layer.name, []))
    return graph.model(tuple(net.layer[0].input_param.shape[0].dim))


def _convolution(graph, layer, bottom, weight, bias):
    param = layer.convolution_param
    window = {'strides': list(param.stride) * 2 or [1, 1], 'dilations': list(param.dilation) * 2 or [1, 1]}
    return graph.add('Conv', bottom, weight, bias.ravel(), pads=list(param.pad) * 4 or [0] * 4, **window)


def _deconvolution(graph, layer, bottom, weight):
    param = layer.convolution_param
    pads = list(param.pad) * 4 or [0] * 4
    return graph.add('ConvTranspose', bottom, weight, strides=list(param.stride) * 2, pads=pads, group=param.group)


def _pooling(graph, layer, bottom):
    param = layer.pooling_param
    side = {'kernel_shape': [param.kernel_size] * 2, 'strides': [param.stride] * 2, 'pads': [param.pad] * 4, 'ceil_mode': 1}
    return (
        graph.add('AveragePool', bottom, count_include_pad=1, **side)
        if param.pool == param.AVE
        else graph.add('MaxPool', bottom, **side)
    )


def _crop(graph, layer, bottom, like):
    (offset,) = layer.crop_param.offset
    corner, size_hw = np.array([offset, offset]), graph.add('Shape', like, start=2)
    return graph.add('Slice', bottom, corner, graph.add('Add', size_hw, corner), np.array([2, 3]))


def _power(graph, layer, bottom):
    scale, shift, power = (
        np.float32(value) for value in (layer.power_param.scale, layer.power_param.shift, layer.power_param.power)
    )
    return graph.add('Pow', graph.add('Add', graph.add('Mul', bottom, scale), shift), power)


def _reflect_pad(graph, layer, bottom):
    pad = int(layer.python_param.param_str)
    return graph.add('Pad', bottom, np.array([0, 0, pad, pad] * 2), mode='reflect')


OPERATIONS: dict[str, Callable[..., str]] = {
    'Convolution': _convolution,
    'Crop': _crop,
    'Deconvolution': _deconvolution,
    'Dropout': lambda graph, layer, bottom: bottom,
    'Eltwise': lambda graph, layer, *bottoms: graph.add('Sum', *bottoms),
    'Pooling': _pooling,
    'Power': _power,
    'Python': _reflect_pad,
    'ReLU': lambda graph, layer, bottom: graph.add('Relu', bottom),
    'Softmax': lambda graph, layer, bottom: graph.add('Softmax', bottom, axis=1),
}
