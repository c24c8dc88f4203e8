"""Write the checked-in prototxt files (each network's deploy nets, each stage's nets and solver) and the README's tables.

.venv/bin/python -m prototxt.generate [--out DIR]
"""

import argparse
from pathlib import Path

from prototxt.experiments import NETS, STAGES
from prototxt.lmdb_names import lmdb_of, test_split
from prototxt.networks import deploy, testing, training, write
from prototxt.solver import solver
from prototxt.tables import refresh
from tools.support.errors import run_command
from tools.support.paths import PROTOTXT, ROOT


def generate(out: Path) -> list[Path]:
    """Write all files under `out`; returns their paths."""
    written = []

    def put(message, *parts: str) -> None:
        written.append(out.joinpath(*parts))
        write(message, written[-1])

    for name, net in NETS.items():
        put(deploy(name), name, 'deploy.prototxt')
        if net.context:
            put(deploy(name, start=net.front_end.final), name, 'deploy_context.prototxt')
    for name, stage in STAGES.items():
        put(training(name, f'data/{lmdb_of(stage)}'), stage.net, name, 'train.prototxt')
        put(testing(name, f'data/{lmdb_of(stage, test_split(stage))}'), stage.net, name, 'test.prototxt')
        net_path = f'prototxt/{stage.net}/{name}/train.prototxt'
        put(solver(name, net_path, f'runs/{name}/snapshot'), stage.net, name, 'solver.prototxt')
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
