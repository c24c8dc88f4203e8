"""Times a network in PyTorch and prints the result as JSON: python gpu_torch.py JOB.json

It needs nothing but PyTorch, so any Python that has it will do. The job has `layers` (rows of gpu_files.TorchLayer), `shape` of
the input, `passes` of a training step (0: forward only), `classes`, `gpu`, `tf32` and `repeat`. `channels_last` and `threads` are
optional.
"""

import json
import resource
import sys
import time
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

WARM_UP = 3  # the first pass allocates, and cuDNN tries its algorithms
IGNORE = 255


def main() -> None:
    """Measure as the job says."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding='utf-8'))
    device = torch.device('cpu' if job['gpu'] is None else f'cuda:{job["gpu"]}')
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = job['tf32']
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(1)
    torch.set_num_threads(job.get('threads', torch.get_num_threads()))
    layout = torch.channels_last if job.get('channels_last') else torch.contiguous_format
    net = network(job['layers'], job['shape'][1]).to(device, memory_format=layout)
    images = (50 * torch.randn(job['shape'], device=device)).to(memory_format=layout)
    step = training(net, images, job) if job['passes'] else forward(net, images)
    seconds = [timed(step, device) for _ in range(WARM_UP + job['repeat'])][WARM_UP:]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({'seconds': seconds, 'host_bytes': peak, 'version': torch.__version__}))


def network(layers: list[dict], channels: int) -> nn.Sequential:
    """The layers as modules. As in gpu_caffe.py, weights are normal, scaled as by He et al. (2015), and biases are 0."""
    modules: list[nn.Module] = []
    for row in layers:
        module = module_of(row, channels)
        modules.append(module)
        if row['channels_out']:
            channels = row['channels_out']
            for parameter in module.parameters():
                nn.init.kaiming_normal_(parameter) if parameter.dim() > 1 else nn.init.zeros_(parameter)
    return nn.Sequential(*modules)


def module_of(row: dict, channels: int) -> nn.Module:
    """One layer. Pooling rounds up, as Caffe's does."""
    kind = row['kind']
    window = {'stride': row['stride'], 'padding': row['pad'], 'dilation': row['dilation']}
    if kind == 'Convolution':
        return nn.Conv2d(channels, row['channels_out'], row['kernel'], groups=row['group'], bias=row['bias'], **window)
    if kind == 'Deconvolution':
        return nn.ConvTranspose2d(channels, row['channels_out'], row['kernel'], groups=row['group'], bias=row['bias'], **window)
    if kind == 'Pooling':
        return nn.MaxPool2d(row['kernel'], row['stride'], ceil_mode=True)
    # A ReLU keeps its output for its gradient, so that the dropout after it cannot write over it.
    return nn.ReLU(inplace=True) if kind == 'ReLU' else nn.Dropout(0.5)


def forward(net: nn.Module, images: torch.Tensor):
    """A function that runs one forward pass and copies the probabilities to the host."""
    net.eval()

    def step() -> None:
        with torch.no_grad():
            functional.softmax(net(images), 1).cpu()

    return step


def training(net: nn.Module, images: torch.Tensor, job: dict):
    """A function that runs one training step of `passes` passes."""
    net.train()
    optimizer = torch.optim.SGD(net.parameters(), lr=1e-12, momentum=0.9, weight_decay=0.0005)
    with torch.no_grad():
        size = net(images).shape
    labels = torch.randint(0, job['classes'], (size[0], *size[2:]), device=images.device)

    def step() -> None:
        optimizer.zero_grad()
        for _ in range(job['passes']):
            loss = functional.cross_entropy(net(images), labels, ignore_index=IGNORE)
            (loss / job['passes']).backward()
            loss.item()  # Caffe reads each pass's loss too
        optimizer.step()

    return step


def timed(step, device: torch.device) -> float:
    """Seconds of a step, until its last kernel ends."""
    start = time.perf_counter()
    step()
    if device.type == 'cuda':
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


if __name__ == '__main__':
    main()
