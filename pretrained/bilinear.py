"""Makes the start of FCN's upsampling layers: bilinear for each class on its own. Caffe has no filler for that.

Released files hold weights (C, C, k, k) for these layers, and training does not change them (shelhamer/fcn.berkeleyvision.org).
"""

import numpy as np

from pretrained.caffemodel import Weights
from prototxt.networks import deploy
from prototxt.shapes import param_shapes


def bilinear_weights(net_name: str) -> Weights:
    """Layer name -> [weights (C, C, k, k)], and a bias of zeros if it has one, of the upsampling layers without a filler."""
    net, weights = deploy(net_name), {}
    shapes = param_shapes(net)
    for layer in net.layer:
        if layer.type == 'Deconvolution' and not layer.convolution_param.HasField('weight_filler'):
            shape, *bias = shapes[layer.name]
            kernels = np.zeros(shape, np.float32)
            kernels[np.arange(shape[0]), np.arange(shape[0])] = bilinear_kernel(shape[-1])
            weights[layer.name] = [kernels, *(np.zeros(one, np.float32) for one in bias)]
    return weights


def bilinear_kernel(side: int) -> np.ndarray:
    """Weights (side, side) for upsampling by half of `side`, rounded up. A cell is centred between its pixels, or on one."""
    distance = np.abs(np.arange(side) - (side - 1) / 2)
    ramp = 1 - distance / ((side + 1) // 2)
    return np.outer(ramp, ramp).astype(np.float32)
