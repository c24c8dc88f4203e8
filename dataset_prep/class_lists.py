"""Reads the classes of a user's own data: our list of names, or a file of another tool with names, ids and colours.

Our form has a class on each line, from id 0, with an optional colour after the name: `road 128 64 128`. Also read: CVAT's
labelmap.txt (road:128,64,128:parts:actions), CamVid's label_colors.txt (128 64 128 road), tables with a head line (name,r,g,b,
perhaps an id), ids before names (0 road), colours without names, colours as #804080, comments after #, labelme's __ignore__. Any
other line is an error that names it.
"""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count
from pathlib import Path
from typing import NamedTuple, NoReturn

from dataset_prep.datasets import IGNORE_LABEL, Colour
from dataset_prep.label_encodings import MOST_CLASSES
from dataset_prep.lists import read_lines
from tools.support.errors import UserError

FORM = 'write one class on each line, from id 0, with a colour after the name if you like: road 128 64 128'
IGNORED_NAME, IGNORED_IDS = '__ignore__', (-1, IGNORE_LABEL)  # lines with these are no classes
_BETWEEN = r'\s*[\s,;:|=]\s*'
_COLOUR = r'(?P<colour>[\[(]?\s*\d+\s*[\s,;]\s*\d+\s*[\s,;]\s*\d+\s*[\])]?|(?:#|0x)[0-9a-fA-F]{6})'
_ID, _NAME = r'(?P<id>-?\d+)', r'(?P<name>\S.*?)'
_WITHOUT_IDS = tuple(
    re.compile(form)
    for form in (
        f'{_NAME}:{_COLOUR}?:[^:]*:[^:]*', _COLOUR, f'{_NAME}{_BETWEEN}{_COLOUR}', f'{_COLOUR}{_BETWEEN}{_NAME}', _NAME,
    )
)  # fmt: skip
_FORMS_AFTER_IDS = (f'{_NAME}{_BETWEEN}{_COLOUR}', f'{_COLOUR}{_BETWEEN}{_NAME}', _NAME)
_WITH_IDS = tuple(re.compile(rf'{_ID}[.)]?{_BETWEEN}{form}') for form in _FORMS_AFTER_IDS)
_COLUMNS = {  # of a table, each with the heads that it may have
    'name': ('name', 'names', 'class_name', 'classname', 'class', 'classes', 'label', 'labels', 'category', 'title'),
    'id': ('', 'id', 'index', 'idx', 'value', 'class_id', 'label_id'),  # '': pandas writes it so
    'red': ('r', 'red'),
    'green': ('g', 'green'),
    'blue': ('b', 'blue'),
    'colour': ('color', 'colour', 'rgb', 'color_rgb', 'hex'),
}


class ClassLine(NamedTuple):
    """A class in a list: its line, and its id and colour if these are given."""

    line: int
    name: str
    colour: Colour | None = None
    id: int | None = None


def read_classes(text: str) -> list[tuple[str, Colour]]:
    """Names and colours of classes in the order of their ids: from a file, or as many as a number says.

    A class without a colour gets the colour of its id in VOC's palette, or the next free one. Raises UserError for an unreadable
    line, ids that are not 0 to N-1, and classes or colours that occur twice.
    """
    if text.isdecimal():
        rows, where = [ClassLine(0, f'class {index}') for index in range(int(text))], f'--classes {text}'
    else:
        rows, where = _read(Path(text)), text
    if not 2 <= len(rows) <= MOST_CLASSES:
        raise UserError(f'{where}: {len(rows)} classes; there must be from 2 to {MOST_CLASSES}')
    taken = {row.colour for row in rows if row.colour}
    found = []
    for index, row in enumerate(rows):
        own_and_unused = map(voc_colour, chain([index], count(len(rows))))  # its own colour, then those of ids that no class has
        colour = row.colour or next(free for free in own_and_unused if free not in taken)
        taken.add(colour)
        found.append((row.name, colour))
    return found


def read_palette(path: Path) -> list[tuple[str, Colour]]:
    """Names and colours by id, from a file with a colour for each name. Raises the errors of read_classes()."""
    rows = _read(path)
    if lacking := [row for row in rows if row.colour is None]:
        raise UserError(
            f'{path} line {lacking[0].line}: {lacking[0].name} has no colour, so its pixels cannot be recognized; {FORM}'
        )
    if not 1 <= len(rows) <= MOST_CLASSES:
        raise UserError(f'{path}: {len(rows)} classes; there may be {MOST_CLASSES}')
    return [(row.name, row.colour) for row in rows if row.colour]


def voc_colour(index: int) -> Colour:
    """The colour of an id in VOC's palette: bits 3k, 3k+1, 3k+2 of the id are bit 7-k of red, green and blue."""
    red, green, blue = (sum((index >> 3 * place + channel & 1) << 7 - place for place in range(8)) for channel in range(3))
    return red, green, blue


def _read(path: Path) -> list[ClassLine]:
    """The classes of a file in the order of their ids."""
    lines = {number: line for number, line in read_lines(path).items() if not re.match(r'#(?![0-9a-fA-F]{6}\b)', line)}
    rows = [row for row in _rows(path, lines) if row.name != IGNORED_NAME and row.id not in IGNORED_IDS]
    for what, column in (('class', 'name'), ('colour', 'colour'), ('id', 'id')):
        first: dict[object, int] = {}
        for row in rows:
            value = getattr(row, column)
            if value is not None and first.setdefault(value, row.line) != row.line:
                raise UserError(f'{path} line {row.line}: the {what} {value} is already in line {first[value]}')
    if any(row.id is not None for row in rows):
        rows.sort(key=lambda row: row.id or 0)
        for index, row in enumerate(rows):
            if row.id != index:
                raise UserError(f'{path} line {row.line}: {row.name} has id {row.id}, and none has id {index}; ids are 0 to N-1')
    return rows


