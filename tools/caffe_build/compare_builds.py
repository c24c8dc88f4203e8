"""`make bench-im2col`: the build that shares one im2col buffer beside the one as released. Same bits, how much memory and time?

Each measurement is a process of its own, on the Dilation8-VOC deploy network with random weights and input, the same for both
builds. First a forward pass at full size, then forward and backward at --gradient-side, so that the gradients of both fit.
Exit status 1 when a single bit of a blob or a gradient differs; times and memory are printed, and judge nothing.
"""

import argparse
import json
import os
import subprocess
import tempfile
from pathlib import Path

from tools.caffe_build import environment
from tools.support.errors import UserError, run_command
from tools.support.paths import ROOT, VENV

MEASURE = Path(__file__).with_name('measure_build.py')
NET = 'dilation8_pascal_voc'
BUILDS = {'as released': VENV / 'as-released', 'shared': VENV / 'caffe'}


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--side', type=int, default=900, help='height and width of the input, pixels (default 900)')
    parser.add_argument('--gradient-side', type=int, default=508, help='the same for the gradients (default 508)')
    parser.add_argument('--repeat', type=int, default=1, help='measure so many times (default 1)')
    return parser.parse_args(argv)


def main(argv: list[str] | None) -> int:
    """Compare the builds; 0 when they agree in every bit."""
    arguments = parse_args(argv)
    agree = True
    for _ in range(arguments.repeat):
        for side, flags in ((arguments.side, []), (arguments.gradient_side, ['--backward'])):
            results = {name: measure(folder, side, flags) for name, folder in BUILDS.items()}
            print(report(side, results), flush=True)
            agree = agree and not differing(results)
    return 0 if agree else 1


def measure(build: Path, side: int, flags: list[str]) -> dict:
    """What measure_build.py finds for one build. Raises UserError when the build is missing or its process ends badly."""
    if not (build / 'python').is_dir():
        raise UserError(f'no Caffe in {build}; run: make bench-im2col')
    with tempfile.TemporaryDirectory() as folder:
        deploy = write_deploy(Path(folder), side)
        variables = {**os.environ, 'PYTHONPATH': str(build / 'python')}
        command = [str(environment.PYTHON), str(MEASURE), str(deploy), *flags]
        finished = subprocess.run(command, env=variables, stdout=subprocess.PIPE, text=True)
    if finished.returncode:
        raise UserError(f'measuring {build} at {side} pixels ended with status {finished.returncode}; out of memory?')
    return json.loads(finished.stdout)


def write_deploy(folder: Path, side: int) -> Path:
    """The network's prototxt for inputs of `side` pixels, in `folder`."""
    text = (ROOT / 'prototxt' / NET / 'deploy.prototxt').read_text(encoding='utf-8')
    path = folder / 'deploy.prototxt'
    path.write_text('force_backward: true\n' + text.replace('dim: 900', f'dim: {side}'), encoding='utf-8')
    return path


def differing(results: dict[str, dict]) -> list[str]:
    """Names of the blobs and gradients that are not the same in all results."""
    first, *others = (result['hashes'] for result in results.values())
    return [name for name in first if any(other.get(name) != first[name] for other in others)]


def report(side: int, results: dict[str, dict]) -> str:
    """Table of the builds, their ratio, and what differs."""
    lines = [f'{NET} at 1x3x{side}x{side}']
    lines.append(f'{"build":<12} {"first forward (CPU time)":>26} {"second (CPU time)":>21} {"peak memory":>12}')
    for name, result in results.items():
        passes = [f'{result[which]["s"]:.1f} s ({result[which]["cpu_s"]:.1f} s)' for which in ('first', 'second')]
        lines.append(f'{name:<12} {passes[0]:>26} {passes[1]:>21} {result["peak_bytes"] / 1e9:>9.2f} GB')
    wall, cpu = (results['shared']['first'][unit] / results['as released']['first'][unit] for unit in ('s', 'cpu_s'))
    names = differing(results)
    count = len(results['shared']['hashes'])
    lines.append(f'first forward, shared / as released: {wall:.2f} ({cpu:.2f} of the CPU time)')
    lines.append(f'{count} blobs and gradients: ' + (f'DIFFERENT in {", ".join(names)}' if names else 'the same in every bit'))
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    run_command(main)
