#!/usr/bin/env python3
"""Pack the label maps of a test split for a benchmark's evaluation server, and check the archive by reading it again.

--pred is a folder of tools/test.py. VOC 2012: a .tar.gz with results/VOC2012/Segmentation/comp6_test_cls/<id>.png, ids 0 to 20
in the colours of VOC (comp6: trained on other data too; else --competition comp5). Cityscapes: a .zip with
<city>_<sequence>_<frame>.png of label ids, which differ from the ids that networks predict.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

import argparse

from dataset_prep.records import load_split
from tools.report.server_archives import SERVERS, check, check_present, pack
from tools.report.server_scores import SERVER_SCORES
from tools.support.atomic import whole_file
from tools.support.errors import UserError, run_command
from tools.support.paths import DATA, ROOT


def main(argv: list[str] | None) -> None:
    args = parse_args(argv)
    server = SERVERS[args.dataset]
    records = load_split(args.data or DATA / args.dataset, args.split)
    out = args.out or default_out(args.dataset, args.split, args.pred)
    if not out.name.endswith(server.suffix):
        raise UserError(f'--out {out}: the server takes a {server.suffix} file')
    check_present(records, args.pred)
    with whole_file(out) as temporary:
        pack(temporary, server, records, args.pred, args.competition)
        check(temporary, server, records, args.pred, args.competition)
    print(f'{out}: {len(records)} label maps, read again and found right')
    print(f"make tables shows the server's answer when it is typed into {args.pred / SERVER_SCORES}: tools/README.md")


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--dataset', required=True, choices=SERVERS, help='data set whose server takes the file')
    parser.add_argument('--pred', required=True, type=Path, metavar='DIR', help='folder of label maps, by tools/test.py')
    parser.add_argument('--data', type=Path, metavar='DIR', help='folder written by dataset_prep (default: data/<dataset>)')
    parser.add_argument('--split', default='test', help='default: %(default)s')
    parser.add_argument('--out', type=Path, metavar='FILE', help='default: one in out/submissions/, named after --pred')
    parser.add_argument('--competition', default='comp6', choices=('comp5', 'comp6'), help='of VOC (default: %(default)s)')
    return parser.parse_args(argv)


def default_out(dataset: str, split: str, pred: Path) -> Path:
    """Path of the archive, named after the folder of label maps, so that the archives of two networks differ."""
    folder = pred.absolute()
    folder = folder.parent if folder.name == split else folder
    name = f'{folder.name}_released' if folder.parent.name == 'released' else folder.name
    return ROOT / 'out' / 'submissions' / f'{dataset}_{split}_{name}{SERVERS[dataset].suffix}'


if __name__ == '__main__':
    run_command(main)
