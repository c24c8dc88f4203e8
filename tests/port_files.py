"""Writes weights, given as layers in Caffe's order, to files in the forms of other frameworks and of earlier Caffes."""

import pickle
from pathlib import Path

import h5py
import numpy as np

from pretrained.caffemodel import caffe_pb2
from tests.torch_files import save_zip, state_dict

Layers = dict[str, list[np.ndarray]]


def channels_last(array: np.ndarray) -> np.ndarray:
    """A kernel (out, in, height, width) in TensorFlow's order (height, width, in, out); other arrays are unchanged."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def by_name(layers: Layers, between: str, *parts: str) -> dict[str, np.ndarray]:
    """Layer, `between` and part -> array."""
    return {f'{name}{between}{part}': blob for name, blobs in layers.items() for part, blob in zip(parts, blobs, strict=False)}


def in_tensorflows_order(layers: Layers) -> Layers:
    return {name: [channels_last(blob) for blob in blobs] for name, blobs in layers.items()}


def as_caffe_tensorflow(layers: Layers, path: Path) -> None:
    """ethereon/caffe-tensorflow, nicolov/segmentation_keras: a dictionary of dictionaries in an .npy file."""
    lists = in_tensorflows_order(layers)
    with path.open('wb') as file:
        np.save(file, {name: dict(zip(('weights', 'biases'), blobs, strict=False)) for name, blobs in lists.items()})


def as_lists(layers: Layers, path: Path) -> None:
    """machrisaa/tensorflow-vgg: a dictionary of lists in an .npy file."""
    with path.open('wb') as file:
        np.save(file, in_tensorflows_order(layers))


def as_pickle(layers: Layers, path: Path) -> None:
    """ndrplz/dilation-tensorflow: a pickled dictionary with the names of TensorFlow's variables."""
    path.write_bytes(pickle.dumps(by_name(in_tensorflows_order(layers), '/', 'kernel:0', 'bias:0'), protocol=2))


def as_npz(layers: Layers, path: Path) -> None:
    """cs.toronto.edu/~frossard/vgg16: conv1_1_W, conv1_1_b."""
    with path.open('wb') as file:
        np.savez(file, **by_name(in_tensorflows_order(layers), '_', 'W', 'b'))


def as_theano(layers: Layers, path: Path) -> None:
    """DavideA/dilation-keras: Keras 1 with Theano, which flips kernels. The upsampling mixes all classes."""
    with h5py.File(path, 'w') as file:
        for name, blobs in layers.items():
            if name == 'ctx_upsample':
                blobs = [np.ones((len(blobs[0]), len(blobs[0]), 16, 16), np.float32)]
            for part, blob in zip(('W', 'b'), blobs, strict=False):
                file[f'{name}/{name}_{part}'] = blob[..., ::-1, ::-1] if blob.ndim == 4 else blob


def as_torch(layers: Layers, path: Path) -> None:
    """visinf/1-stage-wseg, wkentaro/pytorch-fcn: a state dict with Caffe's names."""
    save_zip(state_dict(by_name(layers, '.', 'weight', 'bias')), path)


def as_caffes_hdf5(layers: Layers, path: Path) -> None:
    """Caffe's Net::ToHDF5 of a training net: data/LAYER/0, data/LAYER/1, and the same below diff."""
    with h5py.File(path, 'w') as file:
        for name, blobs in layers.items():
            for number, blob in enumerate(blobs):
                file[f'data/{name}/{number}'] = blob
                file[f'diff/{name}/{number}'] = blob * 0


def as_caffe_before_2015(layers: Layers, path: Path) -> None:
    """A caffemodel of V1 layers; each blob has num, channels, height and width, so a bias is (1, 1, 1, n)."""
    message = caffe_pb2().NetParameter(name='old')
    for name, blobs in layers.items():
        layer = message.layers.add(name=name, type='CONVOLUTION')
        for blob in blobs:
            sides = zip(('num', 'channels', 'height', 'width'), (1,) * (4 - blob.ndim) + blob.shape, strict=True)
            layer.blobs.add(data=blob.ravel().tolist(), **dict(sides))
    path.write_bytes(message.SerializeToString())
