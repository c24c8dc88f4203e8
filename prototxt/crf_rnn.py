"""CRF-RNN after the scores of a network (Zheng et al. 2015): upsampling by 8, then mean-field iterations at every pixel.

Two Python layers (tools/crfs/crf_rnn_layers.py), which stock Caffe loads from this checkout. Names, shapes and rates come from
torrvision/caffe, examples/segmentationcrfasrnn.
"""

import json
from dataclasses import asdict

from prototxt.experiments import CrfRnn
from prototxt.layers import L
from prototxt.shapes import MARGIN

LAYER = 'inference1'  # its name in the authors' caffemodels
MODULE = 'tools.crfs.crf_rnn_layers'
RATES = [dict(lr_mult=10_000), dict(lr_mult=10_000), dict(lr_mult=1_000)]  # spatial and bilateral weights, compatibility


def append_crf_rnn(net, scores, crf_rnn: CrfRnn, *, image=None, window=None, pixels: bool = False, learn: bool):
    """Append CRF-RNN after `scores` (one per cell, or with `pixels` one per pixel); returns the logits, one per pixel.

    `image`: the blob of the image, which has the size of the logits; by default it is cropped from the blob `data`. `window`: a
    blob with the size of the image without its margin. In training the Crop takes its size from `window` and not from the
    upsampled scores, because its second input must take no gradient.
    """
    zoom = dict(module=MODULE, layer='BilinearZoom')
    if pixels:
        image = net.data
    elif image is None:
        scores = net.upscore = L.Python(scores, python_param=zoom)
        image = net.image = L.Crop(net.data, scores if window is None else window, axis=2, offset=MARGIN)
    else:
        scores = net.upscore = L.Python(scores, image, python_param=zoom)
    param = dict(module=MODULE, layer='MultiStageMeanfield', param_str=json.dumps(asdict(crf_rnn)))
    net[LAYER] = L.Python(scores, image, python_param=param, **(dict(param=RATES) if learn else {}))
    return net[LAYER]
