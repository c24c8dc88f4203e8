"""The paper's tables with our numbers beside them, for the terminal and as Markdown."""

import shlex
from collections.abc import Iterator, Sequence
from math import isnan

from dataset_prep.datasets import how_to_prepare
from prototxt.chains import stages_of
from prototxt.experiments import NETS, STAGES
from prototxt.lmdb_names import lmdb_of
from tools.report.paper_tables import PaperTable
from tools.report.results import Line, Result
from tools.report.server_scores import SERVER_SCORES
from tools.support.paths import DATA
from tools.support.text_tables import columns, markdown_table
from tools.training.preflight import images_made_by

HEAD = ('', 'split', 'paper', 'released weights', 'difference', 'trained here', 'difference')
ONLY_PAPERS = 'no number of ours (-)'
DATA_NOTE = 'data that these need and that is not here'
REMARKS = 'to know before comparing'

SERVER_NOTE = (
    f'the server scores what tools/submit.py packs; its answer, typed into {SERVER_SCORES} beside the maps, fills the cell'
)


def title(table: PaperTable) -> str:
    """The heading of a table; the paper's tables have a number."""
    return f'Table {table.number}. {table.title}' if table.number else table.title


def cells(line: Line, table: PaperTable) -> list[str]:
    """One row as text: name, split, and means in percent; blank if nothing was run, a dash if nothing can be run."""
    paper = line.paper.mean_iou if line.paper else None
    row = [line.name, line.split, number(paper)]
    if line.not_run:
        return row + ['-'] * (len(HEAD) - len(row))
    for result, never in ((line.released, False), (line.trained, bool(line.not_trained))):
        mean = result.scores(table)[0] if result else None
        row += ['-', '-'] if never else [number(mean), difference(mean, paper)]
    return row


def number(value: float | None) -> str:
    """67.123 -> 67.1; blank for none."""
    return '' if value is None or isnan(value) else f'{value:.1f}'


def difference(ours: float | None, paper: float | None) -> str:
    """Our number minus the paper's, with its sign."""
    return '' if ours is None or paper is None else f'{ours - paper:+.1f}'


def per_class(line: Line, table: PaperTable) -> list[tuple[str, list[float | None]]]:
    """Mean and columns in percent for the paper, released weights and weights trained here, where they exist."""
    found: list[tuple[str, list[float | None]]] = []
    if line.paper:
        found.append(('paper', [line.paper.mean_iou, *line.paper.class_iou]))
    found += [(name, result.scores(table)) for name, result in sides(line)]
    return found


def sides(line: Line) -> list[tuple[str, Result]]:
    """The results of a line, by whose weights."""
    both = (('released weights', line.released), ('trained here', line.trained))
    return [(name, result) for name, result in both if result]


def todo(lines: Sequence[Line]) -> list[tuple[str, str, str]]:
    """Row, column and commands of each blank cell that can be filled."""
    found = []
    for line in lines:
        for column, commands in (('released weights', line.released_todo), ('trained here', line.trained_todo)):
            if commands:
                found.append((f'{line.name}, {line.split}', column, ' && '.join(map(shlex.join, commands))))
    return found


def notes(blanks: Sequence[tuple[str, str, str]]) -> list[str]:
    """The notes below the commands that fill blank cells."""
    return [f'({SERVER_NOTE}: tools/README.md)'] if any('tools/submit.py' in commands for _, _, commands in blanks) else []


def only_papers(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """Rows that only have the paper's number, or are not trained here, with the reason."""
    reasons = [(f'{line.name}, {line.split}', line.not_run) for line in lines if line.not_run]
    return reasons + [(f'{line.name}, {line.split}, trained here', line.not_trained) for line in lines if line.not_trained]


def remarks(lines: Sequence[Line]) -> list[tuple[str, str]]:
    """Rows with what a reader must know to compare their numbers."""
    return [(f'{line.name}, {line.split}', line.note) for line in lines if line.note]


def missing_data(table: PaperTable, lines: Sequence[Line]) -> list[tuple[str, str]]:
    """(command, what it makes) for the lists of the table's splits, and the LMDBs of images of all stages that train a row."""
    makes: dict[str, dict[str, None]] = {}
    for line in lines:
        for path, command in _needed(table, line):
            if not (DATA / path).exists():
                makes.setdefault(command, {})[f'data/{path}'] = None
    return [(command, ', '.join(paths)) for command, paths in makes.items()]


def _needed(table: PaperTable, line: Line) -> Iterator[tuple[str, str]]:
    """What the commands of a row's blank cells read, relative to data/, and the command that makes it."""
    here = line.paper.here if line.paper else None
    if here is None or not (line.released_todo or line.trained_todo):
        return
    yield f'{NETS[here.net].folder}/{line.split}.json', how_to_prepare(table.dataset).removeprefix('run: ')
    for stage in (STAGES[name] for name in stages_of(here.stages[:1]) if line.trained_todo):
        if stage.start == 'data':
            yield lmdb_of(stage), images_made_by(stage, table.dataset)


def terminal(table: PaperTable, lines: Sequence[Line]) -> str:
    """The table for a terminal: the means of all rows, the columns of rows with our numbers, and commands for blank cells."""
    text = [f'{title(table)}{f" (paper, {table.section})" if table.section else ""}; mean IoU in percent']
    text += columns([HEAD, *(cells(line, table) for line in lines)], '<>')
    for line in lines:
        if sides(line):
            rows = [[line.name, 'mean', *table.columns]]
            rows += [[name, *map(number, values)] for name, values in per_class(line, table)]
            text += ['', *columns(list(zip(*rows, strict=True)), '<>')]
    blanks = todo(lines)
    if blanks:
        text += ['', 'blank cells:'] + [f'  {row}, {column}: {commands}' for row, column, commands in blanks]
        text += [f'  {note}' for note in notes(blanks)]
    missing = missing_data(table, lines)
    if missing:
        text += ['', f'{DATA_NOTE}:'] + [f'  {command}: {made}' for command, made in missing]
    kept = only_papers(lines)
    if kept:
        text += ['', f'{ONLY_PAPERS}:'] + [f'  {row}: {reason}' for row, reason in kept]
    if said := remarks(lines):
        text += ['', f'{REMARKS}:'] + [f'  {row}: {remark}' for row, remark in said]
    return '\n'.join(text)


def markdown(table: PaperTable, lines: Sequence[Line]) -> str:
    """The table as Markdown."""
    text = [f'## {title(table)}', '', f'{f"Paper, {table.section}. " if table.section else ""}IoU in percent.', '']
    text += markdown_table([HEAD, *(cells(line, table) for line in lines)])
    rows = [
        [f'{line.name}, {line.split}: {name}', *map(number, values)]
        for line in lines for name, values in per_class(line, table)
    ]  # fmt: skip
    text += ['', *markdown_table([['', 'mean', *table.columns], *rows])]
    blanks = todo(lines)
    if blanks:
        text += ['', *markdown_table([('blank cell', 'column', 'what fills it'), *((a, b, f'`{c}`') for a, b, c in blanks)])]
        text += ['', *notes(blanks)]
    missing = missing_data(table, lines)
    if missing:
        text += ['', *markdown_table([(DATA_NOTE, 'made by'), *((made, f'`{command}`') for command, made in missing)])]
    kept = only_papers(lines)
    if kept:
        text += ['', *markdown_table([(ONLY_PAPERS, 'why'), *kept])]
    if said := remarks(lines):
        text += ['', *markdown_table([(REMARKS, ''), *said])]
    return '\n'.join(text) + '\n'
