"""Finds the row of a table that a short name stands for."""

from collections.abc import Iterable

from tools.support.errors import UserError, nearest


def resolve(name: str, table: Iterable[str], what: str = 'network') -> str:
    """The row that `name` stands for: the row itself, or the only one that begins with it; `-` and `_` are alike.

    Variants of a row do not count: front_pas is front_pascal_voc, not front_pascal_voc_pooling. What follows an `@`, a user's
    own data set, stays as it is. Raises UserError with the full names when none or several fit.
    """
    name, at, own = name.partition('@')
    return _row(name, list(table), what) + at + own


def make_train(stage: str, *more: str) -> str:
    """The command that trains a stage: `make train-toy-front DATASET=mine` for toy-front@mine; `more` are other variables."""
    name, _, own = stage.partition('@')
    return ' '.join([f'make train-{name}', *([f'DATASET={own}'] if own else []), *more])


def _row(name: str, rows: list[str], what: str) -> str:
    if name in rows:
        return name
    plain = name.replace('-', '_')
    fits = [row for row in rows if row.replace('-', '_').startswith(plain)]
    exact = [row for row in fits if row.replace('-', '_') == plain]
    fits = exact or fits
    if fits:
        shortest = min(fits, key=len)
        if all(row == shortest or row.startswith(f'{shortest}_') for row in fits):
            return shortest
        raise UserError(f'{what} {name} could be any of: {", ".join(fits)}; give the full name')
    raise UserError(f'no {what} {name}; {nearest(name, rows)}there are: {", ".join(rows)}')
