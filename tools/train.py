#!/usr/bin/env python3
"""Train one stage with the stock program `caffe train`, or go on with it where it stopped; or a chain of stages.

Everything is checked before Caffe starts. The run lies in runs/STAGE/: train.prototxt, solver.prototxt, run.json (settings,
commands, hashes), caffe.log, metrics.csv, loss.png and the newest snapshots. Ctrl-C, SIGTERM or a closed terminal: Caffe
ends its iteration, writes a snapshot and stops. After that, or a kill, the same command goes on from the newest whole
snapshot and from the record after the last one that it was trained on; --iters may be raised. Crops, mirroring and dropout
are drawn anew. A loss that is no number, or stays far above ln C, ends the training with the likely causes.
A chain does what is not done yet: the weights to start from, each stage, and the stored maps between them.
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
from tools.support.errors import UserError, run_command
from tools.support.gpus import gpu_list


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command line; a value that is not given stays None and the stage's row holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'stage', metavar='STAGE',
        help=f'one of: {", ".join(STAGES)}; or a whole chain: {", ".join(CHAINS)}; STAGE@NAME for your own data in data/NAME',
    )  # fmt: skip
    parser.add_argument('--chain', action='store_true', help='first train what the stage starts from, as far as it is not done')
    parser.add_argument('--lmdb', metavar='DIR', help='default: data/<data set>/train_<crop_size>, maps: train_<blob>_<stage>')
    parser.add_argument('--weights', nargs='+', metavar='FILE', help="caffemodels to start from, in place of the row's")
    parser.add_argument('--iters', type=positive, metavar='N', help="last iteration (default: the row's)")
    parser.add_argument('--batch', type=positive, metavar='N', help="images per update (default: the row's)")
    parser.add_argument(
        '--batch-per-pass',
        type=positive,
        metavar='N',
        help='images in memory at once; divides the batch (of a chain: at most, each stage what divides its own)',
    )
    parser.add_argument('--crop-size', type=positive, metavar='PIXELS', help="372 + 8 n (default: the row's)")
    parser.add_argument('--base-lr', type=_rate, metavar='RATE', help="learning rate at the start (default: the row's)")
    parser.add_argument('--seed', type=positive, metavar='N', help="of Caffe's random numbers (default: the row's, or the clock)")
    parser.add_argument(
        '--upsample-loss', action='store_true', help='compare scores, upsampled by 8, with the labels of all pixels'
    )
    parser.add_argument(
        '--class-weights', type=_class_weights, metavar='median|FILE',
        help='of the loss: median frequency balancing, or a file with a class and its weight on each line (default: all alike)',
    )  # fmt: skip
    parser.add_argument('--snapshot', type=positive, metavar='N', help="iterations between snapshots (default: the row's)")
    parser.add_argument('--keep', type=positive, default=2, metavar='N', help='snapshots kept (default: %(default)s)')
    parser.add_argument('--gpu', type=gpu_list, metavar='N', help='0; or 0,1 or all, to share the batch (default: the CPU)')
    parser.add_argument(
        '--fresh',
        metavar='LAYERS',
        help="layers that start anew whatever --weights has of them, as final or 'final,ctx_*': for another number of classes",
    )
    parser.add_argument('--random-fc', action='store_true', help='start fc6 and fc7 from random values (msra filler)')
    parser.add_argument('--data', metavar='DIR', help="folder of the data sets' folders (default: data/)")
    parser.add_argument(
        '--val-every',
        type=positive,
        metavar='N',
        help='score the snapshot of every N-th iteration by mean IoU, beside the training',
    )
    parser.add_argument('--val-split', metavar='NAME', help='split that snapshots are scored on (default: val)')
    parser.add_argument('--val-limit', type=positive, metavar='N', help='score the first N images of it')
    parser.add_argument('--tensorboard', action='store_true', help='write event files for TensorBoard (needs tensorboardX)')
    parser.add_argument(
        '--max-loss', type=_loss, metavar='LOSS', help='stop if the loss stays above this (default: 3 ln C per pixel)'
    )
    parser.add_argument('--run-dir', metavar='DIR', help='default: runs/STAGE')
    parser.add_argument('--runs', metavar='DIR', help='of a chain: folder of the run folders (default: runs/)')
    parser.add_argument('--restart', action='store_true', help='move the run that is there aside and begin anew')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Train; the exit status."""
    args = parse_args(argv)
    chain = args.chain or is_chain(args.stage)
    _refuse_idle(args, chain)
    if chain:
        from tools.training.chain import follow

        last = ends(args.stage) if is_chain(args.stage) else (resolve(args.stage, STAGES, 'stage'),)
        follow(args.stage, last, args, parse_args)
        return 0
    from tools.training.session import train  # imports Caffe, whose absence is an error with one line
    from tools.training.settings import settings

    return train(settings(args))


def _refuse_idle(args: argparse.Namespace, chain: bool) -> None:
    """Raise UserError for an option that would do nothing without another."""
    if args.runs and not chain:
        raise UserError('--runs is the folder of the runs of a chain; give --run-dir, or --chain')
    for option in ('val_split', 'val_limit'):
        if getattr(args, option) and not args.val_every:
            raise UserError(f'--{option.replace("_", "-")} without --val-every (VAL_EVERY=) scores nothing; give that too')


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f'{number} is less than 1')
    return number


def _class_weights(text: str) -> str:
    """The word `median`, or the path of a file, absolute: a chain hands it on to commands that run in the checkout."""
    return text if text == 'median' else str(Path(text).absolute())


def _loss(text: str) -> float:
    """A loss that may be exceeded: above 0."""
    if not (loss := float(text)) > 0:
        raise argparse.ArgumentTypeError(f'{text} is not above 0')
    return loss


def _rate(text: str) -> float:
    """A learning rate: above 0, at most 1."""
    if not 0 < (rate := float(text)) <= 1:
        raise argparse.ArgumentTypeError(f'{text} is not in (0, 1]')
    return rate


if __name__ == '__main__':
    run_command(main, after_stop='the same command goes on')
