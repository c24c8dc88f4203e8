"""Reads weights from a Keras file: .h5 of keras.applications or of a whole model, .weights.h5 and .keras of Keras 3.

With TensorFlow, kernels are (height, width, in, out), and matrices (in, out) for maps flattened as (height, width, channels).
With Theano, kernels have Caffe's order but are flipped, because Theano flips them when it convolves; maps are flattened as in
Caffe. Sources: keras-team/keras-applications, vgg16.py; keras/utils/conv_utils.py of Keras 1 and 2, convert_kernel.
"""

import zipfile
from pathlib import Path

from pretrained import layer_names
from pretrained.layouts import in_caffes_order
from pretrained.values import Layers
from tools.support.errors import UserError

SIGNATURE = b'\x89HDF\r\n\x1a\n'
ZIPPED = 'model.weights.h5'  # in a .keras file


def read(path: Path) -> tuple[Layers, bool]:
    """Layers by Caffe's names in Caffe's order, and whether kernels are flipped (Theano). Raises UserError for a damaged file."""
    import h5py  # here, as only this kind of file needs it

    try:
        # A .keras archive holds the HDF5 file as it is; both stay open for as long as values are read from them.
        file = h5py.File(_in_archive(path) if zipfile.is_zipfile(path) else path, 'r')
        arrays: dict[str, h5py.Dataset] = {}
        file.visititems(lambda name, item: arrays.update({name: item}) if isinstance(item, h5py.Dataset) else None)
        numbers = {name: item for name, item in arrays.items() if item.dtype.kind == 'f'}
        found, channels_last = in_caffes_order(path, layer_names.layers(path, numbers), inputs_first=True)
        return found, not channels_last
    except (OSError, KeyError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
        raise UserError(f'{path}: damaged, or HDF5 of neither Keras nor Caffe ({error}); get it again') from error


def _in_archive(path: Path):
    """The HDF5 file in a .keras archive, open."""
    return zipfile.ZipFile(path).open(ZIPPED)
