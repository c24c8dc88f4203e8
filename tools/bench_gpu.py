#!/usr/bin/env python3
"""Measure time and memory on a GPU: Caffe and PyTorch on the same networks, forward and in training steps, with and without TF32.

Forward passes: Dilation8-VOC at 900x900 and Dilation10 at 1396x1396. Training steps: each stage of the table at its crop and
batch, in as many passes as the memory requires. Weights, images and labels are random. Caffe reads images from an LMDB; PyTorch
has them on the GPU. Each measurement runs in its own process, and nvidia-smi reports its memory. `changed` is the effect of a
variant on Caffe's probabilities, for random weights, whose labels are closer to each other than those of trained weights.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

import argparse
import json
import platform
import re
import subprocess
from dataclasses import asdict

from tools.bench.gpu_cases import DILATION10_JOINT, REHEARSAL, full_cases
from tools.bench.gpu_run import CAFFE_VARIANTS, Result, Setup, measure_case
from tools.support.atomic import whole_file
from tools.support.errors import UserError, run_command
from tools.support.gpus import check_gpu, gpu_number
from tools.support.paths import ROOT

WISH_BYTES = 12e9  # cards of the paper's time


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--gpu', type=gpu_number, default=0, metavar='N', help='number of the GPU (default: %(default)s)')
    parser.add_argument('--only', default='', metavar='REGEX', help='only measurements whose names match (see --list)')
    parser.add_argument('--list', action='store_true', help='only say what would be measured')
    parser.add_argument('--repeat', type=int, default=5, metavar='N', help='passes or steps timed (default: %(default)s)')
    parser.add_argument(
        '--torch-python', default=sys.executable, metavar='FILE', help='a Python that has PyTorch (default: the one in .venv)'
    )
    parser.add_argument('--out', type=Path, default=ROOT / 'out' / 'bench-gpu', metavar='DIR', help='default: out/bench-gpu')
    parser.add_argument('--rehearse', action='store_true', help='on the CPU, with small networks: shows that all of it works')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Measure, print each case when it is done, and write results.json and results.md."""
    args = parse_args(argv)
    cases = [case for case in (REHEARSAL if args.rehearse else full_cases()) if re.search(args.only, case.name)]
    if not cases:
        raise UserError(f'--only {args.only}: nothing has such a name; see --list')
    if args.list:
        print('\n'.join(case.name for case in cases))
        return
    if not args.rehearse:
        check_gpu(args.gpu)
    torch_python = args.torch_python if has_torch(args.torch_python) else None
    setup = Setup(None if args.rehearse else args.gpu, args.repeat, torch_python)
    lines = [*heading(setup, torch_python), HEAD]
    print('\n'.join(lines), flush=True)
    results: list[Result] = []
    for case in cases:
        new = measure_case(case, setup)
        results += new
        lines += [row(result) for result in new]
        print('\n'.join(lines[-len(new) :]), flush=True)
        write(args.out, results, [*lines, '', *notes(results)])
    print('\n'.join(['', *notes(results), f'written to {args.out}']))


HEAD = '| case | program | | images x passes | seconds | peak memory | changed |\n| --- | --- | --- | --- | --- | --- | --- |'


def row(result: Result) -> str:
    """One line of the table."""
    name = f'| {result.case} | {result.program} | {result.variant} |'
    if result.fault:
        return f'{name} {result.per_pass} | - | - | {result.fault} |'
    split = f'{result.per_pass} x {result.passes}'
    return f'{name} {split} | {result.median_s:.3f} | {result.peak_bytes / 1e9:.2f} GB | {result.changed} |'


def heading(setup: Setup, torch_python: str | None) -> list[str]:
    """The machine, and what is missing."""
    where = 'rehearsal on the CPU: these figures mean nothing' if setup.gpu is None else gpu_name(setup.gpu)
    meant = ', '.join(f'{name}: {key}={value}' for name, more in CAFFE_VARIANTS.items() for key, value in more.items())
    lines = [f'{where}, {platform.platform()}', f'median of {setup.repeat}; {meant}']
    return lines if torch_python else [*lines, 'without PyTorch, which this Python does not have (--torch-python)']


def notes(results: list[Result]) -> list[str]:
    """Whether Dilation10 can be trained on a card of 12 GB."""
    joint = [
        result for result in results if result.case.startswith(DILATION10_JOINT) and result.program == 'Caffe' and result.seconds
    ]
    return [
        f'{result.case} {result.variant}: {result.peak_bytes / 1e9:.2f} GB, '
        f'{"within" if result.peak_bytes <= WISH_BYTES else "more than"} {WISH_BYTES / 1e9:.0f} GB'
        for result in joint
    ]


def write(out: Path, results: list[Result], lines: list[str]) -> None:
    """Write both files after each case."""
    rows = [{**asdict(result), 'prob': None} for result in results]
    for name, text in (('results.json', json.dumps(rows, indent=1)), ('results.md', '\n'.join(lines))):
        with whole_file(out / name) as temporary:
            temporary.write_text(text + '\n', encoding='utf-8')


def has_torch(python: str) -> bool:
    """Whether a Python has PyTorch."""
    try:
        return subprocess.run([python, '-c', 'import torch'], capture_output=True).returncode == 0
    except OSError as error:
        raise UserError(f'--torch-python {python}: {error.strerror}') from error


def gpu_name(number: int) -> str:
    """Name, memory and driver of a GPU, as nvidia-smi has them."""
    query = ['nvidia-smi', f'--id={number}', '--query-gpu=name,memory.total,driver_version', '--format=csv,noheader']
    return subprocess.run(query, capture_output=True, text=True).stdout.strip()


if __name__ == '__main__':
    run_command(main)
