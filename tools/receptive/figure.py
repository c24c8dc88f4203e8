"""Draws receptive fields like the paper's Figure 1."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from tools.receptive.fields import Field
from tools.support.atomic import whole_file

COLUMNS = 4
PANEL_POINTS = 195  # about as many along a panel's side
GRID_UP_TO = 40  # elements per side; with more, the lines would hide the elements


def draw(fields: list[Field], path: Path, title: str, unit: str) -> None:
    """Draw a panel for each layer, all to one scale. Green is what one element sees: the darker, the larger its gradient. Red
    dots are the taps of that layer.

    The taps are at their positions in the layer's input. Only layers whose input has the resolution of `unit` have them.
    """
    rows = -(-len(fields) // COLUMNS)
    figure = Figure(figsize=(3.1 * min(len(fields), COLUMNS), 3.3 * rows + 0.6), layout='constrained')
    figure.suptitle(title)
    reach = max(max(field.size_hw) for field in fields) // 2 + 1
    for place, field in enumerate(fields):
        _panel(figure.add_subplot(rows, min(len(fields), COLUMNS), place + 1), field, reach, unit)
    with whole_file(path) as temporary:
        FigureCanvasAgg(figure).print_png(temporary)


def _panel(axes: Axes, field: Field, reach: int, unit: str) -> None:
    """The gradient of one layer's middle element around it, with that layer's taps."""
    height, width = field.size_hw
    extent = (-width / 2, width / 2, height / 2, -height / 2)
    shown = np.ma.masked_equal(np.abs(field.gradient), 0)
    axes.imshow(shown, cmap='Greens', norm=_shades(shown), extent=extent, interpolation='nearest')
    if unit == 'cells' and field.kernel > 1:
        taps = field.dilation * (np.arange(field.kernel) - field.kernel // 2)
        axes.plot(*(places.ravel() for places in np.meshgrid(taps, taps)), 'o', color='red', markersize=_dot(reach))
    axes.set(xlim=(-reach, reach), ylim=(reach, -reach), aspect='equal')
    axes.set_title(f'{field.layer}: {height}x{width}' + _kind(field, unit), fontsize=9)
    _lines(axes, reach)


def _kind(field: Field, unit: str) -> str:
    """Second line of a panel's title; empty outside the context module."""
    if unit != 'cells':
        return ''
    return f'\n{field.dilation}-dilated' if field.kernel > 1 else f'\n{field.kernel}x{field.kernel}'


def _dot(reach: int) -> float:
    """Diameter of a dot in points: two thirds of an element, but large enough to be seen."""
    return min(4.0, max(1.2, 2 / 3 * PANEL_POINTS / (2 * reach)))


def _shades(shown: np.ma.MaskedArray) -> LogNorm:
    """Colours from pale to dark green over the range of the gradient. The palest is still visible."""
    low, high = float(shown.min()), float(shown.max())
    return LogNorm(vmin=low / max((high / low) ** 0.4, 2), vmax=high * 2)


def _lines(axes: Axes, reach: int) -> None:
    """Draw lines between the elements if they are large enough, else numbers on the axes."""
    if 2 * reach > GRID_UP_TO:
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.tick_params(labelsize=7)
        return
    edges = np.arange(-reach, reach + 1) + 0.5
    axes.set(xticks=edges, yticks=edges, xticklabels=[], yticklabels=[])
    axes.grid(color='0.8', linewidth=0.5)
    axes.tick_params(length=0)
