"""The front end (paper Sec. 4): VGG-16 adapted to dense prediction, no padding anywhere."""

from prototxt.experiments import FrontEnd
from prototxt.layers import L, conv, max_pool
from prototxt.shapes import FRONT_END, Window

FINAL_FILLER = dict(type='gaussian', std=0.001)  # fyu/dilation network.py
# For layers that get no weights from a file. `msra` keeps the scale of what comes in; pixels come in at about 60, so the first
# layer takes them down to about 6: at 60 the scores swing so much that only a very small learning rate is stable.
FIRST_FILLER = dict(type='gaussian', std=0.02)
FILLER = dict(type='msra')


def append_front_end(net, widths: FrontEnd, num_classes: int, *, start: str, learn: bool) -> None:
    """Append the front end's layers after blob `start` to a NetSpec that holds it, up to the scores.

    `start` is 'data', the name of a layer ('conv5_3': maps of a frozen trunk), or the scores themselves (nothing is added).
    """
    if start == widths.final:
        return
    bottom = net[start]
    for window in _after(start):
        bottom = _append(net, window, bottom, widths, learn)
    net[widths.final] = conv(bottom, num_classes, 1, learn=learn, filler=FINAL_FILLER)


def start_channels(widths: FrontEnd, start: str, num_classes: int) -> int:
    """Channels of the blob `start`."""
    if start == 'data':
        return 3
    return num_classes if start == widths.final else _num_output(start, widths)


def _after(start: str) -> tuple[Window, ...]:
    names = [window.name for window in FRONT_END]
    return FRONT_END if start == 'data' else FRONT_END[names.index(start) + 1 :]


def _append(net, window: Window, bottom, widths: FrontEnd, learn: bool):
    """One layer with its ReLU and dropout, named as in VGG-16; returns its last top."""
    name = window.name
    if window.stride > 1:
        net[name] = max_pool(bottom)
        return net[name]
    filler = FIRST_FILLER if window is FRONT_END[0] else FILLER
    net[name] = conv(bottom, _num_output(name, widths), window.kernel, dilation=window.dilation, learn=learn, filler=filler)
    suffix = name.removeprefix('conv').removeprefix('fc')
    top = net[f'relu{suffix}'] = L.ReLU(net[name], in_place=True)
    if name.startswith('fc'):
        top = net[f'drop{suffix}'] = L.Dropout(top, dropout_ratio=0.5, in_place=True)
    return top


def _num_output(name: str, widths: FrontEnd) -> int:
    return widths.fc if name.startswith('fc') else widths.trunk[int(name[4]) - 1]
