"""One HTML page: the paper's tables beside ours, bars, confusion matrices, pictures and loss curves. Opens from disk."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader

from dataset_prep.datasets import Dataset, dataset
from prototxt.experiments import NETS
from tools.report import figures, tables_text
from tools.report.content import Curve, read_curve
from tools.report.page_pictures import data_uri, loss_plot
from tools.report.paper_tables import PaperTable
from tools.report.results import Line, Result, lines_of, tables_of
from tools.report.strips import Strip, timeline
from tools.report.tables_text import cells, number, per_class, sides
from tools.scoring.score_tables import other_measures, summary
from tools.support.atomic import whole_file
from tools.support.paths import RUNS


@dataclass(frozen=True)
class Section:
    """A table and its rows."""

    table: PaperTable
    lines: Sequence[Line]

    @property
    def blanks(self) -> list[tuple[str, str, str]]:
        return tables_text.todo(self.lines)

    @property
    def notes(self) -> list[str]:
        return tables_text.notes(self.blanks)

    @property
    def missing(self) -> list[tuple[str, str]]:
        return tables_text.missing_data(self.table, self.lines)

    @property
    def kept(self) -> list[tuple[str, str]]:
        return tables_text.only_papers(self.lines)

    @property
    def remarks(self) -> list[tuple[str, str]]:
        return tables_text.remarks(self.lines)

    @property
    def unprinted(self) -> list[str]:
        """Columns without a number of the paper in any row: VOC's background."""
        if not self.table.rows:
            return []
        printed = zip(*(row.class_iou for row in self.table.rows), strict=True)
        return [name for name, values in zip(self.table.columns, printed, strict=True) if values == (None,) * len(values)]

    @property
    def measured(self) -> list[Line]:
        """Rows that have our numbers."""
        return [line for line in self.lines if sides(line)]


@dataclass(frozen=True)
class Gallery:
    """Pictures of one split; `folder` is the folder of its data set in data/."""

    facts: Dataset
    folder: str
    split: str
    side_by_side: Sequence[Strip]
    worst: Sequence[tuple[str, Sequence[Strip]]]
    stages: Sequence[Strip]

    @property
    def legend(self) -> list[tuple[str, tuple[int, int, int]]]:
        return list(zip(self.facts.classes, self.facts.palette, strict=True))


@dataclass(frozen=True)
class Matrix:
    """A confusion matrix as fractions of each true class, with rows that sum to one, and measures that are in no table."""

    title: str
    measures: str
    classes: tuple[str, ...]
    rows: list[tuple[str, list[float | None]]]


def sections(results: Sequence[Result]) -> list[Section]:
    """All tables with their rows."""
    return [Section(table, lines_of(table, results)) for table in tables_of(results)]


def galleries(results: Sequence[Result]) -> list[Gallery]:
    """Pictures of every tested split whose images and label maps exist."""
    found = []
    for folder, split in dict.fromkeys((NETS[result.net].folder, result.split) for result in results):
        fitting = [result for result in results if (NETS[result.net].folder, result.split) == (folder, split)]
        tested = [(result, figures.records_of(result)) for result in fitting]
        tested = [(result, records) for result, records in tested if records][::-1]
        if not tested:
            continue
        common = [record for record in tested[0][1] if all(record in records for _, records in tested)]
        systems = [result for result, _ in tested]
        found.append(
            Gallery(
                dataset(fitting[0].dataset), folder, split,
                figures.side_by_side(systems, common) if common else [],
                [(result.name, figures.worst(result, records)) for result, records in tested],
                figures.through_stages(systems, common[len(common) // 2]) if common and len(systems) > 1 else [],
            )
        )  # fmt: skip
    return found


def matrices(results: Sequence[Result]) -> list[Matrix]:
    """Confusion matrices of every result that was scored here."""
    made = []
    for result in (result for result in results if result.confusion):  # a server's answer has none
        classes = dataset(result.dataset).classes
        rows = []
        for name, counts in zip(classes, result.confusion, strict=True):
            total = sum(counts)
            rows.append((name, [count / total if total else None for count in counts]))
        title = f'{result.name}, {result.dataset} {result.split}, {result.images} images'
        made.append(Matrix(title, other_measures(summary(classes, np.array(result.confusion))), classes, rows))
    return made


def curves() -> list[tuple[str, str, Strip | None]]:
    """For each training run its name, its loss curve, and its snapshots on validation images, if they were scored."""
    found = []
    for path in sorted(RUNS.glob('*/metrics.csv')):
        curve: Curve = read_curve(path.parent.name, path.parent)
        if curve.losses:
            found.append((curve.name, data_uri(loss_plot([curve], None)), timeline(curve)))
    return found


def write_page(path: Path, results: Sequence[Result]) -> None:
    """Write the page. A result whose weights have seen the images is only named with the reason, as in the tables."""
    shown = [result for result in results if not result.left_out]
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    environment.filters['number'] = number
    text = environment.get_template('tables.html').render(
        head=tables_text.HEAD, only_papers=tables_text.ONLY_PAPERS, remarks=tables_text.REMARKS, data_note=tables_text.DATA_NOTE,
        cells=cells, per_class=per_class, title=tables_text.title,
        sections=sections(results), results=results, galleries=galleries(shown), matrices=matrices(shown), curves=curves(),
    )  # fmt: skip
    with whole_file(path) as temporary:
        temporary.write_text(text)
