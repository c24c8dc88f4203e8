"""Draws a grid search: mean IoU over the two standard deviations of the bilateral kernel, one panel for each weight."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tools.crfs.dense_crf import CrfParameters
from tools.support.atomic import whole_file

AXES = ('bilateral_weight', 'position_std', 'colour_std')
COLUMNS = 3  # panels in a row
MARKED = '#d62728'
PANEL_INCHES, CELL_INCHES = 1.0, (0.4, 0.55)  # around the cells; height and width of one


def draw_heat_map(tried: dict[CrfParameters, float], path: Path, without: float) -> None:
    """Panels of mean IoU in percent. A cell shows its best trial, or white if there is none; the best of all has a frame.

    `tried`: parameters and their mean IoU; `without`: mean IoU without a CRF; both as fractions.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    weights, positions, colours = (sorted({getattr(one, name) for one in tried}) for name in AXES)
    rows, columns = -(-len(weights) // COLUMNS), min(COLUMNS, len(weights))
    high, wide = (PANEL_INCHES + inches * len(axis) for inches, axis in zip(CELL_INCHES, (positions, colours), strict=True))
    figure = Figure(figsize=(1.5 + columns * wide, 1 + rows * high), layout='constrained')
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    best = max(tried, key=lambda one: tried[one])
    limits = {'vmin': 100 * min(tried.values()), 'vmax': 100 * tried[best]}
    for panel, weight in zip(panels, weights, strict=False):
        values = cells(tried, weight, positions, colours)
        shown = panel.imshow(values, cmap='viridis', aspect='auto', origin='lower', **limits)
        _label(panel, values, weight, positions, colours, limits['vmin'] + 0.6 * (limits['vmax'] - limits['vmin']))
        if weight == best.bilateral_weight:
            _frame(panel, colours.index(best.colour_std), positions.index(best.position_std))
    for panel in panels[len(weights) :]:
        panel.set_visible(False)
    figure.colorbar(shown, ax=panels, label='mean IoU, %')
    figure.suptitle(f'mean IoU {100 * tried[best]:.2f} % at best, {100 * without:.2f} % without CRF')
    with whole_file(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)


def cells(tried: dict[CrfParameters, float], weight: float, positions: Sequence[float], colours: Sequence[float]) -> np.ndarray:
    """(positions, colours): the best mean IoU in percent for a weight of the bilateral kernel; NaN if there was no trial."""
    values = np.full((len(positions), len(colours)), np.nan)
    for one, mean_iou in tried.items():
        if one.bilateral_weight == weight:
            place = positions.index(one.position_std), colours.index(one.colour_std)
            values[place] = np.fmax(values[place], 100 * mean_iou)
    return values


def _label(panel, values: np.ndarray, weight: float, positions: Sequence[float], colours: Sequence[float], bright: float) -> None:
    """Write numbers into the cells, in black above `bright`, and label the axes."""
    for row, column in np.argwhere(~np.isnan(values)):
        colour = 'black' if values[row, column] > bright else 'white'
        panel.text(column, row, f'{values[row, column]:.1f}', ha='center', va='center', fontsize=7, color=colour)
    panel.set(title=f'weight {weight:g}', xlabel='colour std', ylabel='position std, pixels')
    panel.set_xticks(range(len(colours)), [f'{value:g}' for value in colours])
    panel.set_yticks(range(len(positions)), [f'{value:g}' for value in positions])


def _frame(panel, column: int, row: int) -> None:
    from matplotlib.patches import Rectangle

    panel.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, edgecolor=MARKED, linewidth=2.5))
