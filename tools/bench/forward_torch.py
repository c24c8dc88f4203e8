"""The same network in PyTorch on the CPU, as a yardstick: DEPLOY WEIGHTS; prints the seconds of the first and the second pass."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np
import torch
from torch.nn import functional

from pretrained import caffemodel
from tools.training.runs import read_net


def forward(net, weights: dict, data: torch.Tensor) -> torch.Tensor:
    """`prob` of a deploy NetParameter whose layers follow one another."""
    for layer in net.layer:
        conv = layer.convolution_param
        if layer.type == 'Convolution':
            kernel, bias = weights[layer.name]
            step = {'padding': (list(conv.pad) or [0])[0], 'dilation': (list(conv.dilation) or [1])[0]}
            data = functional.conv2d(data, kernel, bias.flatten(), **step)
        elif layer.type == 'Deconvolution':
            data = functional.conv_transpose2d(
                data, weights[layer.name][0], stride=conv.stride[0], padding=conv.pad[0], groups=conv.group
            )
        elif layer.type == 'Pooling':
            data = functional.max_pool2d(data, layer.pooling_param.kernel_size, layer.pooling_param.stride, ceil_mode=True)
        elif layer.type == 'ReLU':
            data = functional.relu_(data)
        elif layer.type == 'Softmax':
            data = functional.softmax(data, dim=1)
        elif layer.type not in ('Input', 'Dropout'):
            raise ValueError(f'no layer {layer.type} here')
    return data


def main() -> None:
    """Measure."""
    net = read_net(Path(sys.argv[1]))
    weights = {
        name: [torch.from_numpy(np.array(blob, np.float32)) for blob in blobs]
        for name, blobs in caffemodel.load(Path(sys.argv[2])).items()
    }
    shape = net.layer[0].input_param.shape[0].dim
    data = torch.from_numpy(50 * np.random.default_rng(1).standard_normal(tuple(shape), np.float32))
    for _ in range(2):
        begun = time.perf_counter()
        with torch.inference_mode():
            forward(net, weights, data)
        print(time.perf_counter() - begun, flush=True)


if __name__ == '__main__':
    main()
