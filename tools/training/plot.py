"""loss.png: the loss over iterations."""

import math
from pathlib import Path

import numpy as np

from tools.support.atomic import whole_file
from tools.training.caffe_log import Row

SMOOTHED_OVER = 25  # a running mean takes in one part of this many of the run


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of the last `window` of `values` (n,) at each place, of fewer at the start."""
    total = np.cumsum(np.insert(np.asarray(values, float), 0, 0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return (total[ends] - total[starts]) / (ends - starts)


def plot_loss(rows: list[Row], path: Path, title: str, num_classes: int) -> None:
    """Draw the loss of each row, its running mean, and ln C, the loss of a guess that gives all classes the same."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    iterations, losses = [row.iteration for row in rows], np.array([row.loss for row in rows])
    figure = Figure(figsize=(8, 4.5), layout='constrained')
    axes = figure.add_subplot(xlabel='iteration', ylabel='loss', title=title)
    axes.plot(iterations, losses, color='tab:blue', alpha=0.35, linewidth=0.8, label='each iteration')
    window = max(1, len(rows) // SMOOTHED_OVER)
    axes.plot(iterations, running_mean(losses, window), color='tab:blue', label=f'mean of the last {window}')
    axes.axhline(math.log(num_classes), color='gray', linestyle=':', label=f'ln {num_classes}')
    axes.set_ylim(bottom=0)
    axes.legend()
    with whole_file(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)
