"""The kinds of layers that our networks consist of, as functions over caffe.NetSpec."""

from prototxt.shapes import STRIDE, Window
from tools.support.caffe_import import import_caffe

caffe = import_caffe()
L, P = caffe.layers, caffe.params

FIXED = [dict(lr_mult=0, decay_mult=0)]


def learning(rate: int) -> list[dict]:
    """lr_mult and decay_mult of the weights and of the bias (fyu/dilation network.py; DeepLab, fc8)."""
    return [dict(lr_mult=rate, decay_mult=1), dict(lr_mult=2 * rate, decay_mult=0)]


LEARN = learning(1)


def conv(
    bottom, num_output: int, kernel_size: int, *, stride: int = 1, dilation: int = 1, pad: int = 0,
    learn: bool, filler: dict | None = None, rates: list[dict] = LEARN,
):  # fmt: skip
    """A convolution. With `learn` it has rate multipliers and the weight filler; a deploy net has neither."""
    fields: dict = dict(num_output=num_output, kernel_size=kernel_size)
    if stride > 1:
        fields['stride'] = stride
    if pad:
        fields['pad'] = pad
    if dilation > 1:
        fields['dilation'] = dilation
    if learn and filler:
        fields['weight_filler'] = filler
    return L.Convolution(bottom, convolution_param=fields, **(dict(param=rates) if learn else {}))


def append_window(net, bottom, window: Window, num_output: int, *, learn: bool, filler: dict | None = None):
    """Append a pooling, or a convolution with ReLU (fc6, fc7: and dropout), named as in VGG-16; returns the last top."""
    name, pad = window.name, dict(pad=window.pad) if window.pad else {}
    if window.pooling:
        kind = P.Pooling.AVE if window.average else P.Pooling.MAX
        net[name] = L.Pooling(bottom, pool=kind, kernel_size=window.kernel, stride=window.stride, **pad)
        return net[name]
    net[name] = conv(
        bottom, num_output, window.kernel, stride=window.stride, dilation=window.dilation, pad=window.pad,
        learn=learn, filler=filler,
    )  # fmt: skip
    suffix = name.removeprefix('conv').removeprefix('fc')
    top = net[f'relu{suffix}'] = L.ReLU(net[name], in_place=True)
    if name.startswith('fc'):
        top = net[f'drop{suffix}'] = L.Dropout(top, dropout_ratio=0.5, in_place=True)
    return top


def bilinear_x8(bottom, num_classes: int):
    """Fixed bilinear upsampling by 8 of each class on its own (released dilation10_cityscapes: kernel 16, stride 8, pad 4)."""
    return _fixed_upsampling(bottom, num_classes, kernel=16, stride=8, pad=4)


def aligned(bottom, num_classes: int, zoom: int):
    """Fixed bilinear upsampling from n to zoom (n - 1) + 1 with corners on corners, as DeepLab's Interp with `zoom_factor`."""
    return _fixed_upsampling(bottom, num_classes, kernel=2 * zoom - 1, stride=zoom, pad=zoom - 1)


def _fixed_upsampling(bottom, num_classes: int, *, kernel: int, stride: int, pad: int):
    return L.Deconvolution(
        bottom,
        param=FIXED,
        convolution_param=dict(
            num_output=num_classes, bias_term=False, pad=pad, kernel_size=kernel, group=num_classes, stride=stride,
            weight_filler=dict(type='bilinear'),
        ),
    )  # fmt: skip


def reflect_pad(bottom, pad: int):
    """Adds `pad` reflected cells on each side (prototxt/reflect_pad.py)."""
    return L.Python(bottom, python_param=dict(module='prototxt.reflect_pad', layer='ReflectPad', param_str=str(pad)))


def pixels_of_cells(scores, num_classes: int):
    """Scores (N, C, 8h, 8w) as (N, C, 64, hw). Plane 8a+b holds pixels (8i+a, 8j+b), as in stored stride-1 labels."""
    planes = L.Im2col(scores, convolution_param=dict(kernel_size=STRIDE, stride=STRIDE))
    return planes, L.Reshape(planes, reshape_param=dict(shape=dict(dim=[0, num_classes, STRIDE**2, -1])))


def loss(scores, label, ignore_label: int, normalization: str = 'VALID', class_weights: str | None = None):
    """Softmax loss over the pixels whose label is not `ignore_label`: their mean, or with 'NONE' their sum.

    `class_weights` is a binaryproto file with a diagonal matrix (tools/training/class_weights.py): the loss of a pixel is then
    multiplied by the weight of its class. The average still divides by the number of pixels, not by the sum of their weights.
    """
    param = dict(ignore_label=ignore_label, normalization=getattr(P.Loss, normalization))
    if class_weights:
        return L.InfogainLoss(scores, label, loss_param=param, infogain_loss_param=dict(source=class_weights))
    return L.SoftmaxWithLoss(scores, label, loss_param=param)


def accuracy(scores, label, ignore_label: int):
    """Share of pixels whose largest score is that of their label, without pixels labelled `ignore_label`."""
    return L.Accuracy(scores, label, accuracy_param=dict(ignore_label=ignore_label))
