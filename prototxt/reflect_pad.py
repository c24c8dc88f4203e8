"""Reflection padding as a Python layer of Caffe. Stock layers only pad with zeros; the paper tried both (Sec. 5).

A net with this layer needs a Caffe with Python layers and this checkout on PYTHONPATH. It trains on one GPU at most.
"""

import caffe
import numpy as np


def reflected(size: int, pad: int) -> np.ndarray:
    """For each of `size + 2 pad` places, the index that it copies. The edge is not copied twice; `pad` may exceed `size`."""
    return np.pad(np.arange(size), pad, mode='reflect')


class ReflectPad(caffe.Layer):
    """Bottom (N, C, h, w) to top (N, C, h + 2 pad, w + 2 pad); `param_str` is `pad` in cells."""

    def setup(self, bottom, top):
        self.pad = int(self.param_str)

    def reshape(self, bottom, top):
        number, channels, *size_hw = bottom[0].data.shape
        self.rows, self.columns = (reflected(side, self.pad) for side in size_hw)
        top[0].reshape(number, channels, len(self.rows), len(self.columns))

    def forward(self, bottom, top):
        np.take(np.take(bottom[0].data, self.rows, axis=2), self.columns, axis=3, out=top[0].data)

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            height, width = bottom[0].data.shape[2:]
            bottom[0].diff[...] = _places(self.rows, height).T @ top[0].diff @ _places(self.columns, width)


def _places(indices: np.ndarray, size: int) -> np.ndarray:
    """Matrix (len(indices), size) with ones at the copied places. Padding multiplies by it, the gradient by its transpose."""
    return (indices[:, None] == np.arange(size)).astype(np.float32)