def _rows(path: Path, lines: Mapping[int, str]) -> list[ClassLine]:
    """The classes of the lines of a file, by their numbers, in its order."""
    if not lines:
        raise UserError(f'{path} has only comments; {FORM}')
    if table := _table(path, lines):
        return table
    with_ids = [_parsed(path, number, line, _WITH_IDS) for number, line in lines.items()]
    rows = [row for row in with_ids if row]
    if len(rows) < len(lines):
        rows = [_parsed(path, number, line, _WITHOUT_IDS) or _refuse(path, number, line) for number, line in lines.items()]
    rows = _without_ids_behind(path, rows)
    return [row._replace(name=row.name or f'class {index}') for index, row in enumerate(rows)]


def _parsed(path: Path, number: int, line: str, forms: Iterable[re.Pattern]) -> ClassLine | None:
    """The class in a line by the first of `forms` that fits; None if none does."""
    for form in forms:
        if match := form.fullmatch(line):
            parts = match.groupdict()
            name = _name(parts['name']) if 'name' in parts else ''
            if name is not None:
                colour, number_of = parts.get('colour'), parts.get('id')
                id_number = None if number_of is None else int(number_of)
                return ClassLine(number, name, _colour(path, number, colour) if colour else None, id_number)
    return None


def _name(text: str) -> str | None:
    """A name without the quotes around it; None if it is no name: without a letter, with several numbers, or with marks of
    another form."""
    name = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in '"\'' else text
    other = re.search(r'[\x00-\x1f\x7f{}\[\]<>|=:;#"\\]|^[-*,.]|[,.]$|\d\s*[\s,]\s*\d|,\s*[\d.]+$|^\d+\s*,', name)
    return name if any(map(str.isalpha, name)) and not other else None


def _colour(path: Path, number: int, text: str) -> Colour:
    """R, G, B from a text with three decimal numbers, or like #804080."""
    by_hex = re.fullmatch(r'(?:#|0x)(..)(..)(..)', text)
    parts = [int(part, 16) for part in by_hex.groups()] if by_hex else [int(part) for part in re.findall(r'\d+', text)]
    if len(parts) != 3 or max(parts) > 255:
        raise UserError(f'{path} line {number}: the colour {text}: a colour has three numbers from 0 to 255')
    return parts[0], parts[1], parts[2]


def _table(path: Path, lines: Mapping[int, str]) -> list[ClassLine] | None:
    """The classes of a table whose first line names the columns; None if the lines are no such table."""
    (first, head), *rest = lines.items()
    separator = max(',;\t|', key=head.count)
    separator = separator if separator in head else ' '
    heads = [cell.strip().strip('"\'').lower() for cell in head.split(separator)]
    known = {cell: column for column, cells in _COLUMNS.items() for cell in cells}
    if 'name' in heads:
        known |= {'class': 'id', 'label': 'id'}
    columns = [known.get(cell, '') for cell in heads]
    if 'name' not in columns or (separator == ' ' and '' in columns):
        return None
    if '' in columns or len(set(columns)) < len(columns):
        _refuse(path, first, head)
    rows = []
    for number, line in rest:
        cells = [cell.strip() for cell in next(csv.reader([line], delimiter=separator, skipinitialspace=True))]
        if len(cells) != len(columns):
            _refuse(path, number, line)
        parts = dict(zip(columns, cells, strict=True))
        three = ' '.join(parts[part] for part in ('red', 'green', 'blue') if part in parts)
        colour, id_text, name = parts.get('colour') or three, parts.get('id', ''), _name(parts['name'])
        wrong = (colour and not re.fullmatch(_COLOUR, colour)) or ('id' in parts and not re.fullmatch(r'-?\d+', id_text))
        if name is None or wrong:
            _refuse(path, number, line)
        rows.append(ClassLine(number, name, _colour(path, number, colour) if colour else None, int(id_text) if id_text else None))
    return rows


def _without_ids_behind(path: Path, rows: Sequence[ClassLine]) -> list[ClassLine]:
    """The rows; if all names end in numbers, 0 to N-1 in any order (`road 0`, `sky 1`), these become the ids.

    In `lane 1`, `lane 2` the number is part of the name. Raises UserError for other numbers, because they may be values in label
    files or the fourth number of a colour.
    """
    ends = [match for row in rows if (match := re.fullmatch(r'(.*\S)\s+(\d+)', row.name))]
    if len(ends) < len(rows) or len({match[1] for match in ends}) == 1:
        return list(rows)
    if sorted(int(match[2]) for match in ends) != list(range(len(rows))):
        raise UserError(f'{path} line {rows[0].line}: {ends[0][2]} after {ends[0][1]} is not understood; {FORM}')
    return [row._replace(name=match[1], id=int(match[2])) for row, match in zip(rows, ends, strict=True)]


def _refuse(path: Path, number: int, line: str) -> NoReturn:
    raise UserError(f'{path} line {number}: {line!r} is not understood; {FORM}')
