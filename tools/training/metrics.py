"""metrics.csv: one row an iteration, whatever number of sessions the run took."""

import csv
from collections.abc import Iterable
from pathlib import Path

from tools.support.atomic import whole_file
from tools.training.caffe_log import Row, joined_rows

COLUMNS = ('iteration', 'loss', 'lr', 'seconds')


class Metrics:
    """The rows of a run, in memory and in `path`. They are a function of Caffe's log, so that a kill loses none of them."""

    def __init__(self, path: Path, log: Path) -> None:
        """Write `path` anew from the sessions in `log`, which may not be there yet."""
        self.path = path
        self.rows = _rows(log) if log.exists() else []
        with whole_file(path) as temporary, temporary.open('w', newline='') as file:
            csv.writer(file).writerows([COLUMNS, *map(_cells, self.rows)])

    def append(self, row: Row) -> None:
        """Add a row, in the file at once."""
        self.rows.append(row)
        with self.path.open('a', newline='') as file:
            csv.writer(file).writerow(_cells(row))


def _rows(log: Path) -> list[Row]:
    """The rows of a log, which is not held in memory: that of weeks has a hundred megabytes, of many stops more."""
    with log.open(errors='replace') as lines:
        return joined_rows(lines)


def _cells(row: Row) -> Iterable[object]:
    return [getattr(row, column) for column in COLUMNS]
