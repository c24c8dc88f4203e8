"""Run a command on simulated GPUs: make on-pretended-gpus RUN='make rehearse GPU=0'

The CUDA build must be in use (CUDA=1 CUDA_ARCH=90 make caffe). Kernels run on the CPU in one thread, slower than Caffe's own CPU
code. At the end it prints the most memory that a process had in use, counting what Caffe asks CUDA for.
"""

import argparse
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from pretended_gpu.build import MOST_DEVICES, PretendedGpus, bytes_taken
from tools.netinfo.fit import gb, memory_size
from tools.support.errors import UserError, run_command


def main(argv: list[str] | None) -> int:
    """Compile the libraries, run the command and print its memory; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    counts, said = range(1, MOST_DEVICES + 1), f'number of GPUs, at most {MOST_DEVICES} (default: %(default)s)'
    parser.add_argument('--gpus', type=int, default=1, choices=counts, metavar='N', help=said)
    parser.add_argument('--memory', type=memory_size, default=80 * 10**9, help='memory of each GPU, such as 12G (default: 80G)')
    parser.add_argument('run', help='the command, quoted as one argument')
    args = parser.parse_args(argv)
    try:
        words = shlex.split(args.run)
    except ValueError as error:
        raise UserError(f"RUN={args.run}: {error}; write the command as RUN='make rehearse GPU=0'") from error
    if not words:
        raise UserError("no command; write it as RUN='make rehearse GPU=0'")
    with tempfile.TemporaryDirectory() as folder:
        use = Path(folder, 'use')
        use.mkdir()
        inherited = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}  # it was for this module
        variables = inherited | PretendedGpus(Path(folder)).variables(args.gpus, use, args.memory)
        status = subprocess.run(words, env=variables).returncode
        for gpu in range(args.gpus):
            print(f'GPU {gpu}: a process had at most {gb(bytes_taken(use, gpu)[1])} in use', file=sys.stderr)
    return status


if __name__ == '__main__':
    run_command(main)
