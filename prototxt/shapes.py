"""Sizes of score maps, crops and parameters. Convolutions round down and poolings round up, as in Caffe."""

from collections.abc import Sequence
from math import ceil
from typing import NamedTuple

from tools.support.errors import UserError


class Window(NamedTuple):
    """A layer as a sliding window. A name with pool... is a pooling (max, or `average`); any other is a convolution."""

    name: str
    kernel: int
    stride: int = 1
    dilation: int = 1
    pad: int = 0
    average: bool = False

    @property
    def pooling(self) -> bool:
        """Whether this is a pooling."""
        return self.name.startswith('pool')

    @property
    def extent(self) -> int:
        """Input pixels that one output pixel spans along a side."""
        return self.dilation * (self.kernel - 1) + 1


# Paper Sec. 4: VGG-16 without its last two poolings; the layers after a removed pooling are dilated by 2, then by 4.
FRONT_END = (
    Window('conv1_1', 3), Window('conv1_2', 3), Window('pool1', 2, 2),
    Window('conv2_1', 3), Window('conv2_2', 3), Window('pool2', 2, 2),
    Window('conv3_1', 3), Window('conv3_2', 3), Window('conv3_3', 3), Window('pool3', 2, 2),
    Window('conv4_1', 3), Window('conv4_2', 3), Window('conv4_3', 3),
    Window('conv5_1', 3, dilation=2), Window('conv5_2', 3, dilation=2), Window('conv5_3', 3, dilation=2),
    Window('fc6', 7, dilation=4), Window('fc7', 1),
)  # fmt: skip
TRUNK_DEPTHS = (2, 2, 3, 3, 3)  # convolutions of VGG-16's five groups
TRUNK_ENDS = ('pool3', 'conv4_3', 'conv5_3')  # where a frozen trunk may end: blobs at stride 8 whose maps can be stored


def vgg16_trunk(pools: tuple[Window, ...], dilations: tuple[int, ...] = (1,) * 5, first_pad: int = 1) -> tuple[Window, ...]:
    """VGG-16's convolutions and `pools`. Each convolution is padded to keep its map's size; `first_pad` pads the first one."""
    layers = []
    for group, (depth, dilation, pool) in enumerate(zip(TRUNK_DEPTHS, dilations, pools, strict=True), 1):
        layers += [Window(f'conv{group}_{i}', 3, dilation=dilation, pad=dilation) for i in range(1, depth + 1)]
        layers.append(pool)
    return (layers[0]._replace(pad=first_pad), *layers[1:])


def receptive_field(windows: tuple[Window, ...]) -> tuple[int, int]:
    """(receptive field in pixels, stride in pixels) of one output pixel, by the usual recurrence."""
    field, stride = 1, 1
    for window in windows:
        field += (window.extent - 1) * stride
        stride *= window.stride
    return field, stride


RECEPTIVE_FIELD, STRIDE = receptive_field(FRONT_END)  # 380, 8
SHRINK = RECEPTIVE_FIELD - STRIDE  # 372: an input of 8 n + 372 pixels gives n score cells
MARGIN = SHRINK // 2  # 186: reflected on each side of an image, so that its scores cover it


def map_size(side: int, windows: tuple[Window, ...] = FRONT_END) -> int:
    """Side of the map that unpadded `windows` make from an input of `side` pixels.

    Raises ValueError if the input is too small to leave one output pixel.
    """
    for window in windows:
        span = side - window.extent
        if span < 0:
            raise ValueError(f'{window.name} needs at least {window.extent} pixels along a side, its input has {side}')
        side = ceil(span / window.stride) + 1
    return side


def front_end_size(side: int) -> int:
    """Side of the front end's score map for an input of `side` pixels (paper Sec. 4): 900 -> 66, 1640 -> 159."""
    return map_size(side)


def border_cells(blob: str) -> int:
    """Cells on each side that a map of `blob` (stride 8) has more than the scores: pool3 21, conv5_3 12, the scores 0."""
    names = [window.name for window in FRONT_END]
    after = FRONT_END[names.index(blob) + 1 :] if blob in names else ()
    return sum(window.extent - 1 for window in after) // 2


def check_crop_size(crop_size: int) -> int:
    """`crop_size` in pixels if it is 372 + 8 n with n >= 1; else raises UserError with the nearest sizes that fit."""
    cells, rest = divmod(crop_size - SHRINK, STRIDE)
    if cells < 1:
        raise UserError(f'crop_size {crop_size} is too small; the smallest that fits is {SHRINK + STRIDE}')
    if rest:
        below = SHRINK + STRIDE * cells
        raise UserError(
            f'crop_size {crop_size} is not {SHRINK} plus a multiple of {STRIDE}; '
            f'the nearest that fit are {below} and {below + STRIDE}'
        )
    return crop_size


def pixels_of(start: str, map_hw: Sequence[int]) -> tuple[int, int]:
    """Height and width in pixels of the area that maps of blob `start`, `map_hw` cells large, give scores for."""
    height, width = (STRIDE * (side - 2 * border_cells(start)) for side in map_hw)
    return height, width


UPSAMPLINGS = ('fc8_interp', 'ctx_upsample', 'upsample')  # bilinear x8 layers that are never trained
MEAN_FIELD = 'MultiStageMeanfield'  # of tools.crfs.crf_rnn_layers, the one Python layer that learns


def param_shapes(net) -> dict[str, list[tuple[int, ...]]]:
    """Shapes of the learnable blobs of each layer of a NetParameter, without making the net.

    Follows the channels from the Input and Slice layers. Raises ValueError for a layer type that our networks do not have.
    """
    without = ('Data', 'DummyData', 'Im2col', 'Reshape', 'SoftmaxWithLoss', 'InfogainLoss', 'Accuracy', 'Silence')
    channels: dict[str, int] = {}
    shapes: dict[str, list[tuple[int, ...]]] = {}
    for layer in net.layer:
        if layer.type == 'Input':
            channels[layer.top[0]] = layer.input_param.shape[0].dim[1]
        elif layer.type == 'Slice':
            _slice_channels(layer, channels)
        elif layer.type in ('Convolution', 'Deconvolution'):
            shapes[layer.name] = _convolution_shapes(layer, channels[layer.bottom[0]])
            channels[layer.top[0]] = layer.convolution_param.num_output
        elif layer.type in ('ReLU', 'Power', 'Pooling', 'Dropout', 'Softmax', 'Crop', 'Eltwise', 'Python'):
            if layer.bottom[0] in channels:
                channels[layer.top[0]] = channels[layer.bottom[0]]
            if layer.python_param.layer == MEAN_FIELD:
                classes = channels[layer.bottom[0]]
                shapes[layer.name] = [(1, 1, classes, classes)] * 3
        elif layer.type not in without:
            raise ValueError(f'layer {layer.name}: parameters of type {layer.type} are not known here')
    return shapes


def _slice_channels(layer, channels: dict[str, int]) -> None:
    """Store the channels of a Slice's tops, except the last: its channels depend on the input."""
    edges = [0, *layer.slice_param.slice_point]
    for top, start, end in zip(layer.top, edges, edges[1:], strict=False):
        channels[top] = end - start


def _convolution_shapes(layer, channels_in: int) -> list[tuple[int, ...]]:
    """Weight and bias shapes; Deconvolution swaps input and output, as Caffe does."""
    param = layer.convolution_param
    kernel = param.kernel_size[0]
    out, into = param.num_output, channels_in
    if layer.type == 'Deconvolution':
        out, into = into, out
    weight = (out, into // param.group, kernel, kernel)
    return [weight, (param.num_output,)] if param.bias_term else [weight]
