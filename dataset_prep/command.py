"""The parts that all commands for data sets share."""

import argparse
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from dataset_prep.datasets import Dataset, how_to_prepare
from dataset_prep.prepare import add_arguments, lmdbs_asked, prepare
from dataset_prep.records import Record
from dataset_prep.relisting import check_lists
from dataset_prep.statistics import Scan
from tools.support.errors import UserError


def command_parser(module: str, doc: str | None) -> argparse.ArgumentParser:
    """The parser of `python -m dataset_prep.<module>`, with its docstring as the description."""
    return argparse.ArgumentParser(
        prog=f'.venv/bin/python -m dataset_prep.{module}', description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )


def add_shared_arguments(parser: argparse.ArgumentParser, default_out: Path | None, crop_sizes: Sequence[int]) -> None:
    """Add the options of all data sets that are made of files."""
    parser.add_argument('--lists-only', action='store_true', help='check all files and list the splits, but write no LMDB')
    add_arguments(parser, default_out, crop_sizes)


def size(text: str) -> tuple[int, int]:
    """(width, height) from text like 640x480."""
    match = re.fullmatch(r'([1-9]\d*)x([1-9]\d*)', text)
    if not match:
        raise argparse.ArgumentTypeError(f'{text!r} is not a size; write it as WIDTHxHEIGHT, such as 640x480')
    return int(match[1]), int(match[2])


def data_folder(args: argparse.Namespace, facts: Dataset, split: str | None = None) -> Path:
    """The folder of --data. If it was not given, raises UserError with the make target."""
    if args.data is None:
        target = how_to_prepare(facts.name, split).removeprefix('run: ')
        raise UserError(f'give the folder of {facts.name}: {target}, or --data FOLDER')
    return args.data


def write(
    args: argparse.Namespace,
    facts: Dataset,
    splits: dict[str, list[Record]],
    crop_sizes: Mapping[str, Sequence[int]],
    counted: Mapping[str, Scan] | None = None,
) -> None:
    """Check existing lists, then prepare. With --lists-only no LMDB is written.

    A split with a scan in `counted` is not read again.
    """
    check_lists(args.out, splits)
    lmdbs = {} if args.lists_only else lmdbs_asked(args, facts, crop_sizes)
    prepare(args.out, facts, splits, lmdbs, args.encoding, args.seed, counted)
