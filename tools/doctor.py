#!/usr/bin/env python3
"""Show what is installed and what is missing: Caffe and its needs, data sets and weights (both optional), and what to do next.

+ is there; - is missing or broken, followed by what to do. Lines without a mark are information.

Runs with any Python 3.11 or newer, before anything is installed. The exit status is 1 if Caffe is not usable.
"""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 - what follows does not even import there, and before 3.6 not an f-string
    sys.exit('error: this is Python %d.%d; run it with 3.11 or newer: make doctor SYSTEM_PYTHON=PATH' % sys.version_info[:2])  # noqa: UP031

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from dataset_prep.datasets import DATASETS, dataset, how_to_prepare, own_names
from pretrained.weights import WEIGHTS
from tools.caffe_build.checkup import Line, caffe_lines, machine_lines, relative, shell_line
from tools.support.errors import UserError, run_command
from tools.support.paths import DATA


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command line: nothing but --help."""
    return argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(argv)


def main(argv: list[str] | None) -> int:
    """Print everything; returns 1 if Caffe is not usable."""
    parse_args(argv)
    shell = shell_line(os.environ.pop('LEFT_OUT', '').split())
    caffe = caffe_lines()
    datasets = [dataset_line(name) for name in [*DATASETS, *own_names()]]
    for title, lines in (
        ('Needed by everything: the machine', [*machine_lines(), shell]),
        ('Needed by everything: Caffe', caffe),
        ('Optional: data sets, in data/', datasets),
        ('Optional: weights, in pretrained/', [weight_line(name) for name in WEIGHTS]),
        ('Next', next_lines(caffe, any(line.state == '+' for line in datasets))),
    ):
        print(title)
        print('\n'.join(str(line) for line in lines))
    return 1 if any(line.state == '-' for line in caffe) else 0


def next_lines(caffe: Sequence[Line], has_data: bool) -> list[Line]:
    """What can be done now, and what else needs first. `caffe`: its lines. `has_data`: whether a data set is prepared."""
    broken = next((line.todo for line in caffe if line.state == '-' and line.todo), '')
    if broken:
        return [Line('-', 'everything', 'needs Caffe', broken)]
    lacks = [] if has_data else ['a data set']
    lacks += [] if WEIGHTS['vgg16'].path.is_file() else ['vgg16']
    return [
        Line('+', 'make demo', 'needs nothing else'),
        Line(' ', 'train a network', f'needs {" and ".join(lacks)}, see above')
        if lacks
        else Line('+', 'train a network', 'make stages lists them; each needs its data set'),
        Line(' ', 'label images', 'needs the weights of a network: one of those above, or trained here'),
    ]


def dataset_line(name: str) -> Line:
    """The splits of a data set with their counts, and its complete LMDBs."""
    try:
        folder, expected = DATA / name, dataset(name).splits
    except UserError as error:  # a user's own
        return Line('-', name, str(error))
    counts = {split: record_count(folder / f'{split}.json') for split in expected}
    if not any(counts.values()):
        return Line(' ', name, 'not there', preparation(name))
    fact = ', '.join(f'{split} {count or "missing"}' for split, count in counts.items())
    short = [f'{split} has {whole} in a complete copy' for split, whole in expected.items() if counts[split] != whole]
    stores = sorted(path.parent.name for path in folder.glob('*/manifest.json'))
    return Line('+', name, f'{fact}; LMDBs: {", ".join(stores) or "none"}', '; '.join(short))


def record_count(path: Path) -> int:
    """Number of records in a split's file; 0 if it is missing or broken."""
    try:
        return len(json.loads(path.read_text(encoding='utf-8'))['records'])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


def preparation(name: str) -> str:
    """How to prepare a data set."""
    return how_to_prepare(name).removeprefix('run: ') + (', or make demo' if name == 'toy' else '')


def weight_line(name: str) -> Line:
    """Whether a weight file is there, by its size. Its checksum is checked when it is fetched."""
    row = WEIGHTS[name]
    todo = row.made_by or f'make weights-{name}'
    if not row.path.is_file():
        return Line(' ', name, 'not there', todo)
    size = row.path.stat().st_size
    wanted = row.size or row.min_size or 0
    if size < wanted or (row.size and size != wanted):
        return Line('-', name, f'{relative(row.path)} has {size:,} bytes, not {wanted:,}: broken', todo)
    return Line('+', name, f'{relative(row.path)}, {size / 1e6:.0f} MB')


if __name__ == '__main__':
    run_command(main)
