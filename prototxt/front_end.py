"""The front end (paper Sec. 4): VGG-16 adapted to dense prediction, no padding anywhere."""

from prototxt.experiments import DeepLab, Fcn, FrontEnd
from prototxt.layers import append_window, conv
from prototxt.shapes import FRONT_END, Window

FINAL_FILLER = dict(type='gaussian', std=0.001)  # fyu/dilation network.py
# For layers that get no weights from a file. `msra` keeps the scale of its input. Pixels have a scale of about 60, and at 60 the
# scores allow only a very small learning rate, so the first layer brings the scale down to about 6.
FIRST_FILLER = dict(type='gaussian', std=0.02)
FILLER = dict(type='msra')
# The poolings that Sec. 4 takes out and `pooling` brings back, by the layer before each. They keep the map's size, as in DeepLab.
POOLINGS = {'conv4_3': Window('pool4', 3, pad=1), 'conv5_3': Window('pool5', 3, pad=1)}


def append_front_end(net, widths: FrontEnd, num_classes: int, *, start: str, learn: bool) -> None:
    """Append the layers of the front end after blob `start`, up to the scores, to a NetSpec that holds `start`.

    `start` is 'data', a layer name ('conv5_3': maps of a frozen trunk), or the scores themselves; then nothing is added.
    """
    if start == widths.final:
        return
    bottom = net[start]
    for window in _after(start, windows(widths)):
        filler = filler_of(window, widths.fc_std)
        bottom = append_window(net, bottom, window, num_output(window, widths), learn=learn, filler=filler)
    net[widths.final] = conv(bottom, num_classes, 1, learn=learn, filler=FINAL_FILLER)


def windows(widths: FrontEnd) -> tuple[Window, ...]:
    """The layers up to fc7, with the row's padding and poolings."""
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
    """Output channels of a layer; 0 for a pooling, which keeps its input's."""
    return 0 if window.pooling else _channels(window.name, widths)


def filler_of(window: Window, fc_std: tuple[float, float] | None = None) -> dict:
    """The weight filler of a VGG-16 layer; `fc_std` is as in FrontEnd."""
    if fc_std and window.name in ('fc6', 'fc7'):
        return dict(type='gaussian', std=fc_std[window.name == 'fc7'])
    return FIRST_FILLER if window.name == FRONT_END[0].name else FILLER


def _after(start: str, layers: tuple[Window, ...]) -> tuple[Window, ...]:
    names = [window.name for window in layers]
    return layers if start == 'data' else layers[names.index(start) + 1 :]


def _channels(name: str, widths: FrontEnd | Fcn | DeepLab) -> int:
    return widths.fc if name.startswith('fc') else widths.trunk[int(name[4]) - 1]
