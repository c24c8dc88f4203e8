"""PNG files that are whole or not there."""

from pathlib import Path

import cv2
import numpy as np

from tools.support.atomic import whole_file
from tools.support.errors import UserError


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write uint8 (H, W) grey values or ids, or (H, W, 3) BGR, whole or not at all; UserError if the disk does not take it."""
    with whole_file(path) as temporary:
        if not cv2.imwrite(str(temporary), picture):  # which says no more, and takes away what it wrote
            raise UserError(f'{path} cannot be written: is the disk full, or the folder not to be written to?')
