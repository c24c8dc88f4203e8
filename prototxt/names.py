"""Short names that a person types, resolved to rows of a table."""

from collections.abc import Iterable

from tools.support.errors import UserError
from tools.support.unknown import nearest

# As the paper's Table 3 calls them: front end, + Basic, + Large, each with CRF-RNN.
ALIASES = {f'front{context}-crfrnn': f'voc{context or "-front"}-crfrnn' for context in ('', '-basic', '-large')}


def resolve(name: str, table: Iterable[str], what: str = 'network') -> str:
    """The one row that `name` stands for: the row itself, or the only one beginning with it; `-` and `_` are alike.

    What follows an `@`, a user's own data set, stays as it is. Raises UserError with the full names when none or several fit.
    """
    name, at, own = name.partition('@')
    name = ALIASES.get(name.replace('_', '-'), name)
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
    if len(fits) == 1:
        return fits[0]
    if fits:
        raise UserError(f'{what} {name} could be any of: {", ".join(fits)}; give the full name')
    raise UserError(f'no {what} {name}; {nearest(name, rows)}there are: {", ".join(rows)}')
