"""Tables as text: columns for a terminal, and Markdown."""

from collections.abc import Sequence
from itertools import chain, repeat

GAP = '  '


def columns(rows: Sequence[Sequence[str]], align: str = '<') -> list[str]:
    """A line for each row, its cells in columns two spaces apart.

    `align` has `<` or `>` for each column, text to the left or numbers to the right; the last one holds for all further columns.
    """
    sides = list(zip(chain(align, repeat(align[-1])), _widths(rows), strict=False))
    return [GAP.join(f'{cell:{side}{width}}' for cell, (side, width) in zip(row, sides, strict=True)).rstrip() for row in rows]


def markdown_table(rows: Sequence[Sequence[str]], *, padded: bool = False) -> list[str]:
    """The lines of a Markdown table, whose first row is the heading; if `padded`, its columns are aligned in a terminal, too."""
    head, *rest = [[cell.replace('|', '\\|') for cell in row] for row in rows]
    widths = _widths([head, *rest]) if padded else [0] * len(head)
    rule = ['-' * (width or 3) for width in widths]
    return [f'| {" | ".join(map(str.ljust, row, widths))} |' for row in (head, rule, *rest)]


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(len, column)) for column in zip(*rows, strict=True)]
