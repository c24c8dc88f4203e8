"""Runs the measurements, each in its own process, and returns their results."""

import json
import os
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from tools.bench.gpu_cases import Case, splits
from tools.bench.gpu_files import caffe_files, job_file, torch_job
from tools.support.errors import UserError
from tools.support.memory_use import MemoryWatch

HERE = Path(__file__).parent
OUT_OF_MEMORY = ('out of memory', 'OutOfMemoryError', "can't allocate memory")
# Name of a variant -> environment of Caffe's process. CUBLAS_WORKSPACE_CONFIG gives cuBLAS two buffers of 64 MiB.
CAFFE_VARIANTS: dict[str, dict[str, str]] = {
    '': {},
    'TF32': {'CAFFE_TF32': '1'},
    'workspace': {'CUBLAS_WORKSPACE_CONFIG': ':65536:2'},
    'columns': {'CAFFE_COLUMN_MIB': '1024'},
}
STEP_VARIANTS = ('', 'TF32', 'columns')  # of training steps; forward passes run all


@dataclass(frozen=True)
class Setup:
    """How to measure. `gpu` None means a rehearsal on the CPU; `torch_python` None means without PyTorch."""

    gpu: int | None
    repeat: int
    torch_python: str | None


@dataclass(frozen=True)
class Result:
    """What one program did with one case. `peak_bytes` is memory of the GPU, or of the process on a CPU."""

    case: str
    program: str
    variant: str
    per_pass: int
    passes: int
    seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    fault: str = ''
    prob: Path | None = None
    changed: str = ''  # compared with the same program without the variant

    @property
    def median_s(self) -> float:
        """The median of the seconds."""
        return median(self.seconds)


def measure_case(case: Case, setup: Setup) -> list[Result]:
    """Caffe and PyTorch on one case, with each variant."""
    with tempfile.TemporaryDirectory() as folder:
        variants = STEP_VARIANTS if case.stage else tuple(CAFFE_VARIANTS)
        ours = [_fitting(case, setup, name, Path(folder), _caffe) for name in variants]
        theirs = [_fitting(case, setup, name, Path(folder), _torch) for name in ('', 'TF32')] if setup.torch_python else []
        return [_compared(result, ours[0]) for result in ours] + theirs


def _fitting(case: Case, setup: Setup, variant: str, folder: Path, measure) -> Result:
    """The result with the most images in a pass that fit into the memory."""
    for per_pass in splits(case.batch):
        result = measure(case, setup, variant, Path(tempfile.mkdtemp(dir=folder)), per_pass)
        if not any(words in result.fault for words in OUT_OF_MEMORY):
            break
    return result


def _caffe(case: Case, setup: Setup, variant: str, folder: Path, per_pass: int) -> Result:
    job = caffe_files(case, folder, per_pass, setup.gpu is not None)
    prob = None if case.stage else folder / 'prob.npy'
    job |= {'gpu': setup.gpu, 'repeat': setup.repeat, 'save': str(prob) if prob else None}
    command = [sys.executable, str(HERE / 'gpu_caffe.py'), str(job_file(job, folder / 'job.json'))]
    return _result(case, 'Caffe', variant, per_pass, setup, command, CAFFE_VARIANTS[variant], prob)


def _torch(case: Case, setup: Setup, variant: str, folder: Path, per_pass: int) -> Result:
    job = torch_job(case, per_pass)
    if job is None:
        return Result(case.name, 'PyTorch', variant, per_pass, 0, fault='a layer has no translation')
    job |= {'gpu': setup.gpu, 'repeat': setup.repeat, 'tf32': variant == 'TF32'}
    command = [setup.torch_python or '', str(HERE / 'gpu_torch.py'), str(job_file(job, folder / 'job.json'))]
    return _result(case, 'PyTorch', variant, per_pass, setup, command, {}, None)


def _result(
    case: Case,
    program: str,
    variant: str,
    per_pass: int,
    setup: Setup,
    command: list[str],
    extra: dict[str, str],
    prob: Path | None,
) -> Result:
    """Run a measuring process; returns its result, or one with the `fault`. Memory is nvidia-smi's for that GPU."""
    passes = case.batch // per_pass
    with ExitStack() as watching:
        watch = watching.enter_context(MemoryWatch(setup.gpu)) if setup.gpu is not None else None
        variables = os.environ | {'CUDA_DEVICE_ORDER': 'PCI_BUS_ID'} | extra
        finished = subprocess.run(command, env=variables, capture_output=True, text=True)
    if finished.returncode:
        return Result(case.name, program, variant, per_pass, passes, fault=_last_words(finished.stderr))
    said = json.loads(finished.stdout.splitlines()[-1])
    peak = watch.taken if watch else said['host_bytes']
    return Result(case.name, program, variant, per_pass, passes, said['seconds'], peak, prob=prob)


def _last_words(said: str) -> str:
    """The last line about an error, or else the last line."""
    lines = [line for line in said.splitlines() if line.strip() and not line.lstrip().startswith(('@', '***'))]
    telling = [line for line in lines if any(words in line for words in (*OUT_OF_MEMORY, 'Check failed', 'Error'))]
    return (telling or lines or ['no message'])[-1].strip()


def _compared(result: Result, plain: Result) -> Result:
    """The result, with what its variant changed in the probabilities if both have them."""
    if result is plain or not (result.prob and plain.prob and result.seconds and plain.seconds):
        return result
    ours, theirs = np.load(result.prob), np.load(plain.prob)
    if ours.shape != theirs.shape:
        raise UserError(f'{result.case}: {ours.shape} probabilities with {result.variant}, {theirs.shape} without')
    other = np.mean(ours.argmax(0) != theirs.argmax(0))
    changed = f'probabilities by at most {np.abs(ours - theirs).max():.1e}; {other:.3%} of the labels'
    return Result(**{**result.__dict__, 'changed': changed})
