"""DeepLab-LargeFOV and DeepLab-MSc-LargeFOV (Chen et al. 2015), with stock Caffe's dilation for the field `hole` of their fork.

Poolings are 3x3 and padded, so that inputs of 8 n + 1 pixels give n + 1 cells, the first and the last on the corner pixels.
The layer Interp of their fork, which upsamples in deployment, is a fixed Deconvolution here (layers.aligned).
"""

from prototxt.experiments import BRANCHES, DeepLab
from prototxt.front_end import filler_of, num_output
from prototxt.layers import L, P, aligned, append_window, conv, learning
from prototxt.shapes import STRIDE, Window, vgg16_trunk

POOLS = tuple(Window(f'pool{group}', 3, 2 if group < 4 else 1, pad=1) for group in range(1, 6))
FC6_HOLE = 12
LAYERS = (
    *vgg16_trunk(POOLS, dilations=(1, 1, 1, 1, 2)),
    Window('pool5a', 3, pad=1, average=True),
    Window('fc6', 3, dilation=FC6_HOLE, pad=FC6_HOLE),
    Window('fc7', 1),
)
FINAL_FILLER = dict(type='gaussian', std=0.01)
BRANCH_WIDTH = 128
ZOOMS = dict(zip((*BRANCHES, 'fc8'), (1, 2, 4, 8, 8, STRIDE), strict=True))  # pixels along a cell of each map's scores
BRANCH_FILLER = dict(type='gaussian', std=0.001)
POOL4_FC_FILLER = dict(type='gaussian', std=0.005)
FUSED = 'fc_fusion'


def append_deeplab(net, row: DeepLab, num_classes: int, *, start: str, learn: bool, to_pixels: bool = False) -> None:
    """Append the layers after blob `data` to a NetSpec, up to the scores: fc8_..., or fc_fusion in the multi-scale form.

    `to_pixels`, of the multi-scale form: as its authors test it, each map scored in its own resolution, and all enlarged to
    pixels before they are added. It is trained at stride 8: the convolutions over the larger maps skip what is between.
    """
    bottom = net[start]
    for window in LAYERS:
        bottom = append_window(net, bottom, window, num_output(window, row), learn=learn, filler=filler_of(window))
    net[row.final] = conv(bottom, num_classes, 1, learn=learn, filler=FINAL_FILLER, rates=learning(row.final_rate))
    if row.multi_scale:
        strides = {blob: 1 if to_pixels else STRIDE // ZOOMS[blob] for blob in BRANCHES}
        scores = {blob: _append_branch(net, blob, stride, num_classes, learn) for blob, stride in strides.items()}
        scores['fc8'] = net[row.final]
        if to_pixels:
            for blob, zoom in [(blob, zoom) for blob, zoom in ZOOMS.items() if zoom > 1]:
                scores[blob] = net[f'{blob}_interp'] = aligned(scores[blob], num_classes, zoom)
        net[FUSED] = L.Eltwise(*scores.values(), operation=P.Eltwise.SUM)


def _append_branch(net, blob: str, stride: int, num_classes: int, learn: bool):
    """Scores of the image or of a pooled map: 3x3 at `stride`, 1x1, 1x1."""
    layer_fillers = {'conv': BRANCH_FILLER, 'fc': POOL4_FC_FILLER if blob == 'pool4' else BRANCH_FILLER}
    bottom = net[blob]
    for layer, filler in layer_fillers.items():
        name = f'{blob}_{layer}'
        kernel, pad, step = (3, 1, stride) if layer == 'conv' else (1, 0, 1)
        net[name] = conv(bottom, BRANCH_WIDTH, kernel, stride=step, pad=pad, learn=learn, filler=filler)
        net[f'relu_{name}'] = L.ReLU(net[name], in_place=True)
        bottom = net[f'drop_{name}'] = L.Dropout(net[f'relu_{name}'], dropout_ratio=0.5, in_place=True)
    net[f'{blob}_ms'] = conv(bottom, num_classes, 1, learn=learn, filler=FINAL_FILLER)
    return net[f'{blob}_ms']
