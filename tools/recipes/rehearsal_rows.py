"""The results of a rehearsal: a row for each stage, and their table."""

import json
import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tools.netinfo.fit import gb
from tools.support.atomic import write_json
from tools.support.text_tables import markdown_table

HEAD = (
    'stage', 'crop', 'images per pass', 'first loss', 'expected', 's/iteration', 'peak memory', 'estimated',
    "estimated, the row's pass", 'remark',
)  # fmt: skip
OK = 'ok'
TOO_FAR = 1.5  # times the loss of a uniform guess


@dataclass(frozen=True)
class Asked:
    """The settings of all stages: iterations, most images in a pass, and a GPU or the CPU."""

    iters: int
    batch_per_pass: int
    gpu: int | None = None

    def covers(self, other: 'Asked') -> bool:
        """Whether a run with these settings also serves `other`."""
        return replace(self, iters=other.iters) == other and self.iters >= other.iters


@dataclass(frozen=True)
class RehearsalRow:
    """A stage that ran. `expected` is the loss of a uniform guess, ln C; bytes are those of the GPU if one was used."""

    stage: str
    asked: Asked
    size: str
    images: int
    row_images: int
    first_loss: float
    expected: float
    seconds: float
    peak_bytes: int
    estimate_bytes: float
    row_estimate_bytes: float
    goes_on: bool  # it starts from another stage, which may have learned something

    @property
    def sound(self) -> bool:
        """Whether the first loss is as expected."""
        return self.remark == OK

    @property
    def remark(self) -> str:
        """What is wrong with the first loss; 'ok' if nothing is."""
        if not math.isfinite(self.first_loss) or self.first_loss > TOO_FAR * self.expected:
            return 'first loss too large: do weights and labels fit?'
        if not self.goes_on and self.first_loss < self.expected / TOO_FAR:
            return 'first loss too small for untrained weights: are there labels?'
        return OK

    def cells(self) -> tuple[str, ...]:
        """The cells of the row, as text."""
        estimates = map(gb, (self.estimate_bytes, self.row_estimate_bytes))
        return (
            self.stage, self.size, f'{self.images} of {self.row_images}', f'{self.first_loss:.4g}', f'{self.expected:.4g}',
            f'{self.seconds:.3g}', gb(self.peak_bytes), *estimates, self.remark,
        )  # fmt: skip


def read_rows(path: Path) -> dict[str, RehearsalRow]:
    """The recorded rows by stage."""
    rows = json.loads(path.read_text()) if path.exists() else []
    return {row['stage']: RehearsalRow(**(row | {'asked': Asked(**row['asked'])})) for row in rows}


def write_rows(path: Path, rows: Iterable[RehearsalRow]) -> None:
    """Write the rows, all or none."""
    write_json(path, [asdict(row) for row in rows])


def markdown(lines: Iterable[tuple[str, ...]]) -> str:
    """A Markdown table under HEAD whose columns are aligned in a terminal, too."""
    return '\n'.join(markdown_table([HEAD, *lines], padded=True)) + '\n'


def failed(stage: str, reason: str) -> tuple[str, ...]:
    """The cells of a stage that failed."""
    return (stage, *[''] * (len(HEAD) - 2), f'FAILED: {reason}')
