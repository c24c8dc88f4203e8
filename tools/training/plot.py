"""loss.png: loss, learning rate and mean IoU on the validation split over iterations."""

import math
from pathlib import Path

import numpy as np

from tools.support.atomic import whole_file
from tools.training.caffe_log import LogRow
from tools.training.record import loss_scale, read_record
from tools.training.run_folder import PLOT
from tools.training.scores import Score, best_score, read_scores
from tools.training.settings import Settings

SMOOTHED_OVER = 25  # the running mean covers this fraction of the run


def draw(settings: Settings, rows: list[LogRow]) -> None:
    """Draw loss.png of a run from its `rows` and scores; nothing if there are no rows."""
    if rows:
        scale, classes = loss_scale(read_record(settings.run_dir)), settings.dataset.num_classes
        plot_run(rows, read_scores(settings.run_dir), settings.run_dir / PLOT, settings.stage_name, classes, scale)


def running_mean(values: np.ndarray, window: int) -> np.ndarray:
    """Mean of the last `window` values at each place of `values` (n,); of fewer at the start."""
    total = np.cumsum(np.insert(np.asarray(values, float), 0, 0))
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(ends - window, 0)
    return (total[ends] - total[starts]) / (ends - starts)


def plot_run(rows: list[LogRow], scores: list[Score], path: Path, title: str, num_classes: int, scale: float = 1) -> None:
    """Draw the loss of each row, its running mean, and `scale` times ln C, the loss of a uniform guess.

    `scale` is the number of pixels that the loss sums, times their mean class weight. Further plots show the learning rate and,
    if there are scores, mean IoU in percent with the best marked.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    heights = [4, 1, 2] if scores else [4, 1]
    figure = Figure(figsize=(8, 1 + sum(heights)), layout='constrained')
    loss, rate, *rest = figure.subplots(len(heights), sharex=True, height_ratios=heights)
    _draw_loss(loss, rows, title, num_classes, scale)
    rate.plot([row.iteration for row in rows], [row.lr for row in rows], color='tab:orange')
    rate.set(ylabel='learning rate', yscale='log')
    for axes in rest:
        _draw_scores(axes, scores)
    figure.axes[-1].set_xlabel('iteration')
    with whole_file(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)


def _draw_loss(axes, rows: list[LogRow], title: str, num_classes: int, scale: float) -> None:
    """The loss of each iteration, and its running mean."""
    iterations, losses = [row.iteration for row in rows], np.array([row.loss for row in rows])
    axes.plot(iterations, losses, color='tab:blue', alpha=0.35, linewidth=0.8, label='each iteration')
    window = max(1, len(rows) // SMOOTHED_OVER)
    axes.plot(iterations, running_mean(losses, window), color='tab:blue', label=f'mean of the last {window}')
    times = '' if scale == 1 else f'{scale:,.6g} x '
    axes.axhline(scale * math.log(num_classes), color='gray', linestyle=':', label=f'{times}ln {num_classes}')
    axes.set(ylabel='loss', title=title, ylim=(0, None))
    axes.legend()


def _draw_scores(axes, scores: list[Score]) -> None:
    """Mean IoU of the snapshots."""
    axes.plot([score.iteration for score in scores], [100 * score.mean_iou for score in scores], 'o-', color='tab:green')
    if best := best_score(scores):
        axes.plot([best.iteration], [100 * best.mean_iou], '*', markersize=14, color='tab:red', label=f'best, {best.iteration}')
        axes.legend()
    axes.set(ylabel='mean IoU, %', ylim=(0, 100))
