"""Summarises run folders: state, progress and score of each run."""

import fcntl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tools.support.errors import UserError
from tools.training.caffe_log import LogRow
from tools.training.record import FAILED, RECORD, read_record
from tools.training.run_folder import LOCK, LOG, METRICS, TRAIN_PROTOTXT
from tools.training.scores import best_score, contact_sheets, read_scores
from tools.training.snapshots import snapshots

TRAINING, KILLED, DAMAGED = 'training', 'killed', 'damaged'  # further states; record.py has the others
TAIL_BYTES = 4096  # bytes of metrics.csv that are read: some hundred rows
AVERAGED = 25  # rows whose mean is `loss`


@dataclass(frozen=True)
class Overview:
    """The state, progress and score of a run. `loss` is the mean of the last 25 iterations, `best_iou` a fraction."""

    name: str
    state: str
    stage: str | None = None
    iteration: int = 0  # iterations done
    max_iter: int | None = None
    loss: float | None = None
    lr: float | None = None
    best_iou: float | None = None
    best_iteration: int | None = None
    snapshot: str | None = None  # the newest caffemodel
    pictures: str | None = None  # the newest contact sheet of validation images
    begun: str | None = None
    sessions: int = 0
    problem: str | None = None  # why it failed


def overviews(folder: Path) -> Iterator[Overview]:
    """The overviews of all runs in `folder`, sorted by name."""
    for run_dir in sorted(path for path in folder.iterdir() if (path / TRAIN_PROTOTXT).exists()):
        yield overview(run_dir)


def overview(run_dir: Path) -> Overview:
    """The overview of one run. Damaged files are a state, not an error."""
    try:
        return _overview(run_dir)
    except (UserError, OSError) as error:
        return Overview(run_dir.name, DAMAGED, problem=str(error))
    except (LookupError, TypeError, AttributeError, ValueError) as error:
        return Overview(run_dir.name, DAMAGED, problem=f'{run_dir / RECORD} is damaged: {error!r}')


def _overview(run_dir: Path) -> Overview:
    """The overview of a run with sound files."""
    record = read_record(run_dir)
    session = record['sessions'][-1]
    state, _, problem = str(session.get('how', KILLED)).partition(': ')
    stage, begun, max_iter = record['settings']['stage'], str(record['sessions'][0]['begun']), int(session['max_iter'])
    rows, found = _last_rows(run_dir / METRICS), snapshots(run_dir)
    best, sheets = best_score(read_scores(run_dir)), contact_sheets(run_dir)
    return Overview(
        name=run_dir.name,
        state=TRAINING if is_held(run_dir) else state,
        stage=stage,
        iteration=rows[-1].iteration + 1 if rows else 0,
        max_iter=max_iter,
        loss=sum(row.loss for row in rows) / len(rows) if rows else None,
        lr=rows[-1].lr if rows else None,
        best_iou=best.mean_iou if best else None,
        best_iteration=best.iteration if best else None,
        snapshot=found[-1].caffemodel.name if found else None,
        pictures=str(sheets[max(sheets)]) if sheets else None,
        begun=begun,
        sessions=len(record['sessions']),
        problem=problem if state == FAILED else None,
    )


def is_held(run_dir: Path) -> bool:
    """Whether a training holds the lock of the folder."""
    try:
        with (run_dir / LOCK).open('rb') as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False


def _last_rows(path: Path) -> list[LogRow]:
    """The last complete rows of metrics.csv, without reading the whole file. Raises UserError for a damaged row."""
    if not path.exists():
        return []
    with path.open('rb') as file:
        file.seek(-min(TAIL_BYTES, path.stat().st_size), 2)
        lines = file.read().decode(errors='replace').splitlines(keepends=True)
    whole = [line for line in lines[1:] if line.endswith('\n')]  # the first line is the header or a part of a row
    try:
        return [_row(*line.rstrip().split(',')) for line in whole[-AVERAGED:]]
    except (ValueError, TypeError) as error:
        raise UserError(f'{path} is damaged ({error}); the next start of the training writes it anew from {LOG}') from error


def _row(iteration: str, loss: str, lr: str, seconds: str) -> LogRow:
    return LogRow(int(iteration), float(loss), float(lr), float(seconds))
