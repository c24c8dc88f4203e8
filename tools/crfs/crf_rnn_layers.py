"""The two layers that stock Caffe lacks for CRF-RNN, as layers of type Python: `caffe train` and pycaffe import this module.

    layer {
      name: "inference1"  type: "Python"  bottom: "unary"  bottom: "image"  top: "pred"
      python_param {
        module: "tools.crfs.crf_rnn_layers"  layer: "MultiStageMeanfield"
        param_str: '{"theta_alpha": 160, "theta_beta": 3, "theta_gamma": 3, "iterations_train": 5, "iterations_test": 10}'
      }
    }

Blobs that do not fit, and a faulty param_str, raise ValueError. In `caffe train` this ends the process.
"""

import json

import caffe
import numpy as np

from tools.crfs.mean_field import MeanField, Parameters, Thetas, bilateral_kernel, potts, spatial_kernel

ZOOM_FACTOR = 8


class MultiStageMeanfield(caffe.Layer):
    """Mean-field iterations as a layer (Zheng et al. 2015); type and blobs as in torrvision/caffe.

    Bottoms: unary, logits (N, C, H, W); image (N, 3, H, W), BGR in grey levels, with or without its mean. Top: logits, as unary.
    Parameters, each (1, 1, C, C): spatial weights, bilateral weights and compatibility, at first 3, 5 and -1 on the diagonal.
    The image has no gradient.
    """

    def setup(self, bottom, top):
        """Read param_str and create the parameters."""
        asked = _param_str(
            self.param_str, theta_alpha=160.0, theta_beta=3.0, theta_gamma=3.0, iterations_train=5, iterations_test=10
        )
        self._thetas = Thetas(*(_positive(asked, f'theta_{name}') for name in ('alpha', 'beta', 'gamma')))
        iterations = [_positive(asked, f'iterations_{phase}') for phase in ('train', 'test')]
        self._iterations = int(iterations[self.phase])
        self._kernel, self._kernel_hw = None, None
        self._fields: list[MeanField] = []
        _check(len(bottom) == 2 and len(top) == 1, 'two bottoms (unary, image) and one top are needed')
        classes = bottom[0].data.shape[1]
        for start in potts(classes):
            self.blobs.add_blob(1, 1, classes, classes)
            self.blobs[len(self.blobs) - 1].data[...] = start

    def reshape(self, bottom, top):
        """Give the top the shape of the unary."""
        unary, image = bottom[0].data.shape, bottom[1].data.shape
        _check(len(unary) == len(image) == 4, f'unary {unary} and image {image} must be N x channels x H x W')
        _check(image == (unary[0], 3, *unary[2:]), f'image {image} must be of the size of unary {unary}, with 3 channels')
        _check(unary[1] == self.blobs[0].data.shape[3], f'unary {unary} has not as many classes as when the layer was made')
        top[0].reshape(*unary)

    def forward(self, bottom, top):
        """Run the iterations on each image of the batch."""
        self._run(bottom, keep=self.phase == caffe.TRAIN, top=top)

    def backward(self, top, propagate_down, bottom):
        """Add the derivatives to those of the parameters; write the derivative by the unary."""
        if not self._fields or not self._fields[0].kept:
            self._run(bottom, keep=True)
        for number, field in enumerate(self._fields):
            gradient, by_parameter = field.backward(_pixels(top[0].diff[number]), self._parameters())
            for blob, derivative in zip(self.blobs, by_parameter, strict=True):
                blob.diff[...] += derivative  # Caffe clears them once per update, which has several passes with iter_size
            if propagate_down[0]:
                bottom[0].diff[number] = gradient.T.reshape(bottom[0].diff[number].shape)
        if propagate_down[1]:
            bottom[1].diff[...] = 0
        self._fields = []

    def _run(self, bottom, *, keep, top=None):
        """Run forward. With `keep`, a MeanField for each image keeps what the backward pass needs."""
        self._fields = []
        for number, (unary, image) in enumerate(zip(bottom[0].data, bottom[1].data, strict=True)):
            field = MeanField(self._spatial(unary.shape[1:]), bilateral_kernel(image, self._thetas))
            logits = field.forward(_pixels(unary), self._parameters(), self._iterations, keep=keep)
            if keep:
                self._fields.append(field)
            if top is not None:
                top[0].data[number] = logits.T.reshape(unary.shape)

    def _spatial(self, size_hw):
        """The spatial kernel. It is made again when the size of the images changes."""
        if self._kernel_hw != size_hw:
            self._kernel, self._kernel_hw = spatial_kernel(size_hw, self._thetas), size_hw
        return self._kernel

    def _parameters(self):
        return Parameters(*(np.array(blob.data[0, 0]) for blob in self.blobs))


