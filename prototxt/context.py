"""The context module (paper Sec. 3): 3x3 convolutions of growing dilation on score maps, output as large as input."""

from prototxt.experiments import Context
from prototxt.layers import L, conv, reflect_pad


def layer_names(context: Context) -> list[str]:
    """Layer names of the released models: conv1_1, conv1_2, conv2_1, ..., fc1, final, each after the row's prefix."""
    middle = [f'conv{i}_1' for i in range(2, len(context.dilations) - 1)]
    return [f'{context.prefix}_{name}' for name in ('conv1_1', 'conv1_2', *middle, 'fc1', 'final')]


def layer_channels(context: Context, num_classes: int) -> list[int]:
    """Output channels of each layer: the row's multiples times C. A single multiple serves all layers."""
    layers = len(context.dilations) + 1
    multiples = context.multiples * layers if len(context.multiples) == 1 else context.multiples
    if len(multiples) != layers:
        raise ValueError(f'{len(multiples)} channel multiples for {layers} layers')
    return [multiple * num_classes for multiple in multiples]


def pads(context: Context) -> list[int]:
    """Zero padding of each 3x3 layer in cells: its dilation; or everything at the first layer; or none after reflection."""
    first = {'once': buffer_width(context), 'reflect': 0}
    if context.pad in first:
        return [first[context.pad]] + [0] * (len(context.dilations) - 1)
    return list(context.dilations)


def buffer_width(context: Context) -> int:
    """Cells on each side that the convolutions remove without padding: 33 for eight layers (paper Sec. 5)."""
    return sum(context.dilations)


def append_context(net, bottom, context: Context, num_classes: int, *, learn: bool):
    """Append the context module on scores `bottom` to a NetSpec; returns its scores.

    The layers have no filler: their weights start from the identity (pretrained.identity), and stock Caffe has no such filler.
    """
    names, channels = layer_names(context), layer_channels(context, num_classes)
    if context.pad == 'reflect':
        bottom = net[f'{context.prefix}_pad'] = reflect_pad(bottom, buffer_width(context))
    for name, num_output, dilation, pad in zip(names[:-1], channels, context.dilations, pads(context), strict=False):
        net[name] = conv(bottom, num_output, 3, dilation=dilation, pad=pad, learn=learn)
        bottom = net[_relu_name(name)] = L.ReLU(net[name], in_place=True)
    net[names[-1]] = conv(bottom, channels[-1], 1, learn=learn)
    return net[names[-1]]


def _relu_name(name: str) -> str:
    """ctx_conv1_1 -> ctx_relu1_1, but ctx_fc1 -> ctx_fc1_relu, as in the released models."""
    return name.replace('conv', 'relu') if 'conv' in name else f'{name}_relu'
