"""The front end (paper Sec. 4): VGG-16 adapted to dense prediction, no padding anywhere."""

from prototxt.experiments import DeepLab, Fcn, FrontEnd
from prototxt.layers import append_window, conv
from prototxt.shapes import FRONT_END, Window

FINAL_FILLER = dict(type='gaussian', std=0.001)  # fyu/dilation network.py
# For layers that get no weights from a file. `msra` keeps the scale of what comes in; pixels come in at about 60, so the first
# layer takes them down to about 6: at 60 the scores swing so much that only a very small learning rate is stable.
FIRST_FILLER = dict(type='gaussian', std=0.02)
FILLER = dict(type='msra')
# What Sec. 4 takes out and `pooling` brings back: behind which layer, and so that the map keeps its size (as in DeepLab).
POOLINGS = {'conv4_3': Window('pool4', 3, pad=1), 'conv5_3': Window('pool5', 3, pad=1)}


def append_front_end(net, widths: FrontEnd, num_classes: int, *, start: str, learn: bool) -> None:
    """Append the front end's layers after blob `start` to a NetSpec that holds it, up to the scores.

    `start` is 'data', the name of a layer ('conv5_3': maps of a frozen trunk), or the scores themselves (nothing is added).
    """
    if start == widths.final:
        return
    bottom = net[start]
    for window in _after(start, windows(widths)):
        filler = filler_of(window, widths.fc_std)
        bottom = append_window(net, bottom, window, num_output(window, widths), learn=learn, filler=filler)
    net[widths.final] = conv(bottom, num_classes, 1, learn=learn, filler=FINAL_FILLER)


def windows(widths: FrontEnd) -> tuple[Window, ...]:
    """The layers up to fc7, with the padding and the poolings that the row has."""
    found = []
    for window in FRONT_END:
        pad = (window.extent - 1) // 2 if widths.padding and not window.pooling else 0
        found.append(window._replace(pad=pad))
        if widths.pooling and window.name in POOLINGS:
            found.append(POOLINGS[window.name])
    return tuple(found)


def start_channels(widths: FrontEnd | Fcn | DeepLab, start: str, num_classes: int) -> int:
    """Channels of the blob `start`."""
    if start == 'data':
        return 3
    return num_classes if start == widths.final else _channels(start, widths)


def num_output(window: Window, widths: FrontEnd | Fcn | DeepLab) -> int:
    """Channels of a layer; a pooling has no number of its own."""
    return 0 if window.pooling else _channels(window.name, widths)


def filler_of(window: Window, fc_std: tuple[float, float] | None = None) -> dict:
    """How a layer of VGG-16 that gets no weights from a file begins; `fc_std` as in the rows of networks."""
    if fc_std and window.name in ('fc6', 'fc7'):
        return dict(type='gaussian', std=fc_std[window.name == 'fc7'])
    return FIRST_FILLER if window.name == FRONT_END[0].name else FILLER


def _after(start: str, layers: tuple[Window, ...]) -> tuple[Window, ...]:
    names = [window.name for window in layers]
    return layers if start == 'data' else layers[names.index(start) + 1 :]


def _channels(name: str, widths: FrontEnd | Fcn | DeepLab) -> int:
    return widths.fc if name.startswith('fc') else widths.trunk[int(name[4]) - 1]
