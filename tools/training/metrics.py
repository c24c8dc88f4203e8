"""metrics.csv: one row per iteration, over all sessions of a run."""

import csv
from collections.abc import Iterable
from pathlib import Path

from tools.support.atomic import whole_file
from tools.training.caffe_log import LogRow, joined_rows

COLUMNS = ('iteration', 'loss', 'lr', 'seconds')


class Metrics:
    """The rows of a run, in memory and in `path`. They are computed from Caffe's log, so a kill loses none."""

    def __init__(self, path: Path, log: Path) -> None:
        """Write `path` from the sessions in `log`, if that file exists."""
        self.path = path
        self.rows = _rows(log) if log.exists() else []
        with whole_file(path) as temporary, temporary.open('w', newline='') as file:
            csv.writer(file).writerows([COLUMNS, *map(_cells, self.rows)])

    def append(self, row: LogRow) -> None:
        """Append a row and write it to the file at once."""
        self.rows.append(row)
        with self.path.open('a', newline='') as file:
            csv.writer(file).writerow(_cells(row))


def _rows(log: Path) -> list[LogRow]:
    """The rows of a log, read line by line: after weeks, a log has 100 MB."""
    with log.open(errors='replace') as lines:
        return joined_rows(lines)


def _cells(row: LogRow) -> Iterable[object]:
    return [getattr(row, column) for column in COLUMNS]
