"""A narrow VGG-16: its weights under the names of several frameworks, and its fc7 in onnxruntime, NumPy and real Caffe.

The network does not pad, so that another convention of pixels can be folded into conv1_1 exactly.
"""

from collections.abc import Iterable
from math import prod
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from prototxt.experiments import VGG_CONVOLUTIONS, FrontEnd
from tests.engines import run_onnx
from tests.port_files import Layers, by_name, channels_last
from tools.inference.onnx_net import OnnxGraph
from tools.support.caffe_import import import_caffe, net_of

caffe = import_caffe()
NARROW = FrontEnd(trunk=(2, 3, 4, 5, 6), fc=7)
NAMES = [*VGG_CONVOLUTIONS, 'fc6', 'fc7', 'fc8']
LAST_OF_BLOCK = ('conv1_2', 'conv2_2', 'conv3_3', 'conv4_3', 'conv5_3')
SIDE = 404  # leaves 7x7 cells after the last pooling, and no pooling has to round
CLASSES = 10
# torchvision counts ReLU, pooling and dropout, too.
TORCHVISION = [f'features.{i}' for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)] + [f'classifier.{i}' for i in (0, 3, 6)]
# torchvision's documentation of VGG16_Weights.IMAGENET1K_V1
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CAFFE_MEAN_BGR = np.array([103.939, 116.779, 123.68])


def random_layers(widths: FrontEnd = NARROW, names: Iterable[str] = VGG_CONVOLUTIONS) -> Layers:
    """Convolutions `names`, fc6, fc7 and fc8, which are matrices; values of a size that keeps activations alive."""
    random, channels, shapes = np.random.default_rng(0), 3, {}
    for name in names:
        shapes[name] = (widths.trunk[int(name[4]) - 1], channels, 3, 3)
        channels = shapes[name][0]
    shapes |= {'fc6': (widths.fc, 49 * channels), 'fc7': (widths.fc, widths.fc), 'fc8': (CLASSES, widths.fc)}
    return {
        name: [
            random.standard_normal(shape, np.float32) * np.float32((2 / prod(shape[1:])) ** 0.5),
            random.normal(0, 0.1, shape[0]).astype(np.float32),
        ]
        for name, shape in shapes.items()
    }


def torch_arrays(layers: Layers, names: Iterable[str] = TORCHVISION) -> dict[str, np.ndarray]:
    """Weights and biases as in a state dict, under `names`, by default torchvision's; the last layers may have none."""
    return by_name(dict(zip(names, layers.values(), strict=False)), '.', 'weight', 'bias')


def keras_layers(layers: Layers) -> Layers:
    """The same under Keras's names in its orders: kernels (height, width, in, out), fc1 on a map (height, width, channels)."""
    names = [f'block{name[4]}_conv{name[6]}' if name.startswith('conv') else name for name in layers]
    names[-3:] = 'fc1', 'fc2', 'predictions'
    found = {name: [channels_last(weights), bias] for name, (weights, bias) in zip(names, layers.values(), strict=True)}
    for name in names[-3:]:
        found[name][0] = found[name][0].T
    fc = found['fc2'][0].shape[0]
    found['fc1'][0] = found['fc1'][0].reshape(-1, 7, 7, fc).transpose(1, 2, 0, 3).reshape(-1, fc)
    return found


def image_rgb() -> np.ndarray:
    """uint8 (SIDE, SIDE, 3): noise over a slope of colour, so that a wrong order or orientation changes the result."""
    slope = np.stack(np.broadcast_arrays(np.linspace(0, 200, SIDE)[:, None], 40, np.linspace(120, 0, SIDE)[None]), axis=2)
    return (slope + np.random.default_rng(0).uniform(0, 55, (SIDE, SIDE, 3))).astype(np.uint8)


def network_input(rgb: np.ndarray, convention: str) -> np.ndarray:
    """float32 (1, 3, H, W) of an image uint8 (H, W, 3), for a network of `convention`: torchvision, caffe-rgb or caffe."""
    pixels = (rgb / 255 - MEAN) / STD if convention == 'torchvision' else rgb - CAFFE_MEAN_BGR[::-1]
    pixels = pixels[:, :, ::-1] if convention == 'caffe' else pixels
    return np.ascontiguousarray(pixels.transpose(2, 0, 1)[None], np.float32)


