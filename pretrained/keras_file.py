"""VGG-16 in a Keras file: .h5 as keras.applications publishes it, a whole model's .h5, Keras 3's .weights.h5 and .keras.

Convolutions are (height, width, in, out), dense layers (in, out) on a map flattened as (height, width, channels); both are turned
into Caffe's order. Values are for BGR input with Caffe's mean subtracted. Source: keras-team/keras-applications, vgg16.py.
"""

import re
import zipfile
from math import isqrt
from pathlib import Path

import numpy as np

from pretrained.values import Layers, Values, rows_of_columns
from prototxt.experiments import VGG_CONVOLUTIONS
from tools.support.errors import UserError

SIGNATURE = b'\x89HDF\r\n\x1a\n'
ZIPPED = 'model.weights.h5'  # in a .keras file
CONVOLUTION = re.compile(r'block(\d)_conv(\d)')
DENSE = {'fc1': 'fc6', 'fc2': 'fc7'}
# Keras 3 stores layers by class and order, not by name.
NUMBERED = {f'layers/conv2d{f"_{i}" if i else ""}': name for i, name in enumerate(VGG_CONVOLUTIONS)}
NUMBERED |= {'layers/dense': 'fc6', 'layers/dense_1': 'fc7'}


def read(path: Path) -> Layers:
    """Weights (out, in, height, width) or rows of fc6 and fc7, and biases, by Caffe's layer names.

    Raises UserError for a damaged file, and for kernels in the order of Theano, which also turns them over.
    """
    import h5py  # here, as only this kind of file needs it

    try:
        # A .keras archive holds the HDF5 file as it is; both stay open for as long as values are read from them.
        file = h5py.File(_in_archive(path) if zipfile.is_zipfile(path) else path, 'r')
        found: dict[str, list] = {}
        file.visititems(lambda name, item: _collect(found, name, item) if isinstance(item, h5py.Dataset) else None)
        last = VGG_CONVOLUTIONS[-1]
        channels = _bias(found[last]).shape[0] if last in found else 0
        return {
            name: [_weights(path, name, items, channels), _bias(items)[:]] for name, items in found.items() if len(items) == 2
        }
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(f'{path}: damaged, or no Keras model ({error}); get it again') from error


def _in_archive(path: Path):
    """The HDF5 file in a .keras archive, open."""
    return zipfile.ZipFile(path).open(ZIPPED)


def _collect(found: dict[str, list], name: str, item) -> None:
    """Note a stored array under Caffe's name of its layer; the optimizer's are left."""
    if layer := _layer(name):
        found.setdefault(layer, []).append(item)


def _layer(name: str) -> str | None:
    if 'optimizer' in name:
        return None
    if numbered := NUMBERED.get(name.split('/vars/')[0]):
        return numbered
    if convolution := CONVOLUTION.search(name):
        return f'conv{convolution[1]}_{convolution[2]}'
    return next((ours for part, ours in DENSE.items() if part in name.split('/')), None)


def _bias(items: list):
    (bias,) = (item for item in items if item.ndim == 1)
    return bias


def _weights(path: Path, name: str, items: list, channels: int) -> Values:
    (kernel,) = (item for item in items if item.ndim > 1)
    if kernel.ndim == 2:
        inputs = kernel.shape[0]
        side = isqrt(inputs // channels) if channels and name == 'fc6' else 0
        map_hwc = (side, side, channels) if side and side * side * channels == inputs else None
        return rows_of_columns(lambda first, last: kernel[:, first:last], kernel.shape, map_hwc)
    if kernel.shape[-1] != _bias(items).shape[0]:
        raise UserError(f'{path}: {name} is {kernel.shape}, in the order of Theano; give the file for TensorFlow (tf_kernels)')
    return np.ascontiguousarray(kernel[:].transpose(3, 2, 0, 1), np.float32)
