"""Reading label maps from PNG files that networks, ours or others, made; scoring is mostly that."""

from pathlib import Path

import numpy as np

from dataset_prep.image_files import read_index_label
from dataset_prep.label_png import DAMAGED, PNG_END, PNG_START, decode
from tools.support.errors import UserError


def read_map(path: Path) -> np.ndarray:
    """A label map, uint8 (H, W): values of a grey PNG, or indices of one with a palette. UserError if it is no whole one."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f'{path} cannot be read ({error.strerror})') from error
    if content.startswith(PNG_START) and PNG_END not in content:
        raise UserError(f'{path} cannot be read (its end is missing); make it anew')
    try:
        found = decode(content)
    except DAMAGED as error:
        raise UserError(f'{path} cannot be read ({error}); make it anew') from error
    return read_index_label(path) if found is None else found
