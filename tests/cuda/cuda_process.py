"""Runs processes of the CUDA build in .venv/cuda."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tools.caffe_build import environment
from tools.support.paths import VENV

CAFFE = VENV / 'cuda'
PROGRAM = CAFFE / 'bin' / 'caffe'
SCENARIOS = Path(__file__).with_name('scenarios.py')
SOLVER = """
net: "net.prototxt" base_lr: 1e-6 momentum: 0.9 lr_policy: "fixed" random_seed: 1 solver_mode: {mode}
max_iter: {iterations} snapshot: {iterations} snapshot_prefix: "run" iter_size: {iter_size}
"""


@dataclass(frozen=True)
class Gpus:
    """GPUs to compute on: the variables that make a process use them, and whether they support TF32."""

    variables: Mapping[str, str]
    rounds_tf32: bool


def variables(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a process that uses the CUDA build; without LD_LIBRARY_PATH, as the build does not need it."""
    own = {'GLOG_minloglevel': '1', 'OPENBLAS_NUM_THREADS': '1', 'PYTHONPATH': str(CAFFE / 'python')}
    inherited = {name: value for name, value in os.environ.items() if name != 'LD_LIBRARY_PATH'}
    return {**inherited, **own, **(more or {})}


def call(*command: object, cwd: Path | None = None, more: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command and wait for it."""
    words = [str(part) for part in command]
    return subprocess.run(words, cwd=cwd, env=variables(more), capture_output=True, text=True, timeout=300)


def write_solver(folder: Path, mode: str, iterations: int = 3, iter_size: int = 1) -> None:
    """Write solver.prototxt to `folder`, with one snapshot at the end."""
    text = SOLVER.format(mode=mode, iterations=iterations, iter_size=iter_size)
    (folder / 'solver.prototxt').write_text(text, encoding='utf-8')


def train(folder: Path, gpus: str = '', iter_size: int = 1, more: Mapping[str, str] | None = None):
    """Train three iterations with the program `caffe`, on the CPU or on GPUs by number."""
    write_solver(folder, 'GPU' if gpus else 'CPU', iter_size=iter_size)
    return call(PROGRAM, 'train', '--solver=solver.prototxt', *([f'--gpu={gpus}'] if gpus else []), cwd=folder, more=more)


def computed(scenario: str, device: str, folder: Path, more: Mapping[str, str] | None = None) -> np.ndarray:
    """The rows that a scenario of scenarios.py computes; its process must end with 0."""
    out = folder / f'{scenario}-{device}.npy'
    finished = call(environment.PYTHON, SCENARIOS, scenario, device, out, cwd=folder, more=more)
    assert finished.returncode == 0, finished.stderr
    return np.load(out)
