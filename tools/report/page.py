"""Writes the HTML page of a report, everything in one file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, FileSystemLoader

from dataset_prep.contact_sheet import spread
from dataset_prep.datasets import Dataset
from dataset_prep.records import Record
from tools.report import page_pictures
from tools.report.content import Curve, Done, Scores, System, read_scores
from tools.report.paper_tables import PaperRow
from tools.report.strips import Picture, Strip, drawing, photo, timeline
from tools.scoring import percent
from tools.support.atomic import whole_file
from tools.support.text_tables import columns

PICTURE_PX = 360  # width of a picture in the page


@dataclass(frozen=True)
class Report:
    """The content of a page. `notes`: paragraphs about what was run. `paper`: the paper's row of a system, if there is one.

    `unseen`: an image that no network was trained or tested on, and the system that labelled it. `next_steps`: pairs of a purpose
    and a command.
    """

    title: str
    notes: Sequence[str]
    dataset: Dataset
    records: Sequence[Record]
    systems: Sequence[System]
    curves: Sequence[Curve]
    done: Sequence[Done]
    paper: dict[str, PaperRow] = field(default_factory=dict)
    unseen: tuple[Record, System] | None = None
    next_steps: Sequence[tuple[str, str]] = ()


def write_report(report: Report, folder: Path, rows: int = 6) -> tuple[Path, Path]:
    """Write `picture.png` and `report.html` into `folder`; returns their paths."""
    shown = spread(report.records, rows)
    titles = ['Image', 'Ground truth', *(system.name for system in report.systems)]
    sheet = page_pictures.sheet([page_pictures.row(record, report.systems, report.dataset) for record in shown], titles)
    picture, page = folder / 'picture.png', folder / 'report.html'
    with whole_file(picture) as temporary:
        temporary.write_bytes(page_pictures.encode_png(sheet))
    with whole_file(page) as temporary:
        temporary.write_text(_html(report, [_strip(record, report.systems, report.dataset) for record in shown]))
    return picture, page


def publish(report: Report, folder: Path) -> None:
    """Write picture and page, and print the table of scores and the paths."""
    picture, page = write_report(report, folder)
    print('\n' + text_table([read_scores(system) for system in report.systems]))
    print(f'\npicture: {picture}\nreport:  {page}')


def text_table(scores: Sequence[Scores]) -> str:
    """The table in the form of the paper's Table 3 (one row a system, per-class IoU, then the mean, in percent)."""
    classes = list(scores[0].class_iou)
    rows = [(row.name, *(percent(row.class_iou[name]) for name in classes), percent(row.mean_iou)) for row in scores]
    return '\n'.join(columns([('', *classes, 'mean IoU'), *rows], '<>'))


def _strip(record: Record, systems: Sequence[System], dataset: Dataset) -> Strip:
    """The pictures of a record, each on its own, so that a narrow window stacks them."""
    image, *maps = page_pictures.row(record, systems, dataset)
    names = ['Ground truth', *(system.name for system in systems)]
    drawn = [Picture(name, drawing(labels, PICTURE_PX)) for name, labels in zip(names, maps, strict=True)]
    return Strip(record.id, (Picture('Image', photo(image, PICTURE_PX)), *drawn))


def _bars(report: Report, scores: Sequence[Scores]) -> bytes | None:
    """Bars of each class beside the paper's, if the paper has a row on the same data set."""
    rows = {f"{name}, the paper's": row for name, row in report.paper.items() if row.dataset == report.dataset.name}
    if not rows:
        return None
    ours: dict[str, Sequence[float]] = {row.name: [100 * (value or 0) for value in row.class_iou.values()] for row in scores}
    paper: dict[str, Sequence[float]] = {name: [value or 0 for value in row.class_iou] for name, row in rows.items()}
    return page_pictures.class_bars(report.dataset.classes, ours | paper)


def _html(report: Report, rows: Sequence[Strip]) -> str:
    chance = math.log(report.dataset.num_classes)
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True)
    environment.filters['percent'] = percent
    scores, scored = [read_scores(system) for system in report.systems], [curve for curve in report.curves if curve.val_iou]
    bars = _bars(report, scores)
    return environment.get_template('page.html').render(
        report=report,
        scores=scores,
        bars=bars and page_pictures.data_uri(bars),
        legend=list(zip(report.dataset.classes, report.dataset.palette, strict=True)),
        rows=rows,
        unseen=report.unseen and [_strip(report.unseen[0], [report.unseen[1]], report.dataset)],
        losses=page_pictures.data_uri(page_pictures.loss_plot(report.curves, chance)) if report.curves else None,
        validation=page_pictures.data_uri(page_pictures.validation_plot(scored)) if scored else None,
        timelines=list(filter(None, map(timeline, report.curves))),
    )
