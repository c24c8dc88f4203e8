"""Short names that a person types, resolved to rows of a table."""

from collections.abc import Iterable

from tools.support.errors import UserError


def resolve(name: str, table: Iterable[str], what: str = 'network') -> str:
    """The one row that `name` stands for: the row itself, or the only one beginning with it; `-` and `_` are alike.

    Raises UserError with the full names when none or several fit.
    """
    rows = list(table)
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
    raise UserError(f'no {what} {name}; there are: {", ".join(rows)}')
