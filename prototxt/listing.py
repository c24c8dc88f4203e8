"""The training stages as text for `make help`: what each needs, and how long its source ran it.

python3 -m prototxt.listing
"""

from prototxt.experiments import DEMO, RECIPE, STAGES, Stage
from prototxt.lmdb_names import lmdb_of

HEAD = ('train-', 'reads', 'starts from', 'iterations x batch')
GAP = '  '


def listing() -> str:
    """A line for each stage, under a heading, in columns."""
    lines = [HEAD, *(_line(name, stage) for name, stage in STAGES.items())]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ''.join(GAP.join(map(str.ljust, line, widths)).rstrip() + '\n' for line in lines)


def _line(name: str, stage: Stage) -> tuple[str, ...]:
    start = ', '.join([*stage.init, *(['random layers'] if stage.fresh else [])])
    return name, f'data/{lmdb_of(stage)}', start, _length(stage)


def _length(stage: Stage) -> str:
    """Iterations and batch, and whose they are: the paper's if nothing is said."""
    length = f'{stage.max_iter:,} x {stage.batch_size}'
    if taken := dict(stage.assumed).get('iterations'):
        return f'not given; here {length}, as in {taken}'
    return length if stage.source.startswith('paper') else f'{length}: {_whose(stage)}'


def _whose(stage: Stage) -> str:
    return 'this toolkit' if stage.source in (RECIPE, DEMO) else stage.source


if __name__ == '__main__':
    print(listing(), end='')
