"""Write the checked-in prototxt files (each network's deploy net, each stage's training net and solver) and the README's tables.

.venv/bin/python -m prototxt.generate [--out DIR]
"""

import argparse
from pathlib import Path

from prototxt.experiments import NETS, STAGES
from prototxt.networks import deploy, training, write
from prototxt.solver import solver
from prototxt.tables import refresh
from tools.support.errors import run_command
from tools.support.paths import PROTOTXT, ROOT


def lmdb_of(stage_name: str) -> str:
    """The LMDB that a stage reads, relative to the checkout: data/camvid/train_628, data/toy/train_final_toy-front."""
    stage = STAGES[stage_name]
    what = str(stage.crop_size) if stage.start == 'data' else f'{stage.start}_{stage.features_from}'
    return f'data/{NETS[stage.net].dataset}/train_{what}'


def generate(out: Path) -> list[Path]:
    """Write all files under `out`; returns their paths."""
    written = []
    for name in NETS:
        written.append(out / name / 'deploy.prototxt')
        write(deploy(name), written[-1])
    for name, stage in STAGES.items():
        folder = Path(stage.net) / name
        write(training(name, lmdb_of(name)), out / folder / 'train.prototxt')
        net_path = f'prototxt/{folder.as_posix()}/train.prototxt'
        write(solver(name, net_path, f'runs/{name}/snapshot'), out / folder / 'solver.prototxt')
        written += [out / folder / 'train.prototxt', out / folder / 'solver.prototxt']
    return written


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=PROTOTXT, help='folder to write to (default: prototxt/)')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    print(f'{len(generate(args.out))} files written under {args.out}')
    if args.out == PROTOTXT:
        refresh(ROOT / 'README.md')


if __name__ == '__main__':
    run_command(main)
