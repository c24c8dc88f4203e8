"""Draws a picture to check a data set: image, label in colour and overlay for a few records of each split."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from dataset_prep.datasets import Dataset
from dataset_prep.records import Record, read_image, read_label
from tools.support.png import write_png
from tools.support.sheets import WHITE, below, beside, caption, colorize, framed, legend, overlay, scaled

CELL_HEIGHT = 180  # pixels
WIDEST = 8  # largest ratio of width to height at that height; a wider picture is shown lower
Item = TypeVar('Item')


def write_contact_sheet(path: Path, splits: Mapping[str, Sequence[Record]], facts: Dataset, per_split: int = 3) -> None:
    """Write a PNG of `per_split` records, evenly spaced, of each split, above a legend of the classes."""
    rows = []
    for split, records in splits.items():
        for record in spread([record for record in records if record.label], per_split):
            image = read_image(record)
            title = f'{split}: {record.id} ({image.shape[1]}x{image.shape[0]})'
            rows.append(sheet_row(title, [image, *label_pictures(image, read_label(record), facts)]))
    entries = [*zip(facts.classes, facts.palette, strict=True), ('ignored', WHITE)]
    write_sheet(path, rows, entries)


def write_sheet(path: Path, rows: Sequence[np.ndarray], entries: Sequence[tuple[str, tuple[int, int, int]]]) -> None:
    """Write a PNG of rows above a legend."""
    width = max(row.shape[1] for row in rows)
    write_png(path, framed(below([*rows, legend(entries, width)])))


def spread(items: Sequence[Item], count: int) -> list[Item]:
    """`count` items at even distances, with the first and the last."""
    places = np.linspace(0, len(items) - 1, min(count, len(items))).round().astype(int)
    return [items[place] for place in places]


def label_pictures(image: np.ndarray, label: np.ndarray, facts: Dataset) -> list[np.ndarray]:
    """The label in colour, white where ignored, and the classes laid over the image."""
    return [colorize(label, facts, WHITE), overlay(image, colorize(label, facts))]


def sheet_row(title: str, pictures: Sequence[np.ndarray], height: int = CELL_HEIGHT) -> np.ndarray:
    """Pictures side by side below a title. The second, the label, is scaled by nearest pixels, so no new colours appear."""
    rows, columns = pictures[0].shape[:2]
    height = max(1, min(height, WIDEST * height * rows // columns))
    row = beside([scaled(picture, height=height, pure=place == 1) for place, picture in enumerate(pictures)])
    return below([caption(title, row.shape[1]), row], 0)
