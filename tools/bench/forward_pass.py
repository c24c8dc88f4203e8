"""Times forward passes of a deploy net in one engine: python forward_pass.py ENGINE DEPLOY WEIGHTS COUNT

Prints JSON: `seconds` of each pass, and for Caffe `layers`, the name, type and fastest time of each layer. Input and number of
threads are the same in every engine.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from pretrained import caffemodel

THREADS = len(os.sched_getaffinity(0))


def main() -> None:
    """Measure as the command line says."""
    engine, deploy, weights, count = sys.argv[1:]
    net = caffemodel.read_net(Path(deploy))
    shape = tuple(net.layer[0].input_param.shape[0].dim)
    data = 50 * np.random.default_rng(1).standard_normal(shape, np.float32)
    step, more = ENGINES[engine](net, Path(weights), data)
    seconds = []
    for _ in range(int(count)):
        begun = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - begun)
    print(json.dumps({'seconds': seconds, **more()}))


def in_caffe(net, weights: Path, data: np.ndarray) -> tuple[Callable, Callable]:
    """The Caffe in use, layer by layer as `caffe time` does."""
    from tools.inference.caffe_net import load_net
    from tools.netinfo.timing import forward_seconds

    loaded = load_net(net, [weights])
    loaded.blobs[net.layer[0].top[0]].data[...] = data
    fastest = [float('inf')] * len(loaded.layers)

    def step() -> np.ndarray:
        fastest[:] = map(min, fastest, forward_seconds(loaded))
        return loaded.blobs[loaded.outputs[0]].data

    def layers() -> dict:
        named = zip(loaded._layer_names, loaded.layers, fastest, strict=True)
        return {'layers': [[name, layer.type, seconds] for name, layer, seconds in named]}

    return step, layers


def in_onnxruntime(net, weights: Path, data: np.ndarray) -> tuple[Callable, Callable]:
    """onnxruntime's CPU engine."""
    import onnxruntime

    from tools.inference.onnx_net import onnx_model

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    model = onnx_model(net, caffemodel.load(weights)).SerializeToString()
    session = onnxruntime.InferenceSession(model, options, providers=['CPUExecutionProvider'])
    del model
    return lambda: session.run(None, {'data': data})[0], dict


def in_torch(net, weights: Path, data: np.ndarray, channels_last: bool = False) -> tuple[Callable, Callable]:
    """PyTorch with its usual layout of maps or with channels last; its weights are random."""
    import torch

    from tools.bench.gpu_files import torch_layers
    from tools.bench.gpu_torch import network

    torch.set_num_threads(THREADS)
    order = {'memory_format': torch.channels_last} if channels_last else {}
    rows = torch_layers(net)
    if rows is None:
        raise ValueError(f'{net.name} has a layer that is not translated')
    twin = network([asdict(row) for row in rows], data.shape[1]).eval().to(**order)
    images = torch.from_numpy(data).to(**order)

    def step() -> np.ndarray:
        with torch.inference_mode():
            return torch.softmax(twin(images), 1).numpy()

    return step, dict


ENGINES = {
    'caffe': in_caffe,
    'onnxruntime': in_onnxruntime,
    'pytorch': in_torch,
    'pytorch-channels-last': lambda net, weights, data: in_torch(net, weights, data, channels_last=True),
}

if __name__ == '__main__':
    main()
