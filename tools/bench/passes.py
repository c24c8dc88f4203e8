"""Seconds of forward passes of a network alone: NET WEIGHTS TILING HEIGHT WIDTH COUNT."""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import numpy as np

from prototxt.experiments import NETS
from prototxt.networks import deploy
from tools.inference.caffe_net import load_net
from tools.inference.tiling import tile_size


def main() -> None:
    """Measure."""
    net_name, weights, tiling, height, width, count = sys.argv[1:]
    size_hw = tile_size(tiling, (int(height), int(width)), NETS[net_name].input_size_hw)
    net = load_net(deploy(net_name, size_hw=size_hw), [Path(weights)])
    net.blobs['data'].data[...] = 50 * np.random.default_rng(1).standard_normal(net.blobs['data'].shape, np.float32)
    for _ in range(int(count)):
        begun = time.perf_counter()
        net.forward()
        print(time.perf_counter() - begun, flush=True)


if __name__ == '__main__':
    main()
