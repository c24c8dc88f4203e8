"""Prints the tables of stages and networks for `make stages` and `make nets`, and the names for `make train-NAME`.

python3 -m prototxt.listing {stages,nets,trainings}
python3 -m prototxt.listing unknown NAME: the error for `make train-NAME` with a name that is no stage
"""

import sys

from dataset_prep.datasets import DATASETS, own_names
from prototxt.chains import CHAINS
from prototxt.experiments import DEMO, NETS, RECIPE, STAGES, Stage
from prototxt.lmdb_names import lmdb_of
from prototxt.tables_md import NET_HEAD, net_row
from tools.support.errors import UserError, nearest, run_command
from tools.support.text_tables import columns

STAGE_HEAD = ('train-', 'reads', 'starts from', 'iterations x batch')


def stage_listing() -> str:
    """A table of the stages: what each needs, and how long its source trains it."""
    return '\n'.join(columns([STAGE_HEAD, *(_stage_line(name, stage) for name, stage in STAGES.items())]))


def net_listing() -> str:
    """A table of the networks."""
    return '\n'.join(columns([NET_HEAD, *(net_row(name, net) for name, net in NETS.items())]))


def training_names() -> str:
    """The names of all stages and chains, in one line."""
    return ' '.join([*STAGES, *CHAINS])


LISTINGS = {'stages': stage_listing, 'nets': net_listing, 'trainings': training_names}


def _stage_line(name: str, stage: Stage) -> tuple[str, ...]:
    start = ', '.join([*stage.init, *(['random layers'] if stage.fresh else [])])
    return name, f'data/{lmdb_of(stage)}', start, _length(stage)


def _length(stage: Stage) -> str:
    """Iterations and batch, with their source if it is not the paper."""
    length = f'{stage.max_iter:,} x {stage.batch_size}'
    if taken := dict(stage.assumed).get('iterations'):
        return f'not given; here {length}, as in {taken}'
    return length if stage.source.startswith('paper') else f'{length}: {_whose(stage)}'


def _whose(stage: Stage) -> str:
    return 'this toolkit' if stage.source in (RECIPE, DEMO) else stage.source


def main(argv: list[str] | None) -> None:
    """Print a listing, or raise UserError for a name that is no stage."""
    what, *names = argv or sys.argv[1:]
    if what == 'unknown':
        known = [*STAGES, *CHAINS]
        of_data = f'{names[0]} is a data set: make train-STAGE DATASET={names[0]}'
        fault = of_data if names[0] in (*DATASETS, *own_names()) else f'no stage or chain {names[0]}'
        raise UserError(f'{fault}; {nearest(names[0], known)}make stages lists them')
    print(LISTINGS[what]())


if __name__ == '__main__':
    run_command(main)
