"""Vocabulary over caffe.NetSpec: the few shapes of layers that the networks are made of."""

from prototxt.shapes import STRIDE
from tools.support.caffe_import import import_caffe

caffe = import_caffe()
L, P = caffe.layers, caffe.params

LEARN = [dict(lr_mult=1, decay_mult=1), dict(lr_mult=2, decay_mult=0)]  # weights, bias (fyu/dilation network.py)
FIXED = [dict(lr_mult=0, decay_mult=0)]


def conv(bottom, num_output: int, kernel_size: int, *, dilation: int = 1, pad: int = 0, learn: bool, filler: dict | None = None):
    """A convolution; `learn` adds learning-rate multipliers and the weight filler, which a deploy net does without."""
    fields: dict = dict(num_output=num_output, kernel_size=kernel_size)
    if pad:
        fields['pad'] = pad
    if dilation > 1:
        fields['dilation'] = dilation
    if learn and filler:
        fields['weight_filler'] = filler
    return L.Convolution(bottom, convolution_param=fields, **(dict(param=LEARN) if learn else {}))


def max_pool(bottom):
    """2x2 maximum, stride 2."""
    return L.Pooling(bottom, pool=P.Pooling.MAX, kernel_size=2, stride=2)


def bilinear_x8(bottom, num_classes: int):
    """Fixed bilinear upsampling by 8, each class by itself (released dilation10_cityscapes: kernel 16, stride 8, pad 4)."""
    return L.Deconvolution(
        bottom,
        param=FIXED,
        convolution_param=dict(
            num_output=num_classes, bias_term=False, pad=4, kernel_size=16, group=num_classes, stride=8,
            weight_filler=dict(type='bilinear'),
        ),
    )  # fmt: skip


def reflect_pad(bottom, pad: int):
    """`pad` reflected cells on each side (prototxt/reflect_pad.py)."""
    return L.Python(bottom, python_param=dict(module='prototxt.reflect_pad', layer='ReflectPad', param_str=str(pad)))


def pixels_of_cells(scores, num_classes: int):
    """Scores (N, C, 8h, 8w) as (N, C, 64, hw): plane 8a+b holds pixels (8i+a, 8j+b), as stored labels at stride 1 do."""
    planes = L.Im2col(scores, convolution_param=dict(kernel_size=STRIDE, stride=STRIDE))
    return planes, L.Reshape(planes, reshape_param=dict(shape=dict(dim=[0, num_classes, STRIDE**2, -1])))


def loss(scores, label, ignore_label: int):
    """Softmax loss, averaged over the pixels whose label is not `ignore_label`."""
    return L.SoftmaxWithLoss(scores, label, loss_param=dict(ignore_label=ignore_label, normalization=P.Loss.VALID))


def accuracy(scores, label, ignore_label: int):
    """Share of the pixels whose label is not `ignore_label` that the largest score names."""
    return L.Accuracy(scores, label, accuracy_param=dict(ignore_label=ignore_label))
