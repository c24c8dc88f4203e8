"""Reads labels in MATLAB files, as in SBD (shelhamer/fcn.berkeleyvision.org, voc_layers.py: GTcls, Segmentation)."""

import zlib
from pathlib import Path

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from tools.support.errors import UserError

_BROKEN = (MatReadError, KeyError, ValueError, IndexError, TypeError, OSError, EOFError, NotImplementedError, zlib.error)


def read_mat_label(path: Path) -> np.ndarray:
    """The class ids in a .mat file of SBD, GTcls.Segmentation, uint8 (H, W). Raises UserError if they are missing."""
    if not path.is_file():
        raise UserError(f'no file at {path}; was the data set moved after it was prepared?')
    try:
        segmentation = loadmat(path, variable_names=['GTcls'])['GTcls']['Segmentation'][0, 0]
    except _BROKEN as error:
        raise UserError(
            f'{path} is not a label of SBD: GTcls.Segmentation cannot be read ({error!r}); get the file anew'
        ) from error
    if segmentation.ndim != 2 or segmentation.dtype != np.uint8:
        raise UserError(f'{path}: GTcls.Segmentation is {segmentation.dtype} {segmentation.shape}; expected uint8 (H, W)')
    return np.ascontiguousarray(segmentation)
