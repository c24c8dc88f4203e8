"""Finds the network that a user or the paper means: dilation10; dilation8 and a data set; front, front-basic, front-large."""

import argparse
import sys
from collections.abc import Iterable

from dataset_prep.datasets import DATASETS, own_names
from prototxt.experiments import NETS, STAGES
from prototxt.names import resolve
from tools.support.errors import UserError
from tools.support.paths import RUNS

# Names in Tables 2 and 3. Without a data set they mean VOC, as in these tables. The other data sets have one context module, a
# Basic one (appendix A).
PAPER_NAMES = ('front', 'front_basic', 'front_large', 'fcn32s', 'fcn16s', 'fcn8s', 'deeplab', 'deeplab_msc')
PAPER_DATASET = 'pascal_voc'
ALIASES = {
    'front_basic_pascal_voc': 'basic_pascal_voc',
    'front_large_pascal_voc': 'dilation8_pascal_voc',
    'front_basic_camvid': 'dilation8_camvid',
    'front_basic_kitti': 'dilation7_kitti',
    'front_basic_cityscapes': 'dilation10_cityscapes',
}
HELP = 'dilation7, dilation10, front-large, fcn8s, or any name, or the beginning of one, of: ' + ', '.join(NETS)


def add_net_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --net and --dataset, the arguments of network()."""
    parser.add_argument('--net', required=True, help=HELP)
    parser.add_argument('--dataset', metavar='NAME', help='data set of the network, if --net fits several: --net dilation8')


def network(name: str, dataset: str | None = None, nets: Iterable[str] = NETS) -> str:
    """The row of NETS for a name and perhaps a data set. Raises UserError with the names if none or several fit.

    If `name` is not the row's own name, the row is printed on stderr.
    """
    rows = list(nets)
    base, at, own = name.partition('@')
    if at and dataset not in (None, own):
        raise UserError(f'--net {name} is of {own}, --dataset of {dataset}; leave one of them out')
    own = own or (dataset if dataset and _without_nets(dataset) else '')
    if own:
        found = f'{_for_own(base, own, rows)}@{own}'
    else:
        asked = base.replace('-', '_')
        if dataset is None and asked in PAPER_NAMES:
            dataset = PAPER_DATASET
        exact = asked in rows and dataset is None
        found = asked if exact else _with_dataset(asked, dataset, rows) if dataset else resolve(name, rows)
    if found not in (name, name.replace('-', '_')):
        print(f'network: {found}', file=sys.stderr)
    return found


def _without_nets(dataset: str) -> bool:
    """Whether a data set is known and has no networks of its own in the table, as a user's own data set."""
    return dataset in own_names() or (dataset in DATASETS and all(net.dataset != dataset for net in NETS.values()))


def _for_own(name: str, own: str, rows: list[str]) -> str:
    """The row for a data set without networks of its own. Of several rows that fit, it is the one that was trained on it here.

    If none or several were trained, the paper's names mean the VOC rows.
    """
    asked = name.replace('-', '_')
    if asked in rows or name in rows:
        return asked if asked in rows else name
    others = [row for alias, row in ALIASES.items() if alias.startswith(asked)]
    starts = (asked, asked.removeprefix('front_')) if asked in PAPER_NAMES else (asked,)
    fits = [row for row in rows if row in others or row.replace('-', '_').startswith(starts)]
    trained = [row for row in fits if any((RUNS / stage).is_dir() for stage in STAGES.of(f'{row}@{own}'))]
    if len(trained) == 1:
        return trained[0]
    if asked in PAPER_NAMES and not trained:
        return _with_dataset(asked, PAPER_DATASET, rows)
    return resolve(name, trained or rows)


def _with_dataset(asked: str, dataset: str, rows: list[str]) -> str:
    """The row of a data set whose name begins as asked, or that an alias stands for."""
    if asked in rows and NETS[asked].dataset == dataset:
        return asked
    for whole in (f'{asked}_{dataset}', f'{asked.removeprefix("front_")}_{dataset}'):
        if ALIASES.get(whole, whole) in rows:
            return ALIASES.get(whole, whole)
    of_dataset = [row for row in rows if NETS[row].dataset == dataset]
    if not of_dataset:
        there = ', '.join([*sorted({NETS[row].dataset for row in rows}), *own_names()])
        raise UserError(f'no network of a data set {dataset}; there are those of {there}')
    return resolve(asked, of_dataset, f'network of {dataset}')
