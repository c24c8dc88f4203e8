"""A network in PyTorch on the CPU, as a yardstick: DEPLOY; prints the seconds of two passes. Weights and data are random."""

import sys
import time
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import torch

from tools.gpu_bench.files import torch_layers
from tools.gpu_bench.measure_torch import network
from tools.training.runs import read_net


def main() -> None:
    """Measure."""
    net = read_net(Path(sys.argv[1]))
    shape = net.layer[0].input_param.shape[0].dim
    rows = torch_layers(net)
    if rows is None:
        raise ValueError(f'{sys.argv[1]}: has a layer that is not translated')
    torch.manual_seed(1)
    twin = network([asdict(row) for row in rows], shape[1]).eval()
    data = 50 * torch.randn(tuple(shape))
    for _ in range(2):
        begun = time.perf_counter()
        with torch.inference_mode():
            torch.softmax(twin(data), 1)
        print(time.perf_counter() - begun, flush=True)


if __name__ == '__main__':
    main()
