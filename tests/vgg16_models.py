"""VGG-16 without padding, so that its first layer can be folded exactly, from pixels to fc7: in onnxruntime and in real Caffe."""

import numpy as np

from prototxt.experiments import FrontEnd
from tests.engines import run_onnx
from tools.inference.onnx_net import OnnxGraph
from tools.support.caffe_import import import_caffe

caffe = import_caffe()
NARROW = FrontEnd(trunk=(2, 3, 4, 5, 6), fc=7)
BLOCKS = (2, 2, 3, 3, 3)  # convolutions in each group of VGG-16
SIDE = 404  # unpadded, this leaves a map of 7x7 cells after the last pooling, and no pooling has to round
CLASSES = 10
# torchvision's documentation of VGG16_Weights.IMAGENET1K_V1
MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CAFFE_MEAN_BGR = np.array([103.939, 116.779, 123.68])


def random_arrays(widths: FrontEnd = NARROW, seed: int = 0) -> dict[str, np.ndarray]:
    """Weights under torchvision's names: its numbers count ReLU, pooling and dropout, too."""
    random, channels, index, shapes = np.random.default_rng(seed), 3, 0, {}
    for width, count in zip(widths.trunk, BLOCKS, strict=True):
        for _ in range(count):
            shapes[f'features.{index}'] = (width, channels, 3, 3)
            channels, index = width, index + 2
        index += 1
    shapes |= {'classifier.0': (widths.fc, 49 * channels), 'classifier.3': (widths.fc,) * 2, 'classifier.6': (CLASSES, widths.fc)}
    arrays = {}
    for name, shape in shapes.items():
        spread = np.float32((2 / np.prod(shape[1:])) ** 0.5)
        arrays[f'{name}.weight'] = random.standard_normal(shape, np.float32) * spread
        arrays[f'{name}.bias'] = random.normal(0, 0.1, shape[0]).astype(np.float32)
    return arrays


def normalized(pixels_rgb: np.ndarray) -> np.ndarray:
    """float32 (1, 3, H, W) of an image uint8 (H, W, 3), as torchvision's models take it."""
    return ((pixels_rgb / 255 - MEAN) / STD).astype(np.float32).transpose(2, 0, 1)[None]


def fc7_of(arrays: dict[str, np.ndarray], inputs: np.ndarray) -> np.ndarray:
    """fc7 before its ReLU of float32 (1, 3, H, W), by onnxruntime from weights under torchvision's names."""
    graph, top = OnnxGraph(), 'data'
    names = iter(name for name in arrays if name.startswith('features') and name.endswith('weight'))
    for count in BLOCKS:
        for _ in range(count):
            name = next(names)
            top = graph.add('Relu', graph.add('Conv', top, arrays[name], arrays[name.replace('weight', 'bias')]))
        top = graph.add('MaxPool', top, kernel_shape=[2, 2], strides=[2, 2])
    fc6 = graph.add('Gemm', graph.add('Flatten', top), arrays['classifier.0.weight'], arrays['classifier.0.bias'], transB=1)
    graph.add('Gemm', graph.add('Relu', fc6), arrays['classifier.3.weight'], arrays['classifier.3.bias'], transB=1)
    return run_onnx(graph.model(inputs.shape), inputs)[0]


def image_rgb(seed: int = 0) -> np.ndarray:
    """uint8 (SIDE, SIDE, 3): noise over a slope of colour, so that neither order nor orientation can be mistaken."""
    slope = np.stack(np.broadcast_arrays(np.linspace(0, 200, SIDE)[:, None], 40, np.linspace(120, 0, SIDE)[None]), axis=2)
    return (slope + np.random.default_rng(seed).uniform(0, 55, (SIDE, SIDE, 3))).astype(np.uint8)


def caffe_net(widths: FrontEnd = NARROW) -> str:
    """The prototxt of the same network with fc6 and fc7 as convolutions, as the front end has them."""
    lines, top = (
        [f"layer {{ name: 'data' type: 'Input' top: 'data' input_param {{ shape {{ {_dims(1, 3, SIDE, SIDE)} }} }} }}"],
        'data',
    )
    for group, (width, count) in enumerate(zip(widths.trunk, BLOCKS, strict=True), 1):
        for i in range(1, count + 1):
            lines += _convolution(f'conv{group}_{i}', top, width, 3)
            top = f'conv{group}_{i}'
        pool = 'pooling_param { pool: MAX kernel_size: 2 stride: 2 }'
        lines.append(f"layer {{ name: 'pool{group}' type: 'Pooling' bottom: '{top}' top: 'pool{group}' {pool} }}")
        top = f'pool{group}'
    return '\n'.join([*lines, *_convolution('fc6', top, widths.fc, 7), _convolution('fc7', 'fc6', widths.fc, 1)[0]])


def caffe_fc7(folder, weights_path, pixels_rgb: np.ndarray, widths: FrontEnd = NARROW) -> np.ndarray:
    """fc7 of an image uint8 (H, W, 3), as real Caffe computes it from blue, green, red minus the mean."""
    (folder / 'net.prototxt').write_text(caffe_net(widths))
    net = caffe.Net(str(folder / 'net.prototxt'), str(weights_path), caffe.TEST)
    net.blobs['data'].data[0] = (pixels_rgb[:, :, ::-1] - CAFFE_MEAN_BGR).transpose(2, 0, 1)
    net.forward()
    return net.blobs['fc7'].data.reshape(-1).copy()


def _dims(*sides: int) -> str:
    return ' '.join(f'dim: {side}' for side in sides)


def _convolution(name: str, bottom: str, width: int, kernel: int) -> list[str]:
    param = f'convolution_param {{ num_output: {width} kernel_size: {kernel} }}'
    return [
        f"layer {{ name: '{name}' type: 'Convolution' bottom: '{bottom}' top: '{name}' {param} }}",
        f"layer {{ name: 'relu_{name}' type: 'ReLU' bottom: '{name}' top: '{name}' }}",
    ]
