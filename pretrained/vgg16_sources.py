"""A VGG-16 of any kind, recognised by looking at the file: its weights by Caffe's layer names."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

from pretrained import caffemodel, keras_file, onnx_file, safetensors_file, torch_file, torch_names
from pretrained.values import Layers
from tools.support.errors import UserError

KINDS = 'a caffemodel, a PyTorch state dict (.pth), safetensors, a Keras file (.h5, .keras) or an ONNX model'


@dataclass(frozen=True)
class Source:
    """Layers of a file, and what its kind says of the pixels they expect: a row of CONVENTIONS, or nothing."""

    kind: str
    layers: Layers
    convention: str | None


def read(path: Path) -> Source:
    """The weights in `path`, most of them left in the file. Raises UserError for a file of no kind that is known, or damaged."""
    try:
        with path.open('rb') as file:
            start = file.read(16)
    except OSError as error:
        raise UserError(f'{path}: cannot be read ({error.strerror}); give a VGG-16: {KINDS}') from error
    if start[:4] == b'PK\x03\x04':
        return _archive(path)
    if start[:8] == keras_file.SIGNATURE:
        return Source('Keras', keras_file.read(path), 'caffe')
    if start.startswith(torch_file.OLD_MAGIC[:16]):
        return Source('PyTorch', torch_names.layers(path, torch_file.read(path)), None)
    if start[:1] == b'\x80' and start[1:2] in b'\x00\x01\x02\x03\x04\x05':
        raise UserError(f'{path}: a pickle that PyTorch did not write, which could run any program; give {KINDS}')
    if safetensors_file.head_bytes(start, path.stat().st_size) is not None:
        return Source('safetensors', torch_names.layers(path, safetensors_file.read(path)), None)
    if start[:1] == b'\x08':  # field 1 a number: ONNX's version; a caffemodel has text there
        return _onnx(path)
    held = caffemodel.stored(path)
    return Source('Caffe', {name: [blob.view() for blob in blobs] for name, blobs in held.items() if blobs}, 'caffe')


def _archive(path: Path) -> Source:
    """A zip archive: PyTorch's, Keras's, or a wheel with an ONNX model."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
        if torch_file.is_zipped(names):
            return Source('PyTorch', torch_names.layers(path, torch_file.read(path)), None)
        return Source('Keras', keras_file.read(path), 'caffe') if keras_file.ZIPPED in names else _onnx(path)
    except zipfile.BadZipFile as error:
        raise UserError(f'{path}: damaged ({error}); delete it and get it again') from error


def _onnx(path: Path) -> Source:
    layers, by_keras = onnx_file.read(path)
    return Source('ONNX', layers, 'caffe' if by_keras else None)
