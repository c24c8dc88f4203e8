#!/usr/bin/env python3
"""Train a stage, or a chain of stages, with the stock program `caffe train`, or continue it where it stopped.

Everything is checked before Caffe starts. The run folder runs/STAGE/ gets train.prototxt, solver.prototxt, run.json (settings,
commands, hashes), caffe.log, metrics.csv, loss.png and the newest snapshots. On Ctrl-C, SIGTERM or a closed terminal, Caffe ends
its iteration, writes a snapshot and stops. After that, or after a kill, the same command continues from the newest complete
snapshot and from the next record; --iters may be raised. Crops, mirroring and dropout are drawn anew. A loss that is not finite
or stays far above ln C ends the training with the likely causes.
A chain does what is missing: the weights to start from, each stage, and the stored maps between stages.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

import argparse

from prototxt.chains import CHAINS, ends, is_chain
from prototxt.experiments import STAGES
from prototxt.names import resolve
from tools.support.errors import run_command
from tools.training.options import add_options, options_of


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command line: `stage` and `options`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'stage', metavar='STAGE',
        help=f'one of: {", ".join(STAGES)}; or a whole chain: {", ".join(CHAINS)}; STAGE@NAME for your own data in data/NAME',
    )  # fmt: skip
    add_options(parser)
    args = parser.parse_args(argv)
    return argparse.Namespace(stage=args.stage, options=options_of(args))


def main(argv: list[str] | None = None) -> int:
    """Train; returns the exit status."""
    args = parse_args(argv)
    several = args.options.chain or is_chain(args.stage)
    args.options.check(several=several)
    if several:
        from tools.recipes.chain import follow

        last = ends(args.stage) if is_chain(args.stage) else (resolve(args.stage, STAGES, 'stage'),)
        follow(args.stage, last, args.options)
        return 0
    from tools.training.session import train  # imports Caffe, whose absence is an error with one line
    from tools.training.settings import settings

    return train(settings(args.stage, args.options))


if __name__ == '__main__':
    run_command(main, after_stop='the same command goes on')
