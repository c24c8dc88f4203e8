"""Writes PNG files that are complete or absent."""

from pathlib import Path

import cv2
import numpy as np

from tools.support.atomic import whole_file


def write_png(path: Path, picture: np.ndarray) -> None:
    """Write uint8 (H, W) grey values or ids, or (H, W, 3) BGR, complete or not at all. Raises OSError with the reason."""
    with whole_file(path) as temporary:
        temporary.write_bytes(cv2.imencode('.png', picture)[1].tobytes())
