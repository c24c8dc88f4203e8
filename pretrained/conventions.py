"""What a VGG-16's first layer expects of pixels, told from its weights; and the same layer for Caffe's pixels.

Caffe's: blue, green, red, 0 to 255, the mean subtracted. Others expect something else, and a first layer computes the same from
Caffe's pixels once that difference is folded into its weights and biases: exactly where it does not pad, as in the front end.
"""

from dataclasses import dataclass

import numpy as np

# Bias of the first output of each convolution, and the first row of the red taps of conv1_1's first output, as printed from
# MatConvNet's imagenet-vgg-verydeep-16 (RGB) by users of it: they tell the ImageNet VGG-16 from a fine-tuned one, BGR from RGB.
FIRST_BIASES = (
    0.73429835, -0.30912212, -0.04577766, -0.06418542, -0.074358866, 0.019675018, 0.035415243,
    0.013485669, 0.023680462, 0.03757768, 0.09722325, 0.21327873, 0.18837857,
)  # fmt: skip
RED_TAPS = (0.480015, 0.408547, -0.0651456)
# The same of the VGG-16 that PyTorch's team trained (torchvision, IMAGENET1K_V1; red, green, blue), as users' printouts have it:
# all taps of the first output of conv1_1, its first bias, and that of conv4_1; four digits.
TORCHVISION_TAPS = (
    ((-0.5537, 0.1427, 0.5290), (-0.5831, 0.3566, 0.7657), (-0.6902, -0.0480, 0.4841)),
    ((0.1755, 0.0099, -0.0814), (0.0441, -0.0703, -0.2604), (0.1324, -0.1728, -0.1323)),
    ((0.3130, -0.1659, -0.4275), (0.4752, -0.0827, -0.4870), (0.6320, 0.0193, -0.2775)),
)
TORCHVISION_BIASES = {0: 0.4034, 7: 0.0626}

MEAN_RGB = np.array([123.68, 116.779, 103.939])  # subtracted for the published VGG-16


@dataclass(frozen=True)
class Convention:
    """Pixels as a first layer expects them: `rgb` or else BGR; (value / 255 - mean) / std in each channel if those are given."""

    what: str
    rgb: bool = False
    mean: tuple[float, float, float] | None = None  # red, green, blue
    std: tuple[float, float, float] | None = None


CONVENTIONS = {
    'caffe': Convention('blue, green, red, 0 to 255, mean subtracted'),
    'caffe-rgb': Convention('red, green, blue, 0 to 255, mean subtracted', rgb=True),
    'torchvision': Convention(
        'red, green, blue, 0 to 1, mean subtracted, divided by the deviation',
        rgb=True, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
    ),
}  # fmt: skip


def recognise(convolutions: list[list[np.ndarray]]) -> tuple[str, str] | None:
    """(convention, whose weights these are) if the 13 convolutions begin as published ones do; None for any other."""
    biases = [blobs[1].reshape(-1)[0] for blobs in convolutions]
    first = convolutions[0][0]
    if np.allclose(biases, FIRST_BIASES, atol=1e-6):
        published = 'the ImageNet VGG-16 of Simonyan and Zisserman'
        for convention, red in (('caffe', 2), ('caffe-rgb', 0)):
            if np.allclose(first[0, red, 0], RED_TAPS, atol=1e-6):
                return convention, published
    taps = first.shape[1:] == (3, 3, 3) and np.allclose(first[0], TORCHVISION_TAPS, atol=6e-5)
    if taps and all(abs(biases[i] - bias) < 6e-5 for i, bias in TORCHVISION_BIASES.items()):
        return 'torchvision', "torchvision's VGG-16 (IMAGENET1K_V1)"
    return None


def for_caffe(weights: np.ndarray, bias: np.ndarray, convention: Convention) -> list[np.ndarray]:
    """[weights, bias] of a first layer (out, 3, k, k) of `convention`, so that it computes the same from Caffe's pixels.

    With x a pixel's value minus Caffe's mean, what the layer expects is ((x + MEAN) / 255 - mean) / std: the factor goes
    into the weights, the constant, times the sum of the taps, into the bias.
    """
    weights, bias = weights.astype(np.float64), bias.astype(np.float64)
    if convention.mean and convention.std:
        factor = 1 / (255 * np.array(convention.std))
        constant = (MEAN_RGB / 255 - convention.mean) / convention.std
        bias = bias + weights.sum(axis=(2, 3)) @ constant
        weights = weights * factor[:, None, None]
    if convention.rgb:
        weights = weights[:, ::-1]
    return [np.ascontiguousarray(weights, np.float32), bias.astype(np.float32)]
