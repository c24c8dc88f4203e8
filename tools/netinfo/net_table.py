"""Prints a network as a table: layers, shapes, parameters, multiply-adds, receptive fields and memory."""

from collections.abc import Collection, Mapping
from math import prod

from tools.netinfo.costs import Pair
from tools.netinfo.fit import gb
from tools.netinfo.memory_estimate import VALUE_BYTES, Estimate
from tools.netinfo.setup import Layer
from tools.netinfo.timing import Seconds
from tools.support.cpu_engine import OWN, engine_in_use
from tools.support.text_tables import columns

LEAST_SHOWN = 5e-5  # seconds; below this the time is mostly the call itself
HEAD = ('layer', 'type', 'output', 'parameters', 'multiply-adds', 'sees', 'step', 'memory')
TIME_HEAD = ('forward s', 'backward s', 'bound by')


def table(layers: list[Layer], seconds: Mapping[str, Seconds] | None = None, by_memory: Collection[str] = ()) -> str:
    """A line for each layer that is not in place, and the sums. `sees` and `step` are in pixels of the input.

    With `seconds` by layer, in-place layers have lines too, each line has its times, and layers in `by_memory` are marked.
    """
    shown = [layer for layer in layers if seconds or not layer.in_place]
    rows = [HEAD, *map(_row, shown)]
    if seconds:
        times = [TIME_HEAD, *(_times(layer, seconds, by_memory) for layer in shown)]
        rows = [row + time for row, time in zip(rows, times, strict=True)]
    lines = columns(rows, '<<<>')  # words to the left, numbers to the right
    hidden = len(layers) - len(shown)
    parameters, adds = sum(map(_parameters, layers)), sum(layer.costs.multiply_adds for layer in layers)
    in_place = f' ({hidden} of them in place, over their inputs)' if hidden else ''
    return '\n'.join([*lines, f'{len(layers)} layers{in_place}, {parameters:,} parameters, {adds / 1e9:,.2f} G multiply-adds'])


def time_line(seconds: Mapping[str, Seconds], bytes_per_s: float) -> str:
    """The times of whole passes, and the meaning of the mark."""
    forward, backward = (sum(getattr(taken, way) for taken in seconds.values()) for way in ('forward', 'backward'))
    return (
        f'time: forward {forward:.3g} s, backward {backward:.3g} s\n'
        f'  bound by memory: moving what the layer reads and writes at {bytes_per_s / 1e9:.1f} GB/s, '
        'as measured here, takes at least half of its forward time'
    )


def memory_lines(found: Estimate) -> str:
    """The memory estimate by purpose, and its peaks."""
    column = 'im2col buffer' if found.gpu or engine_in_use() == OWN else "oneDNN's copies"
    parts = [
        ('weights', found.weights), ('their gradients', found.weight_gradients), ('momentum', found.momentum),
        ('blobs', found.blobs), ('their gradients', found.blob_gradients), ('kept by layers', found.kept + found.kept_host),
        (column, found.column), ('held by layers at work', found.passing),
    ]  # fmt: skip
    last = ('a snapshot as it is written' if found.training else 'a weight file as it is read'), found.message
    if found.training and found.passing > found.message:
        last = 'what layers hold at work', found.passing
    shown = ', '.join(f'{name} {gb(size)}' for name, size in parts if size)
    what = 'training' if found.training else 'forward'
    if found.gpu:
        peak = f'{gb(found.device)} of the GPU (0.5 GB of it assumed for CUDA itself), {gb(found.host)} of the host'
    else:
        peak = f'{gb(found.host)} at its peak, with the program itself ({gb(found.program)}) and {last[0]} ({gb(last[1])})'
    return f'memory, {what}: {peak}\n  {shown}'


def _row(layer: Layer) -> tuple[str, ...]:
    parameters, adds = _parameters(layer), layer.costs.multiply_adds
    return (
        layer.name, layer.type, ' '.join(_by(shape) for shape in layer.shapes[: len(layer.tops)]),
        f'{parameters:,}' if parameters else '', f'{adds / 1e6:,.1f} M' if adds else '',
        _pixels(layer.view.field), _pixels(layer.view.stride), gb(_bytes(layer)),
    )  # fmt: skip


def _times(layer: Layer, seconds: Mapping[str, Seconds], by_memory: Collection[str]) -> tuple[str, str, str]:
    """Seconds forward and backward, and the mark; blank if a layer does almost nothing."""
    taken = seconds.get(layer.name, Seconds(0, 0))
    forward, backward = (f'{value:.4f}' if value > LEAST_SHOWN else '' for value in (taken.forward, taken.backward))
    return forward, backward, 'memory' if forward and layer.name in by_memory else ''


def _parameters(layer: Layer) -> int:
    return sum(prod(shape) for shape in layer.params)


def _bytes(layer: Layer) -> int:
    """Bytes of the layer's outputs and weights in a forward pass, without the shared im2col buffer."""
    outputs = 0 if layer.costs.shares_input else sum(prod(shape) for shape in layer.shapes)
    return VALUE_BYTES * (outputs + _parameters(layer) + layer.costs.kept + layer.costs.kept_host)


def _by(shape) -> str:
    return 'x'.join(map(str, shape)) or 'one'


def _pixels(pair: Pair) -> str:
    """One number if both sides are equal."""
    high, wide = (f'{side:g}' for side in pair)
    return high if high == wide else f'{high}x{wide}'
