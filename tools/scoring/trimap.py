"""Scores the pixels near boundaries of the ground truth, in bands of 1 to 40 pixels, to show how sharp a segmentation is.

Chen et al. 2015 (DeepLab, Sec. 5) draw these scores as a curve. As in their code (MyVOCevalsegBoundary.m), a pixel is in the
band of w pixels if a boundary lies in the square of 2 w + 1 pixels around it, and void pixels never count. In VOC a boundary is
the void rim that surrounds every object. Other data sets have no rims; there a boundary is where two labels meet, and void is a
label like the others.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np

from dataset_prep.datasets import IGNORE_LABEL
from tools.scoring.measures import iou, mean
from tools.scoring.score_tables import fraction, percent
from tools.support.atomic import whole_file

WIDTHS = range(1, 41)  # pixels
SHOWN = (1, 2, 5, 10, 20, 40)  # in the terminal
SQUARE = np.ones((3, 3), np.uint8)


def boundary_distance(truth: np.ndarray, *, void_rims: bool) -> np.ndarray:
    """The width w of the narrowest band that holds each pixel, float32 (H, W); large if there is no boundary.

    `truth` is uint8 (H, W). With `void_rims` w is the distance to void (0 in void); else the distance to the nearest pixel of
    another label. Both are chessboard distances.
    """
    if void_rims:
        inside = truth != IGNORE_LABEL
        return cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_C, 3)
    inside = cv2.dilate(truth, SQUARE) == cv2.erode(truth, SQUARE)  # no other label next to the pixel
    return cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_C, 3) + 1


def confusions(truth: np.ndarray, prediction: np.ndarray, classes: int, ignore: int | None, *, void_rims: bool) -> np.ndarray:
    """int64 (len(WIDTHS), classes, classes): the confusion matrix of each band. Both maps are as in confusion()."""
    distance = boundary_distance(truth, void_rims=void_rims)
    counts = distance <= WIDTHS[-1]
    if ignore is not None:
        counts &= truth != ignore
    cell = (distance[counts].astype(np.intp) - 1) * classes + truth[counts]
    pairs = np.bincount(cell * classes + prediction[counts], minlength=len(WIDTHS) * classes**2)
    return pairs.reshape(len(WIDTHS), classes, classes).cumsum(axis=0)


def curve(bands: np.ndarray, evaluated: Sequence[int] | None = None) -> dict[str, list]:
    """Scores by width as fractions for JSON, from the sum of confusions() over all images; None for a band without pixels."""
    ids = list(range(bands.shape[1]) if evaluated is None else evaluated)
    pixels = bands[:, ids].sum(axis=(1, 2))
    hits = bands[:, ids, ids].sum(axis=1)
    return {
        'width_px': list(WIDTHS),
        'mean_iou': [fraction(mean(iou(matrix, ids))) for matrix in bands],
        'pixel_accuracy': [int(hit) / int(count) if count else None for hit, count in zip(hits, pixels, strict=True)],
        'pixels': pixels.tolist(),
    }


def line(found: dict[str, list], name: str = '') -> str:
    """A line with the mean IoU of some bands, from a curve(); `name` says what was scored, if that is not clear."""
    values = dict(zip(found['width_px'], found['mean_iou'], strict=True))
    shown = ', '.join(f'{percent(values[width])} within {width} px' for width in SHOWN)
    return f'mean IoU % near boundaries{name}: {shown}'


def draw(curves: Mapping[str, dict[str, list]], title: str, path: Path) -> None:
    """Write a PNG with mean IoU and pixel accuracy over the width of the band: two lines for each of `curves`."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), layout='constrained')
    axes = figure.subplots()
    for name, found in curves.items():
        for key, measure in (('mean_iou', 'mean IoU'), ('pixel_accuracy', 'pixel accuracy')):
            values = [np.nan if value is None else 100 * value for value in found[key]]
            axes.plot(found['width_px'], values, label=f'{measure}{name}')
    axes.set(title=title, xlabel='distance from a boundary, at most (pixels)', ylabel='%', xlim=(0, WIDTHS[-1]), ylim=(0, 100))
    axes.grid(alpha=0.3)
    axes.legend()
    with whole_file(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)
