"""Reads a weight file of any form, recognised by its content: layers by Caffe's names, in Caffe's order."""

import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pretrained import caffemodel, keras_file, layer_names, layouts, numpy_file, onnx_file, safetensors_file, torch_file
from pretrained.conventions import orientation
from pretrained.values import Layers, Values, turned_over
from prototxt.experiments import VGG_CONVOLUTIONS
from tools.support.errors import UserError

KINDS = (
    "Caffe's .caffemodel or .caffemodel.h5, PyTorch's state dict (.pth, .safetensors), Keras's .h5 or .keras, "
    "NumPy's .npy, .npz or a pickle of arrays, or ONNX"
)


@dataclass(frozen=True)
class Source:
    """Layers of a file: VGG-16's under Caffe's names, all others under their own.

    `convention`: the pixels that conv1_1 expects by the kind of file, a row of CONVENTIONS, or ''. `turned_over`: whether this
    kind stores flipped kernels, if the values do not tell.
    """

    kind: str
    layers: Layers
    convention: str | None = None
    turned_over: bool = False


def read(path: Path) -> Source:
    """The weights in `path`, most of them memory-mapped. Raises UserError for an unknown or damaged file."""
    source = _read(path)
    first = source.layers.get(VGG_CONVOLUTIONS[0], [np.empty(0)])[0]
    way = orientation(first) if isinstance(first, np.ndarray) else None
    if not (way.turned_over if way else source.turned_over):
        return source
    layers = {name: [turned_over(blob) if _is_kernel(blob) else blob for blob in blobs] for name, blobs in source.layers.items()}
    return replace(source, kind=f'{source.kind}, its kernels turned over', layers=layers)


def _is_kernel(values: Values) -> bool:
    """Whether an array is a kernel. Matrices in Caffe's old files and its mean field have two leading ones."""
    return len(values.shape) == 4 and values.shape[:2] != (1, 1)


def _read(path: Path) -> Source:
    """read() with the kernels as stored."""
    try:
        with path.open('rb') as file:
            start = file.read(16)
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror}); give {KINDS}') from error
    if start[:4] == b'PK\x03\x04':
        return _archive(path)
    if start[:8] == keras_file.SIGNATURE and not caffemodel.is_caffes_hdf5(path):
        return _keras(path)
    if start.startswith(torch_file.OLD_MAGIC[:16]):
        return _torch(path)
    if start.startswith((numpy_file.MAGIC, *numpy_file.PICKLES)):
        return _numpy(path)
    if safetensors_file.head_bytes(start, path.stat().st_size) is not None:
        return Source('safetensors', layer_names.layers(path, safetensors_file.read(path)))
    if start[:1] == b'\x08':  # field 1 a number: ONNX's version; a caffemodel has text there
        return _onnx(path)
    try:
        held = caffemodel.stored(path)
    except UserError as error:
        if start.startswith(caffemodel.BEGINNINGS) or not isinstance(error.__cause__, ValueError):
            raise
        raise UserError(f'{path}: not a kind of weight file that can be read here; give {KINDS}') from error
    return Source('Caffe', {name: [blob.plain() for blob in blobs] for name, blobs in held.items() if blobs}, 'caffe')


def _archive(path: Path) -> Source:
    """A zip archive: PyTorch's, Keras's, NumPy's, or a wheel with an ONNX model."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if torch_file.is_zipped(names):
            return _torch(path)
        if keras_file.ZIPPED in names:
            return _keras(path)
        return _numpy(path) if any(name.endswith('.npy') for name in names) else _onnx(path)
    except zipfile.BadZipFile as error:
        raise UserError(f'{path}: damaged ({error}); delete it and get it again') from error


def _torch(path: Path) -> Source:
    return Source('PyTorch', layer_names.layers(path, torch_file.read(path)))


def _keras(path: Path) -> Source:
    layers, as_theano = keras_file.read(path)
    return Source('Keras', layers, 'caffe', as_theano)


def _numpy(path: Path) -> Source:
    layers, _ = layouts.in_caffes_order(path, layer_names.layers(path, numpy_file.read(path)), inputs_first=False)
    return Source('NumPy', layers)


def _onnx(path: Path) -> Source:
    layers, by_keras = onnx_file.read(path)
    return Source('ONNX', layers, 'caffe' if by_keras else None)
