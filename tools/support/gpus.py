"""Reads which GPUs a command shall use, and checks that the Caffe in use can compute on them.

GPU, driver and Caffe are only asked if the user names a GPU.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path

from tools.support.errors import UserError
from tools.support.paths import CAFFE

ALL = 'all'
DRIVER = Path('/proc/driver/nvidia/version')  # exists if the kernel module of the driver is loaded
WITHOUT = 'leave out --gpu (GPU=)'

# A net, so that a kernel must run: code for another architecture fails only then.
_PROBE = """
import sys, tempfile, caffe
caffe.set_device(int(sys.argv[1]))
caffe.set_mode_gpu()
with tempfile.NamedTemporaryFile('w', suffix='.prototxt') as file:
    file.write('layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 } } }\\n')
    file.write('layer { name: "relu" type: "ReLU" bottom: "data" top: "relu" }\\n')
    file.flush()
    net = caffe.Net(file.name, caffe.TEST)
net.blobs['data'].data[...] = 3
sys.exit(int(net.forward()['relu'][0] != 3))
"""


def gpu_number(text: str) -> int:
    """The number of a GPU, as an argparse type."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f'{text} is not the number of a GPU, counted from 0')
    return int(text)


def gpu_list(text: str) -> tuple[int, ...] | str:
    """Numbers of GPUs ('0' or '0,1') or 'all', as an argparse type."""
    if text == ALL:
        return ALL
    numbers = tuple(gpu_number(part) for part in text.split(','))
    if len(set(numbers)) < len(numbers):
        raise argparse.ArgumentTypeError(f'{text} names a GPU twice')
    return numbers


def check_gpus(asked: tuple[int, ...] | str) -> tuple[int, ...]:
    """The GPUs asked for, as numbers. Raises UserError if Caffe cannot compute on one of them."""
    numbers = tuple(range(count_gpus())) if isinstance(asked, str) else asked
    for number in numbers:
        check_gpu(number)
    return numbers


def check_gpu(number: int) -> None:
    """Raise UserError unless Caffe can compute on a GPU. A separate process tries it, because Caffe ends a process on failure."""
    finished = _run([sys.executable, '-c', _PROBE, str(number)])
    if finished.returncode:
        reason, todo = _why_not(finished.stderr)
        raise UserError(f'Caffe cannot use GPU {number} ({reason}); {WITHOUT}, or {todo}')


def count_gpus() -> int:
    """Number of GPUs that Caffe sees. Raises UserError if there is none."""
    finished = _run([str(CAFFE), 'device_query', '--gpu', ALL])
    count = len(re.findall(r'\] Device id: ', finished.stderr))
    if finished.returncode or not count:
        reason, todo = _why_not(finished.stderr)
        raise UserError(f'Caffe sees no GPU ({reason}); {WITHOUT}, or {todo}')
    return count


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run a command with full logging of Caffe."""
    variables = os.environ | {'GLOG_logtostderr': '1', 'GLOG_minloglevel': '0'}
    return subprocess.run(command, env=variables, capture_output=True, text=True)


def _why_not(said: str) -> tuple[str, str]:
    """Why Caffe could not use a GPU, taken from its log, and what to do about it."""
    for pattern, reason, todo in _REASONS:
        if re.search(pattern, said):
            return reason, todo
    if 'invalid device ordinal' in said:
        return f'it sees {count_gpus()}, counted from 0', 'look at nvidia-smi -L and at CUDA_VISIBLE_DEVICES'
    if re.search(r'driver version is insufficient|no CUDA-capable device|initialization error|unknown error', said):
        if not DRIVER.exists():
            return 'this machine has no NVIDIA driver', 'install one'
        if 'insufficient' in said:
            return 'its driver is older than the CUDA that Caffe was built with', 'update the driver'
        return 'the driver shows no GPU to this process', 'look at nvidia-smi and at CUDA_VISIBLE_DEVICES'
    words = [line for line in said.splitlines() if line.strip() and not line.lstrip().startswith(('@', '***'))]
    return (words[-1].strip() if words else 'it does not say why'), 'run: make doctor'


_REASONS = (
    ('CPU-only', 'it was built for the CPU only', 'run: make caffe CUDA=1'),
    ('no kernel image', 'it was built for other GPUs', 'run: make caffe CUDA=1, which builds for the GPUs of this machine'),
    ('out of memory', 'its memory is full', 'look at nvidia-smi for the processes that use it'),
)
