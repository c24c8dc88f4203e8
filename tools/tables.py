#!/usr/bin/env python3
"""Print the paper's Tables 2 to 8 beside our results, from the authors' weights and from weights trained here.
Tables of your own data follow.

Reads every scores.json below out/ and demo/ that tools/test.py wrote for a whole split, and every server_scores.json, a test
server's answer typed in beside the label maps. Prints the tables with the commands that fill each blank cell, and writes
OUT/tables.md and OUT/report.html, which has pictures, bars per class, confusion matrices and loss curves.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

import argparse
from collections.abc import Sequence

from tools.report.results import FOLDERS, find_results, lines_of, tables_of
from tools.report.tables_page import write_page
from tools.report.tables_text import markdown, terminal
from tools.support.atomic import whole_file
from tools.support.errors import UserError, run_command
from tools.support.paths import ROOT


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--out', type=Path, default=ROOT / 'out' / 'tables', metavar='DIR', help='default: out/tables/')
    parser.add_argument('--results', type=Path, nargs='+', metavar='DIR', help='folders with scores (default: out/ and demo/)')
    return parser.parse_args(argv)


def check_folders(folders: Sequence[Path]) -> None:
    """Raise UserError if a folder does not exist; a folder without results is fine."""
    for folder in folders:
        if not folder.is_dir():
            raise UserError(f'no folder {folder}; give one that tools/test.py wrote to by --results')


def main(argv: list[str] | None) -> None:
    args = parse_args(argv)
    check_folders(args.results or [])
    results = find_results(args.results or FOLDERS)
    page, text = args.out / 'report.html', args.out / 'tables.md'
    tables = tables_of(results)
    print('\n\n'.join(terminal(table, lines_of(table, results)) for table in tables))
    with whole_file(text) as temporary:
        temporary.write_text('\n'.join(markdown(table, lines_of(table, results)) for table in tables))
    write_page(page, results)
    print(f'\n{len(results)} tested networks found\n{text}\n{page}')


if __name__ == '__main__':
    run_command(main)
