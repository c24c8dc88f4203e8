"""Recognises from its weights which pixels a VGG-16's first layer expects, and changes it to Caffe's pixels.

Also tells which way round kernels and colours are in a network that was fine-tuned from VGG-16.

Caffe's pixels are blue, green, red, 0 to 255, minus the mean. Other conventions can be folded into weights and biases of the
first layer. The result is exact where the layer does not pad, as in the front end.
"""

from dataclasses import dataclass

import numpy as np

# Bias of the first output of each convolution, and all taps of conv1_1's first output (red, green, blue) with four digits, as
# users of MatConvNet's imagenet-vgg-verydeep-16 printed them. They tell the ImageNet VGG-16 from a fine-tuned one.
FIRST_BIASES = (
    0.73429835, -0.30912212, -0.04577766, -0.06418542, -0.074358866, 0.019675018, 0.035415243,
    0.013485669, 0.023680462, 0.03757768, 0.09722325, 0.21327873, 0.18837857,
)  # fmt: skip
TAPS = (
    ((0.4800, 0.4085, -0.0651), (0.3105, 0.0502, -0.4034), (-0.0509, -0.2852, -0.4185)),
    ((0.5504, 0.4401, -0.0814), (0.3457, 0.0406, -0.4535), (-0.0586, -0.3307, -0.4850)),
    ((0.4295, 0.3735, -0.0614), (0.2748, 0.0387, -0.3672), (-0.0575, -0.2622, -0.3501)),
)
DIGITS = 6e-5  # error of taps with four digits
# The same for the VGG-16 that PyTorch's team trained (torchvision, IMAGENET1K_V1; red, green, blue), from users' printouts: all
# taps of the first output of conv1_1, and the first biases of conv1_1 and conv4_1; four digits.
TORCHVISION_TAPS = (
    ((-0.5537, 0.1427, 0.5290), (-0.5831, 0.3566, 0.7657), (-0.6902, -0.0480, 0.4841)),
    ((0.1755, 0.0099, -0.0814), (0.0441, -0.0703, -0.2604), (0.1324, -0.1728, -0.1323)),
    ((0.3130, -0.1659, -0.4275), (0.4752, -0.0827, -0.4870), (0.6320, 0.0193, -0.2775)),
)
TORCHVISION_BIASES = {0: 0.4034, 7: 0.0626}

MEAN_RGB = np.array([123.68, 116.779, 103.939])  # subtracted for the published VGG-16


@dataclass(frozen=True)
class Convention:
    """The pixels that a first layer expects: RGB or BGR; with `mean` and `std`, (value / 255 - mean) / std in each channel."""

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


@dataclass(frozen=True)
class Orientation:
    """The orientation of kernels: RGB or BGR; `turned_over` (for a flipping convolution) or as in Caffe."""

    rgb: bool
    turned_over: bool


def recognise(convolutions: list[list[np.ndarray]]) -> tuple[str, str] | None:
    """(convention, publisher) if the 13 convolutions begin like published ones, else None.

    They are compared to as many digits as the numbers have, so a copy in half precision is recognised too.
    """
    biases = np.array([blobs[1].reshape(-1)[0] for blobs in convolutions], np.float64)
    first = np.asarray(convolutions[0][0], np.float64)
    relative = _precision(biases)
    if first.shape[1:] != (3, 3, 3):
        return None
    if np.allclose(biases, FIRST_BIASES, rtol=relative, atol=1e-6):
        published = 'the ImageNet VGG-16 of Simonyan and Zisserman'
        for convention, taps in (('caffe', TAPS[::-1]), ('caffe-rgb', TAPS)):
            if np.allclose(first[0], taps, rtol=relative, atol=DIGITS):
                return convention, published
    own = all(abs(biases[i] - bias) < DIGITS + relative * abs(bias) for i, bias in TORCHVISION_BIASES.items())
    if own and np.allclose(first[0], TORCHVISION_TAPS, rtol=relative, atol=DIGITS):
        return 'torchvision', "torchvision's VGG-16 (IMAGENET1K_V1)"
    return None


def orientation(weights: np.ndarray) -> Orientation | None:
    """Orientation of a first layer (out, 3, 3, 3) that was fine-tuned from the ImageNet VGG-16; None for any other layer.

    Fine-tuning moves the first output only a little, so one of the four orientations is by far the nearest.
    """
    if weights.shape[1:] != (3, 3, 3):
        return None
    bgr = np.array(TAPS)[::-1]
    ways = {
        Orientation(rgb, turned_over): (bgr[::-1] if rgb else bgr)[(..., *(slice(None, None, -1),) * 2) if turned_over else ...]
        for rgb in (False, True)
        for turned_over in (False, True)
    }
    distances = {way: np.linalg.norm(weights[0] - taps) for way, taps in ways.items()}
    nearest, second, *_ = sorted(distances, key=lambda way: distances[way])
    return nearest if distances[nearest] < distances[second] / 2 else None


def _precision(numbers: np.ndarray) -> float:
    """The relative rounding error of numbers, from the number of zero bits at the end of their 32-bit floats."""
    bits = int(np.bitwise_or.reduce(numbers.astype('<f4').view('<u4')))
    zeros = (bits & -bits).bit_length() - 1 if bits else 0
    return 2.0 ** (min(zeros, 16) - 24)


def for_caffe(weights: np.ndarray, bias: np.ndarray, convention: Convention) -> list[np.ndarray]:
    """[weights, bias] of a first layer (out, 3, k, k) of `convention`, changed so that it takes Caffe's pixels.

    Let x be a pixel minus Caffe's mean. The layer expects ((x + MEAN) / 255 - mean) / std: the factor goes into the weights; the
    constant, times the sum of the taps, goes into the bias.
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