def onnx_vgg16(layers: Layers, *, keras: bool = False):
    """The ONNX model from an image (1, 3, SIDE, SIDE) to fc7 as PyTorch exports it, or as tf2onnx makes it of Keras's model.

    Keras's takes (1, SIDE, SIDE, 3), flattens the map with its channels last, and its arrays have names.
    """
    graph, top = OnnxGraph(), 'data'
    if keras:
        top = graph.add('Transpose', top, perm=[0, 3, 1, 2])
    for name in layers:
        if name.startswith('conv'):
            top = graph.add('Relu', graph.add('Conv', top, *layers[name]))
        if name in LAST_OF_BLOCK:
            top = graph.add('MaxPool', top, kernel_shape=[2, 2], strides=[2, 2])
    if keras:
        theirs = keras_layers(layers)
        top = graph.add('Reshape', graph.add('Transpose', top, perm=[0, 2, 3, 1]), np.array([1, -1]))
        fc6 = graph.add('Add', graph.add('MatMul', top, theirs['fc1'][0]), theirs['fc1'][1])
        graph.add('Add', graph.add('MatMul', graph.add('Relu', fc6), theirs['fc2'][0]), theirs['fc2'][1])
    else:
        fc6 = graph.add('Gemm', graph.add('Flatten', top), *layers['fc6'], transB=1)
        graph.add('Gemm', graph.add('Relu', fc6), *layers['fc7'], transB=1)
    model = graph.model((1, SIDE, SIDE, 3) if keras else (1, 3, SIDE, SIDE))
    return _with_keras_names(model, layers) if keras else model


def _with_keras_names(model, layers: Layers):
    renamed = {}
    for name, node in zip(layers, (node for node in model.graph.node if node.op_type == 'Conv'), strict=False):
        for index, end in ((1, 'convolution/ReadVariableOp:0'), (2, 'Squeeze:0')):
            renamed[node.input[index]] = node.input[index] = f'functional_1/block{name[4]}_conv{name[6]}_1/{end}'
    for tensor in model.graph.initializer:
        tensor.name = renamed.get(tensor.name, tensor.name)
    return model


def onnx_fc7(layers: Layers, inputs: np.ndarray) -> np.ndarray:
    """fc7 before its ReLU, by onnxruntime."""
    return run_onnx(onnx_vgg16(layers), inputs)[0]


def keras_fc7(theirs: Layers, pixels_hwc: np.ndarray) -> np.ndarray:
    """fc7 before its ReLU by Keras's rules in plain NumPy: channels last, valid convolutions, maps flattened as they lie."""
    maps = pixels_hwc
    for name, (kernel, bias) in list(theirs.items())[:13]:
        windows = sliding_window_view(maps, (3, 3), axis=(0, 1))  # rows, columns, channels, window rows, window columns
        maps = np.maximum(np.tensordot(windows, kernel, ((3, 4, 2), (0, 1, 2))) + bias, 0)
        if name.replace('block', 'conv').replace('_conv', '_') in LAST_OF_BLOCK:
            height, width, channels = maps.shape
            maps = maps.reshape(height // 2, 2, width // 2, 2, channels).max(axis=(1, 3))
    fc6 = np.maximum(maps.reshape(-1) @ theirs['fc1'][0] + theirs['fc1'][1], 0)
    return fc6 @ theirs['fc2'][0] + theirs['fc2'][1]


def caffe_fc7(weights_path: Path, rgb: np.ndarray, widths: FrontEnd = NARROW, *, dense: bool = False) -> np.ndarray:
    """fc7 of an image uint8 (H, W, 3) by real Caffe; fc6 and fc7 are convolutions, or with `dense` InnerProduct."""
    net = net_of(_caffe_net(widths, dense))
    net.copy_from(str(weights_path))
    net.blobs['data'].data[...] = network_input(rgb, 'caffe')
    net.forward()
    return net.blobs['fc7'].data.reshape(-1).copy()


def _caffe_net(widths: FrontEnd, dense: bool):
    net, layers = caffe.NetSpec(), caffe.layers
    net.data = top = layers.Input(shape={'dim': [1, 3, SIDE, SIDE]})
    for name in NAMES[:-1]:
        if name.startswith('conv'):
            top = layers.Convolution(top, num_output=widths.trunk[int(name[4]) - 1], kernel_size=3)
        elif dense:
            top = layers.InnerProduct(top, num_output=widths.fc)
        else:
            top = layers.Convolution(top, num_output=widths.fc, kernel_size={'fc6': 7, 'fc7': 1}[name])
        net[name] = top
        if name != 'fc7':
            net[f'relu_{name}'] = top = layers.ReLU(top, in_place=True)
        if name in LAST_OF_BLOCK:
            net[f'pool{name[4]}'] = top = layers.Pooling(top, pool=caffe.params.Pooling.MAX, kernel_size=2, stride=2)
    return net.to_proto()
