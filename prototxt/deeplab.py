"""DeepLab-LargeFOV and DeepLab-MSc-LargeFOV (Chen et al. 2015), with stock Caffe's dilation for the field `hole` of their fork.

Poolings are 3x3 and padded, so that inputs of 8 n + 1 pixels give n + 1 cells, the first and the last on the corner pixels.
The layer Interp of their fork, which upsamples in deployment, is a fixed Deconvolution here (layers.aligned_x8).
"""

from prototxt.experiments import BRANCHES, DeepLab
from prototxt.front_end import filler_of, num_output
from prototxt.layers import L, P, append_window, conv, learning
from prototxt.shapes import Window, vgg16_trunk

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
BRANCH_STRIDES = dict(zip(BRANCHES, (8, 4, 2, 1, 1), strict=True))
BRANCH_FILLER = dict(type='gaussian', std=0.001)
POOL4_FC_FILLER = dict(type='gaussian', std=0.005)
FUSED = 'fc_fusion'


def append_deeplab(net, row: DeepLab, num_classes: int, *, start: str, learn: bool) -> None:
    """Append the layers after blob `data` to a NetSpec, up to the scores: fc8_..., or fc_fusion in the multi-scale form."""
    bottom = net[start]
    for window in LAYERS:
        bottom = append_window(net, bottom, window, num_output(window, row), learn=learn, filler=filler_of(window))
    net[row.final] = conv(bottom, num_classes, 1, learn=learn, filler=FINAL_FILLER, rates=learning(row.final_rate))
    if row.multi_scale:
        scores = [_append_branch(net, blob, num_classes, learn) for blob in BRANCHES]
        net[FUSED] = L.Eltwise(*scores, net[row.final], operation=P.Eltwise.SUM)


def _append_branch(net, blob: str, num_classes: int, learn: bool):
    """Scores of the image or of a pooled map at stride 8: 3x3, 1x1, 1x1."""
    layer_fillers = {'conv': BRANCH_FILLER, 'fc': POOL4_FC_FILLER if blob == 'pool4' else BRANCH_FILLER}
    bottom = net[blob]
    for layer, filler in layer_fillers.items():
        name = f'{blob}_{layer}'
        stride = BRANCH_STRIDES[blob] if layer == 'conv' else 1
        kernel, pad = (3, 1) if layer == 'conv' else (1, 0)
        net[name] = conv(bottom, BRANCH_WIDTH, kernel, stride=stride, pad=pad, learn=learn, filler=filler)
        net[f'relu_{name}'] = L.ReLU(net[name], in_place=True)
        bottom = net[f'drop_{name}'] = L.Dropout(net[f'relu_{name}'], dropout_ratio=0.5, in_place=True)
    net[f'{blob}_ms'] = conv(bottom, num_classes, 1, learn=learn, filler=FINAL_FILLER)
    return net[f'{blob}_ms']
