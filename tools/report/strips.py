"""Strips of small pictures for a page (strips.html), each picture a data URI."""

import base64
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dataset_prep.contact_sheet import spread
from dataset_prep.datasets import Dataset, dataset
from prototxt.experiments import NETS, STAGES
from tools.inference.pictures import HEADINGS, PANEL_WIDTH, column
from tools.report.content import Curve
from tools.report.page_pictures import data_uri
from tools.support.errors import UserError
from tools.support.sheets import scaled
from tools.training.record import read_record
from tools.training.scores import contact_sheets

SHOWN = 10  # snapshots of a run in its timeline, from the first to the last


@dataclass(frozen=True)
class Picture:
    """A picture and the text below it."""

    caption: str
    uri: str


@dataclass(frozen=True)
class Strip:
    """Pictures side by side below a title."""

    title: str
    pictures: tuple[Picture, ...]


def photo(image: np.ndarray, width: int) -> str:
    """A photograph as a data URI."""
    content = cv2.imencode('.jpg', scaled(image, width=min(width, image.shape[1])))[1].tobytes()
    return 'data:image/jpeg;base64,' + base64.b64encode(content).decode()


def drawing(picture: np.ndarray, width: int) -> str:
    """A label map in colours, as a data URI without new colours."""
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return data_uri(cv2.imencode('.png', cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST))[1].tobytes())


def timeline(curve: Curve) -> Strip | None:
    """Validation images, ground truth, and the predictions of each snapshot of a run, from its contact sheets.

    None for a run without contact sheets, or if its stage is no longer in STAGES.
    """
    facts, sheets = _shown(curve.run_folder) if curve.run_folder else (None, {})
    if not facts or not sheets:
        return None
    columns = {HEADINGS[place]: column(list(sheets.values())[-1], place, facts) for place in (0, 1)}
    columns |= {f'iteration {iteration:,}': column(sheet, 2, facts) for iteration, sheet in sheets.items()}
    draws = (photo if name == HEADINGS[0] else drawing for name in columns)
    pictures = (Picture(name, draw(part, PANEL_WIDTH)) for draw, (name, part) in zip(draws, columns.items(), strict=True))
    return Strip(f'{curve.name}: validation images as its snapshots label them', tuple(pictures))


def _shown(run_folder: Path) -> tuple[Dataset | None, dict[int, np.ndarray]]:
    """The data set of a run (None if unknown) and the contact sheets to show, by iteration."""
    paths = contact_sheets(run_folder)
    try:
        facts = dataset(NETS[STAGES[read_record(run_folder)['settings']['stage']].net].dataset) if paths else None
    except (UserError, LookupError):
        facts = None
    sheets = {iteration: cv2.imread(str(paths[iteration])) for iteration in spread(list(paths), SHOWN)}
    return facts, {iteration: sheet for iteration, sheet in sheets.items() if sheet is not None}
