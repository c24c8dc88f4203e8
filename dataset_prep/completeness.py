"""Checks that a data set is complete: fewer or more images than its owners list are an error."""

import argparse
from collections.abc import Mapping, Sequence

from dataset_prep.datasets import Dataset
from dataset_prep.records import Record
from tools.support.errors import UserError


def add_partial_argument(parser: argparse.ArgumentParser) -> None:
    """The option --allow-partial."""
    parser.add_argument('--allow-partial', action='store_true', help='accept an incomplete copy; its counts are printed')


def check_complete(what: str, found: Mapping[str, int], complete: Mapping[str, int], allow_partial: bool) -> None:
    """Raise UserError if a count differs from a complete copy's; if partial copies are allowed, print a note instead.

    Only splits that were found are compared, so a missing archive is no error.
    """
    differ = [name for name, count in found.items() if count != complete.get(name, count)]
    wrong = [f'{found[name]} {name} (complete: {complete[name]})' for name in differ]
    if not wrong:
        return
    if not allow_partial:
        raise UserError(
            f'this copy of {what} has {", ".join(wrong)}; fetch and unpack it anew, '
            'or go on with what is there: --allow-partial (PARTIAL=1 with make)'
        )
    print(f'note: this copy of {what} has {", ".join(wrong)}')


def check_splits(facts: Dataset, splits: Mapping[str, Sequence[Record]], allow_partial: bool) -> None:
    """check_complete for the splits of a data set."""
    check_complete(facts.name, {split: len(records) for split, records in splits.items()}, facts.splits, allow_partial)
