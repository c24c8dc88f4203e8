"""DeepLab (Chen et al. 2015) in its four forms, with stock Caffe's dilation for the field `hole` of their fork.

All layers pad, so an image needs no margin. DeepLab-LargeFOV and the multi-scale forms have 3x3 poolings: 8 n + 1 pixels give
n + 1 cells, the first and the last on the corners. The plain network has 2x2 poolings, each half a pixel off: after three of
them, cell i is centred on pixel 8 i - 3.5. In training pool4 moves that to 8 i + 0.5, and the label is that of pixel 8 i + 1. In
deployment pool4 is padded, which adds a cell in front. The upsampled scores then begin 7 pixels before the image and end 8
pixels after it; a Crop removes both.

Two layers of the authors' fork are stock layers here: Interp, which upsamples in deployment, is a fixed Deconvolution
(layers.aligned), and Padding with negative numbers is a Crop.
"""

from prototxt.experiments import BRANCHES, DeepLab
from prototxt.front_end import filler_of, num_output
from prototxt.layers import L, P, aligned, append_window, conv, learning
from prototxt.shapes import STRIDE, Window, vgg16_trunk

FC6 = {False: Window('fc6', 4, dilation=4, pad=6), True: Window('fc6', 3, dilation=12, pad=12)}  # by `large_fov`
CROPPED = 7  # pixels of plain DeepLab's upsampled scores that lie before the image
FINAL_FILLER = dict(type='gaussian', std=0.01)
BRANCH_WIDTH = 128
ZOOMS = dict(zip((*BRANCHES, 'fc8'), (1, 2, 4, 8, 8, STRIDE), strict=True))  # pixels that one cell of each map spans
BRANCH_FILLER = dict(type='gaussian', std=0.001)
OTHER_FILLERS = {'pool4_fc': dict(type='gaussian', std=0.005), 'pool3_ms': None}  # None: Caffe's default filler, zero
FUSED = 'fc_fusion'


def windows(row: DeepLab, *, deployed: bool) -> tuple[Window, ...]:
    """The layers up to fc7."""
    side = 2 if row.vgg_pools else 3
    pools = [Window(f'pool{group}', side, 2, pad=1) for group in (1, 2, 3)]
    pools += [Window('pool4', side, pad=1 if deployed or not row.vgg_pools else 0), Window('pool5', 3, pad=1)]
    more = (Window('pool5a', 3, pad=1, average=True),) if row.large_fov else ()
    return (*vgg16_trunk(tuple(pools), dilations=(1, 1, 1, 1, 2)), *more, FC6[row.large_fov], Window('fc7', 1))


def append_deeplab(net, row: DeepLab, num_classes: int, *, start: str, learn: bool) -> None:
    """Append the layers after blob `data` in their training form, up to the scores, one per cell: fc8_... or fc_fusion.

    The multi-scale form is trained at stride 8: convolutions on the larger maps have a stride.
    """
    _append_fc8(net, row, num_classes, start, learn=learn, deployed=False)
    if row.multi_scale:
        scores = [_append_branch(net, blob, STRIDE // ZOOMS[blob], num_classes, learn) for blob in BRANCHES]
        net[FUSED] = L.Eltwise(*scores, net[row.final], operation=P.Eltwise.SUM)


def append_deployed_deeplab(net, row: DeepLab, num_classes: int, *, start: str):
    """Append the layers after blob `data` in their deployment form; returns the scores, one per pixel.

    The multi-scale form scores each map at its own resolution, enlarges the scores to pixels and adds them.
    """
    _append_fc8(net, row, num_classes, start, learn=False, deployed=True)
    scores = {blob: _append_branch(net, blob, 1, num_classes, learn=False) for blob in BRANCHES} if row.multi_scale else {}
    scores['fc8'] = net[row.final]
    for blob in scores:
        if ZOOMS[blob] > 1:
            scores[blob] = net[f'{blob}_interp'] = aligned(scores[blob], num_classes, ZOOMS[blob])
    if row.vgg_pools:
        net.fc8_crop = L.Crop(net.fc8_interp, net[start], axis=2, offset=CROPPED)
        return net.fc8_crop
    if row.multi_scale:
        net[FUSED] = L.Eltwise(*scores.values(), operation=P.Eltwise.SUM)
        return net[FUSED]
    return net.fc8_interp


def _append_fc8(net, row: DeepLab, num_classes: int, start: str, *, learn: bool, deployed: bool) -> None:
    """Append the layers up to the scoring layer after fc7."""
    bottom = net[start]
    for window in windows(row, deployed=deployed):
        bottom = append_window(net, bottom, window, num_output(window, row), learn=learn, filler=filler_of(window, row.fc_std))
    net[row.final] = conv(bottom, num_classes, 1, learn=learn, filler=FINAL_FILLER, rates=learning(row.final_rate))


def _append_branch(net, blob: str, stride: int, num_classes: int, learn: bool):
    """Scores of the image or of a pooled map: 3x3 at `stride`, 1x1, 1x1."""
    bottom = net[blob]
    for layer, kernel, pad, step in (('conv', 3, 1, stride), ('fc', 1, 0, 1)):
        name = f'{blob}_{layer}'
        filler = OTHER_FILLERS.get(name, BRANCH_FILLER)
        net[name] = conv(bottom, BRANCH_WIDTH, kernel, stride=step, pad=pad, learn=learn, filler=filler)
        net[f'relu_{name}'] = L.ReLU(net[name], in_place=True)
        bottom = net[f'drop_{name}'] = L.Dropout(net[f'relu_{name}'], dropout_ratio=0.5, in_place=True)
    name = f'{blob}_ms'
    net[name] = conv(bottom, num_classes, 1, learn=learn, filler=OTHER_FILLERS.get(name, FINAL_FILLER))
    return net[name]
