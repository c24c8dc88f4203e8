"""Counts pixels of each class, ignored pixels and the mean colour over images and labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from dataset_prep.datasets import IGNORE_LABEL, Dataset
from dataset_prep.parallel import in_order
from dataset_prep.progress import progress
from dataset_prep.records import Record, read_image, read_label
from tools.support.errors import Fault, attempt
from tools.support.text_tables import columns


@dataclass(frozen=True)
class Statistics:
    """Sums over some images; `histogram` counts label values 0-255, int64; `colour_sum` is in BGR, over `pixels` pixels."""

    images: int
    histogram: np.ndarray
    colour_sum: np.ndarray
    pixels: int

    @classmethod
    def nothing(cls) -> 'Statistics':
        """The sums over zero images."""
        return cls(0, np.zeros(256, np.int64), np.zeros(3), 0)

    @classmethod
    def from_json(cls, row: dict) -> 'Statistics':
        """Statistics from the JSON of as_json()."""
        return cls(row['images'], np.array(row['histogram'], np.int64), np.array(row['colour_sum']), row['pixels'])

    def as_json(self) -> dict:
        """The sums as JSON values; floats come back as they were."""
        histogram, colour_sum = self.histogram.tolist(), self.colour_sum.tolist()
        return {'images': self.images, 'histogram': histogram, 'colour_sum': colour_sum, 'pixels': self.pixels}

    def __add__(self, other: 'Statistics') -> 'Statistics':
        histogram, colour_sum = self.histogram + other.histogram, self.colour_sum + other.colour_sum
        return Statistics(self.images + other.images, histogram, colour_sum, self.pixels + other.pixels)

    @property
    def ignored_pixels(self) -> int:
        """Pixels labelled 255."""
        return int(self.histogram[IGNORE_LABEL])

    @property
    def mean_bgr(self) -> tuple[float, float, float]:
        """Mean colour, 0-255."""
        blue, green, red = self.colour_sum / self.pixels
        return float(blue), float(green), float(red)

    def pixels_per_class(self, facts: Dataset) -> dict[str, int]:
        """Pixels of each class, by name, in the order of ids."""
        return {name: int(count) for name, count in zip(facts.classes, self.histogram[: facts.num_classes], strict=True)}


def of_pair(image: np.ndarray, label: np.ndarray) -> Statistics:
    """Statistics of one image, uint8 (H, W, 3) BGR, and its label, uint8 (H, W)."""
    pixels = label.size
    # OpenCV counts in float32, exact up to 2**24 pixels, and several times as fast as np.bincount.
    counted = label.size < 1 << 24 and label.flags.c_contiguous
    histogram = (
        cv2.calcHist([label], [0], None, [256], (0, 256)).ravel().astype(np.int64)
        if counted
        else np.bincount(label.ravel(), minlength=256)
    )
    return Statistics(1, histogram, np.array(cv2.mean(image)[:3]) * pixels, pixels)


class Scan(NamedTuple):
    """The result of reading a split: statistics of the usable records, and faults of the others by id."""

    statistics: Statistics
    faults: dict[str, Fault]


def scan(records: Sequence[Record], title: str) -> Scan:
    """Read every image and label of a split, so that bad files are found before anything is written.

    Images without ground truth count as ignored pixels.
    """
    found, faults = Statistics.nothing(), {}
    parts = in_order(partial(attempt, _of_record), records)
    for record, part in zip(records, progress(parts, title, len(records)), strict=True):
        if isinstance(part, Fault):
            faults[record.id] = part
        else:
            found += part
    return Scan(found, faults)


def _of_record(record: Record) -> Statistics:
    image = read_image(record)
    label = read_label(record) if record.label else np.full(image.shape[:2], IGNORE_LABEL, np.uint8)
    return of_pair(image, label)


def table(facts: Dataset, splits: dict[str, Statistics]) -> str:
    """A table with a column for each split: images, percent of the labelled pixels by class, ignored pixels and mean colour."""
    parts = list(splits.values())
    rows = [('', *splits), ('images', *(str(part.images) for part in parts))]
    rows += [(f'  {name} %', *(_share(part.pixels_per_class(facts)[name], part) for part in parts)) for name in facts.classes]
    rows.append(('ignored pixels %', *(f'{100 * part.ignored_pixels / part.pixels:.2f}' for part in parts)))
    rows += [(f'mean {channel}', *(f'{part.mean_bgr[index]:.2f}' for part in parts)) for index, channel in enumerate('BGR')]
    return '\n'.join(columns(rows, '<>'))


def _share(count: int, part: Statistics) -> str:
    labelled = part.pixels - part.ignored_pixels
    return f'{100 * count / labelled:.2f}' if labelled else '-'
