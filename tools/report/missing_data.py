"""What of the data sets is not on this computer, of all that filling the blank cells of a table takes."""

from collections.abc import Iterator, Sequence

from dataset_prep.datasets import how_to_prepare
from prototxt.chains import stages_of
from prototxt.experiments import NETS, STAGES
from prototxt.lmdb_names import lmdb_of
from tools.report.paper_tables import PaperTable
from tools.report.results import Line
from tools.support.paths import DATA
from tools.training.preflight import images_made_by

DATA_NOTE = 'data that these need and that is not here'


def missing_data(table: PaperTable, lines: Sequence[Line]) -> list[tuple[str, str]]:
    """(command, what it makes) for the lists of the table's splits, and the LMDBs of images of all stages that train a row."""
    makes: dict[str, dict[str, None]] = {}
    for line in lines:
        for path, command in _needed(table, line):
            if not (DATA / path).exists():
                makes.setdefault(command, {})[f'data/{path}'] = None
    return [(command, ', '.join(paths)) for command, paths in makes.items()]


def _needed(table: PaperTable, line: Line) -> Iterator[tuple[str, str]]:
    """What filling a row's blank cells reads, relative to data/, and the command that makes it."""
    here = line.paper.here if line.paper else None
    if here is None or not (line.released_todo or line.trained_todo):
        return
    yield f'{NETS[here.net].folder}/{line.split}.json', how_to_prepare(table.dataset).removeprefix('run: ')
    for stage in (STAGES[name] for name in stages_of(here.stages[:1]) if line.trained_todo):
        if stage.start == 'data':
            yield lmdb_of(stage), images_made_by(stage, table.dataset)
