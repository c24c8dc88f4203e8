"""FCN-32s, FCN-16s and FCN-8s (Long et al. 2015), as shelhamer/fcn.berkeleyvision.org has them for VOC.

VGG-16 with all its poolings, and with fc6 and fc7 as convolutions. 100 zeros around the image leave room for fc6. The scores at
stride 32 are upsampled by 2 and added to those of pool4, then to those of pool3, and upsampled to the size of the image. In the
network that is trained in one stage, the maps of pool4 and pool3 are multiplied by a small factor before they are scored. The
authors use a Scale layer with a fixed factor; here it is a Power layer, which has no weights.
"""

from itertools import zip_longest

from prototxt.experiments import Fcn
from prototxt.front_end import filler_of, num_output
from prototxt.layers import LEARN, L, P, append_window
from prototxt.shapes import Window, vgg16_trunk

POOLS = tuple(Window(f'pool{group}', 2, 2) for group in range(1, 6))
PAD = 100
LAYERS = (*vgg16_trunk(POOLS, first_pad=PAD), Window('fc6', 7), Window('fc7', 1))
# Offsets of the Crop layers: in cells for the scores of a pooling, in pixels for the last upsampling, by its stride.
POOL_OFFSETS = {4: 5, 3: 9}
IMAGE_OFFSETS = {32: 19, 16: 27, 8: 31}
KEPT = [dict(lr_mult=0)]  # the upsampling is not trained


def append_fcn(net, row: Fcn, num_classes: int, *, start: str, learn: bool) -> None:
    """Append the layers after blob `data` to a NetSpec, up to `score`, (N, C, H, W) of the input's size."""
    bottom, theirs = net[start], dict(row.renamed)
    for window in LAYERS:
        bottom = append_window(net, bottom, window, num_output(window, row), learn=learn, filler=filler_of(window))
    scores = net[row.final] = _score(bottom, num_classes, learn)
    stride, name = 32, 'upscore2'
    for group, scale in zip_longest(row.skips, row.scales):
        up = _upsample(scores, num_classes, 2, learn, learned=row.learned, bias=row.learned and name == 'upscore2')
        net[theirs.get(name, name)] = up
        pooled = net[f'pool{group}']
        if scale is not None:
            pooled = net[f'scale_pool{group}'] = L.Power(pooled, power_param=dict(scale=scale))
        scoring = f'score_pool{group}'
        scored = net[theirs.get(scoring, scoring)] = _score(pooled, num_classes, learn)
        cropped = net[f'{scoring}c'] = L.Crop(scored, up, axis=2, offset=POOL_OFFSETS[group])
        scores = net[f'fuse_pool{group}'] = L.Eltwise(up, cropped, operation=P.Eltwise.SUM)
        stride, name = stride // 2, f'upscore_pool{group}'
    name = f'upscore{stride}' if row.skips else 'upscore'
    last = net[theirs.get(name, name)] = _upsample(scores, num_classes, stride, learn)
    net.score = L.Crop(last, net.data, axis=2, offset=IMAGE_OFFSETS[stride])


def _score(bottom, num_classes: int, learn: bool):
    """A layer that scores a map. Its weights start at zero, Caffe's default."""
    fields = dict(num_output=num_classes, kernel_size=1)
    return L.Convolution(bottom, convolution_param=fields, **(dict(param=LEARN) if learn else {}))


def _upsample(bottom, num_classes: int, factor: int, learn: bool, *, learned: bool = False, bias: bool = False):
    """An upsampling with weights (C, C, 2 factor, 2 factor), as in the released files; weights between two classes are zero.

    No filler makes such weights. Training reads them from a file (pretrained.bilinear).
    """
    fields = dict(num_output=num_classes, kernel_size=2 * factor, stride=factor, bias_term=bias)
    rates = (LEARN if bias else LEARN[:1]) if learned else KEPT
    return L.Deconvolution(bottom, convolution_param=fields, **(dict(param=rates) if learn else {}))
