"""Draws the pictures of a report: rows of image, truth and predictions, and curves."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path

import cv2
import matplotlib
import numpy as np

from dataset_prep.datasets import Dataset
from dataset_prep.records import Record, read_image, read_label
from tools.inference import colorize
from tools.report.content import Curve, System
from tools.support.errors import UserError
from tools.support.sheets import below, beside, caption, scaled

matplotlib.use('Agg')
from matplotlib import pyplot  # noqa: E402  (the backend is chosen before)


def row(record: Record, systems: Sequence[System], dataset: Dataset) -> list[np.ndarray]:
    """BGR pictures of one record: image, ground truth, and each system's prediction, all at the size of the ground truth."""
    truth = read_label(record)
    height, width = truth.shape
    maps = [truth] + [_label_map(system.folder / f'{record.id}.png') for system in systems]
    return [cv2.resize(read_image(record), (width, height)), *(colorize(label_map, dataset) for label_map in maps)]


def sheet(rows: Sequence[Sequence[np.ndarray]], titles: Sequence[str], width_px: int = 360) -> np.ndarray:
    """All rows under a bar of titles, each picture `width_px` wide."""
    titled = beside([caption(text, width_px) for text in titles])
    return below([titled, *(beside([scaled(picture, width=width_px) for picture in pictures]) for pictures in rows)])


def loss_plot(curves: Sequence[Curve], chance: float | None) -> bytes:
    """PNG of the loss curves, each smoothed over a twentieth of its length, with the loss of a uniform guess, ln C, if given."""
    figure, axes = pyplot.subplots(figsize=(7, 3.2), dpi=120)
    for curve in curves:
        span = max(1, len(curve.losses) // 20)
        smooth = np.convolve(curve.losses, np.ones(span) / span, mode='valid')
        axes.plot(curve.iterations[span - 1 :], smooth, label=curve.name, linewidth=1.2)
    if chance is not None:
        axes.axhline(chance, color='grey', linestyle=':', linewidth=1, label='guessing, ln C')
    axes.set(xlabel='iteration', ylabel='softmax loss', ylim=(0, None))
    axes.locator_params(axis='x', integer=True)  # there is no half iteration
    axes.legend(fontsize=8)
    return _png(figure)


def validation_plot(curves: Sequence[Curve]) -> bytes:
    """PNG of each run's mean IoU in percent on validation images, by snapshot."""
    figure, axes = pyplot.subplots(figsize=(7, 3.2), dpi=120)
    for curve in curves:
        iterations, means = [score.iteration for score in curve.val_iou], [100 * score.mean_iou for score in curve.val_iou]
        axes.plot(iterations, means, label=curve.name, linewidth=1.2, marker='.')
    axes.set(xlabel='iteration', ylabel='mean IoU, validation (%)')
    axes.locator_params(axis='x', integer=True)
    axes.legend(fontsize=8)
    return _png(figure)


def class_bars(classes: Sequence[str], systems: dict[str, Sequence[float]]) -> bytes:
    """PNG of the IoU of each class in percent: a group of bars per class, with a bar for each of `systems`."""
    figure, axes = pyplot.subplots(figsize=(11, 3.6), dpi=120)
    width, places = 0.8 / len(systems), np.arange(len(classes))
    for number, (name, values) in enumerate(systems.items()):
        axes.bar(places + (number + 0.5) * width - 0.4, values, width, label=name)
    axes.set(ylabel='IoU (%)', ylim=(0, 100))
    axes.set_xticks(places, classes, rotation=25, ha='right')
    axes.legend(fontsize=8, ncols=3)
    return _png(figure)


def _png(figure) -> bytes:
    """PNG bytes of a figure, which is then closed."""
    figure.tight_layout()
    buffer = io.BytesIO()
    figure.savefig(buffer, format='png')
    pyplot.close(figure)
    return buffer.getvalue()


def data_uri(png: bytes) -> str:
    """A PNG as a data URI for an <img>."""
    return 'data:image/png;base64,' + base64.b64encode(png).decode()


def encode_png(picture: np.ndarray) -> bytes:
    """PNG bytes of a BGR picture."""
    return cv2.imencode('.png', picture)[1].tobytes()


def _label_map(path: Path) -> np.ndarray:
    label_map = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if label_map is None:
        raise UserError(f'no label map at {path}; run tools/test.py for it first')
    return label_map
