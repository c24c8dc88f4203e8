"""Loads a deploy net with its weights into Caffe, and refuses first whatever Caffe would abort on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pretrained import caffemodel
from tools.support.blas_in_use import warn_of_slow_kernel
from tools.support.caffe_import import import_caffe, net_of
from tools.support.gpus import check_gpu


def load_net(net_param, weights: Sequence[Path], gpu: int | None = None):
    """A caffe.Net in test phase from a NetParameter, on the CPU or on GPU `gpu`. `weights` are loaded in their order.

    Raises UserError if a layer gets no weights, a blob does not fit, a file cannot be read, or there is no such GPU.
    """
    caffemodel.check(net_param, weights)
    caffe = import_caffe()
    warn_of_slow_kernel()
    _set_mode(caffe, gpu)
    net = net_of(net_param)
    for path in weights:
        net.copy_from(str(path))
    return net


def forward(net, *bottoms: np.ndarray) -> np.ndarray:
    """`prob` (C, h, w) for the net's inputs in order, each (channels, H, W). The net is reshaped to their size.

    Raises ValueError for a wrong number of channels, on which Caffe would abort.
    """
    blobs = [net.blobs[name] for name in net.inputs]
    for name, blob, bottom in zip(net.inputs, blobs, bottoms, strict=True):
        if bottom.shape[0] != blob.channels:
            raise ValueError(f'{bottom.shape[0]} channels for blob {name}, which has {blob.channels}')
    if any(blob.data.shape != (1, *bottom.shape) for blob, bottom in zip(blobs, bottoms, strict=True)):
        for blob, bottom in zip(blobs, bottoms, strict=True):
            blob.reshape(1, *bottom.shape)
        net.reshape()
    for blob, bottom in zip(blobs, bottoms, strict=True):
        blob.data[0] = bottom
    return net.forward()['prob'][0].copy()


def _set_mode(caffe, gpu: int | None) -> None:
    if gpu is None:
        caffe.set_mode_cpu()
        return
    check_gpu(gpu)
    caffe.set_device(gpu)  # before set_mode_gpu, which would create the library handles on GPU 0
    caffe.set_mode_gpu()
