#!/usr/bin/env python3
"""Train a few iterations of every stage of the paper, to see before weeks of training that each fits into this machine and runs.

The command draws and prepares pictures in the sizes of each data set. Then it trains each stage at its own crop, from the result
of the stage before it, with the stored maps between them. If VGG-16 is not in pretrained/, the first stages start from small
random values. An iteration is one pass of one image, or of --batch-per-pass images; the memory of the row's own pass is estimated
beside it. The result is a table, printed and in OUT/rehearsal.md and rehearsal.json: the first loss beside that of a uniform
guess (ln C, times the pixels if the loss is a sum), seconds per iteration, and peak memory beside its estimate. All files lie in
OUT (3 GB at the end). If you run it again, it goes on with the missing stages.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

import argparse

from prototxt.experiments import DEMO, NETS, RECIPE, STAGES, FrontEnd, Stage
from prototxt.names import resolve
from tools.recipes.rehearsal import Rehearsal
from tools.recipes.rehearsal_rows import Asked
from tools.support.arguments import positive
from tools.support.atomic import locked
from tools.support.errors import run_command
from tools.support.gpus import gpu_number
from tools.support.paths import ROOT

PAPER, ALL = 'paper', 'all'


def of_paper(stage: Stage) -> bool:
    """Whether a stage trains one of the paper's own networks at full size."""
    front_end = NETS[stage.net].front_end
    return front_end == FrontEnd(final=front_end.final)


def chosen(words: list[str]) -> tuple[str, ...]:
    """The stages that the words stand for, each once. Stages on maps of VGG-16 are left out: make camvid-cpu runs them."""
    known = {name: stage for name, stage in STAGES.items() if stage.source != RECIPE}
    groups = {
        PAPER: [name for name, stage in known.items() if of_paper(stage)],
        ALL: [name for name, stage in known.items() if stage.source != DEMO],
    }
    names = [name for word in words for name in groups.get(word) or [resolve(word, known, 'stage')]]
    return tuple(dict.fromkeys(names))


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'stages', nargs='*', default=[PAPER], metavar='STAGE',
        help=f"stages; the stages that they start from run too; '{PAPER}': all of the paper's own networks (default); "
        f"'{ALL}': also the networks that the paper compares with",
    )  # fmt: skip
    parser.add_argument('--iters', type=positive, default=2, metavar='N', help='iterations of each stage (default: %(default)s)')
    parser.add_argument(
        '--batch-per-pass', type=positive, default=1, metavar='N',
        help='images in a pass; at most as many as in the row (default: %(default)s)',
    )  # fmt: skip
    parser.add_argument('--gpu', type=gpu_number, metavar='N', help='compute on this GPU (default: CPU)')
    parser.add_argument(
        '--out', type=Path, default=ROOT / 'out' / 'rehearse', metavar='DIR', help='folder for all files (default: out/rehearse/)'
    )
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Rehearse; returns the exit status."""
    args = parse_args(argv)
    out, stages = args.out.resolve(), chosen(args.stages)
    out.parent.mkdir(parents=True, exist_ok=True)
    asked = Asked(args.iters, args.batch_per_pass, args.gpu)
    with locked(out):  # another rehearsal there would delete the runs of this one
        rehearsal = Rehearsal(stages, asked, out)
        try:
            return rehearsal.follow()
        finally:
            print(f'\n{rehearsal.table()}', end='')


if __name__ == '__main__':
    run_command(main, after_stop='the same command goes on')