class BilinearZoom(caffe.Layer):
    """Enlarges score maps (N, C, h, w) to (N, C, 8h, 8w), or to the height and width of a second bottom. It has no parameters.

    Interpolation is bilinear: pixel (8i, 8j) lies on cell (i, j), and the last cell is repeated. tools.inference.upsampling does
    the same (fyu/dilation util.py, interp_map). Stock Caffe's Deconvolution has no such border.
    """

    def setup(self, bottom, top):
        """Nothing to set up."""
        _check(
            len(bottom) in (1, 2) and len(top) == 1, 'one bottom, or two of which the second has the size, and one top are needed'
        )

    def reshape(self, bottom, top):
        """Give the top the size of the second bottom, or 8 times that of the first."""
        cells_hw = bottom[0].data.shape[2:]
        size_hw = bottom[1].data.shape[2:] if len(bottom) == 2 else tuple(ZOOM_FACTOR * cells for cells in cells_hw)
        covered = all(side <= ZOOM_FACTOR * cells for side, cells in zip(size_hw, cells_hw, strict=True))
        _check(covered, f'{cells_hw} cells of {ZOOM_FACTOR} pixels do not cover {size_hw} pixels')
        self._rows, self._columns = (interpolation(side, cells) for side, cells in zip(size_hw, cells_hw, strict=True))
        top[0].reshape(*bottom[0].data.shape[:2], *size_hw)

    def forward(self, bottom, top):
        """Interpolate along the rows, then along the columns."""
        np.matmul(self._rows, bottom[0].data @ self._columns.T, out=top[0].data)

    def backward(self, top, propagate_down, bottom):
        """Apply the transpose of both interpolations."""
        if propagate_down[0]:
            bottom[0].diff[...] = (self._rows.T @ top[0].diff) @ self._columns


def interpolation(side: int, cells: int, factor: int = ZOOM_FACTOR) -> np.ndarray:
    """float32 (side, cells): the weight of each cell at each pixel along a side."""
    pixels = np.arange(side)
    low, rest = np.divmod(pixels, factor)
    matrix = np.zeros((side, cells), np.float32)
    matrix[pixels, low] = 1 - rest / factor
    matrix[pixels, np.minimum(low + 1, cells - 1)] += rest / factor
    return matrix


def _param_str(text, **defaults):
    """The values in a layer's param_str, a JSON object that may be empty."""
    try:
        given = json.loads(text or '{}')
    except ValueError as error:
        raise ValueError(f'param_str {text!r}: {error}; give a JSON object such as {json.dumps(defaults)}') from error
    _check(isinstance(given, dict) and given.keys() <= defaults.keys(), f'param_str {text!r}: there are {", ".join(defaults)}')
    return defaults | given


def _positive(values, name):
    value = values[name]
    _check(isinstance(value, (int, float)) and value > 0, f'param_str: {name} {value!r} is not positive')
    return value


def _pixels(maps):
    """Maps (C, H, W) as a contiguous copy (n, C). Caffe reuses its memory for other images."""
    return np.ascontiguousarray(maps.reshape(len(maps), -1).T)


def _check(good, fault):
    if not good:
        raise ValueError(f'layer {__name__}: {fault}')
