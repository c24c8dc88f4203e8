"""VGG-16's layers as PyTorch's libraries name them: torchvision (features.N, classifier.N), and timm (pre_logits.fcN)."""

from pathlib import Path

import numpy as np

from pretrained.values import Layers
from prototxt.experiments import VGG_CONVOLUTIONS
from tools.support.errors import UserError


def names() -> dict[str, str]:
    """PyTorch's layer name -> Caffe's. A Sequential counts convolutions, ReLUs and poolings."""
    found, index, block = {}, 0, 'conv1'
    for name in VGG_CONVOLUTIONS:
        index += not name.startswith(block)  # the pooling in between
        block = name.split('_')[0]
        found[f'features.{index}'] = name
        index += 2
    return found | {'classifier.0': 'fc6', 'classifier.3': 'fc7', 'pre_logits.fc1': 'fc6', 'pre_logits.fc2': 'fc7'}


def layers(path: Path, tensors: dict[str, np.ndarray]) -> Layers:
    """Weights and biases by Caffe's layer names. Raises UserError for the variant with batch normalization."""
    if tensors.get('features.1.weight', np.empty(())).ndim == 1:
        raise UserError(f'{path}: a VGG-16 with batch normalization, which the front end has not; give one without')
    found: Layers = {}
    for theirs, ours in names().items():
        pair = [tensors.get(f'{theirs}.{part}') for part in ('weight', 'bias')]
        if all(values is not None for values in pair):
            found[ours] = [values for values in pair if values is not None]
    return found
