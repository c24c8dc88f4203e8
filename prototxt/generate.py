"""Write the prototxt files of networks: the deploy nets, and the nets and solver of each stage that trains them.

.venv/bin/python -m prototxt.generate: the checked-in files of the paper's networks, and TABLES.md
.venv/bin/python -m prototxt.generate --net NET: one network, to out/prototxt/; with --dataset NAME or --classes N for other data
"""

import argparse
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from dataset_prep.datasets import IGNORE_LABEL, Dataset, dataset, keep_own
from prototxt.experiments import NETS, PAPER_NETS, STAGES
from prototxt.lmdb_names import lmdb_of, val_lmdb_of
from prototxt.names import resolve
from prototxt.networks import deploy, evaluation, training, write
from prototxt.shapes import check_crop_size
from prototxt.solver import solver
from prototxt.tables_md import write_tables
from tools.support.errors import UserError, run_command
from tools.support.paths import PROTOTXT

ON_DEMAND = Path('out/prototxt')  # where one network's files go, from the current folder
UNNAMED = 'own'  # the name of the data set that --classes describes


def generate(
    out: Path,
    net_names: Iterable[str] = PAPER_NETS,
    *,
    place: str = 'prototxt',
    size_hw: tuple[int, int] | None = None,
    crop_size: int | None = None,
    upsample_loss: bool | None = None,
) -> list[Path]:
    """Write the files of networks and of their stages under `out`; returns the paths.

    `place` is the path of that folder in the solvers. `size_hw` replaces the tile of the rows, `upsample_loss` and (for stages
    on images) `crop_size` the values of the stages.
    """
    written = []

    def put(message, *parts: str) -> None:
        written.append(out.joinpath(*parts))
        write(message, written[-1])

    for net_name in net_names:
        net = NETS[net_name]
        put(deploy(net_name, size_hw=size_hw), net_name, 'deploy.prototxt')
        if net.context and not net.crf_rnn:
            put(deploy(net_name, start=net.front_end.final), net_name, 'deploy_context.prototxt')
        for name, stage in STAGES.of(net_name).items():
            crop = crop_size if stage.start == 'data' else None
            row = replace(stage, crop_size=crop or stage.crop_size, upsample_loss=upsample_loss or stage.upsample_loss)
            put(training(name, f'data/{lmdb_of(row)}', crop, upsample_loss=upsample_loss), net_name, name, 'train.prototxt')
            put(evaluation(name, f'data/{val_lmdb_of(row)}', crop, upsample_loss=upsample_loss), net_name, name, 'test.prototxt')
            put(
                solver(stage, f'{place}/{net_name}/{name}/train.prototxt', f'runs/{name}/snapshot'),
                net_name,
                name,
                'solver.prototxt',
            )
    return written


def network_of(args: argparse.Namespace) -> str:
    """The name of the network that `args` asks for; registers a data set for the classes and mean of --classes."""
    name = resolve(args.net, NETS)
    if args.dataset:
        name = f'{name.partition("@")[0]}@{dataset(args.dataset).name}'
    elif args.classes is not None:
        if not 2 <= args.classes <= IGNORE_LABEL:
            raise UserError(
                f'--classes {args.classes}: labels are 8 bits and {IGNORE_LABEL} is ignored; give 2 to {IGNORE_LABEL}'
            )
        mean = tuple(args.mean_bgr) if args.mean_bgr else dataset(NETS[name].dataset).mean_bgr
        classes = tuple(f'class {number}' for number in range(args.classes))
        keep_own(Dataset(UNNAMED, classes, ((0, 0, 0),) * args.classes, mean, {'train': 0, 'val': 0}))
        name = f'{name}@{UNNAMED}'
    return name


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--out', type=Path, metavar='DIR', help=f'folder to write to (default: prototxt/; with --net {ON_DEMAND}/)'
    )
    parser.add_argument('--net', help='only this network and its stages; the beginning of its name is enough')
    own = parser.add_mutually_exclusive_group()
    own.add_argument('--dataset', metavar='NAME', help='for your own data in data/NAME (make lmdb-custom)')
    own.add_argument('--classes', type=int, metavar='N', help='for data of N classes')
    parser.add_argument(
        '--mean-bgr',
        type=float,
        nargs=3,
        metavar=('B', 'G', 'R'),
        help="mean to subtract with --classes (default: the network's)",
    )
    parser.add_argument('--crop-size', type=int, metavar='PIXELS', help='crop of stages that train on images: 372 + 8 n')
    parser.add_argument('--tile', type=int, nargs=2, metavar=('H', 'W'), help='input of the deploy net, each 372 + 8 n')
    parser.add_argument('--upsample-loss', action='store_true', help='compare upsampled scores with the labels of all pixels')
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    args = parse_args(argv)
    for side in [*(args.tile or ()), *([args.crop_size] if args.crop_size is not None else [])]:
        check_crop_size(side)
    if not args.net:
        if args.dataset or args.classes is not None:
            raise UserError('--dataset and --classes are for one network: say which, with --net')
        out = args.out or PROTOTXT
        print(f'{len(generate(out))} files written under {out}')
        if out == PROTOTXT:
            write_tables(PROTOTXT / 'TABLES.md')
        return
    out = args.out or ON_DEMAND
    size_hw = tuple(args.tile) if args.tile else None
    upsample_loss = args.upsample_loss or None
    written = generate(
        out, [network_of(args)], place=str(out), size_hw=size_hw, crop_size=args.crop_size, upsample_loss=upsample_loss
    )
    print('\n'.join(map(str, written)))


if __name__ == '__main__':
    run_command(main)
