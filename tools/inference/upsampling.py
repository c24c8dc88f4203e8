"""From a stride-8 map of class probabilities to a label for each pixel (fyu/dilation util.py, interp_map)."""

import numpy as np

BAND = 64  # rows interpolated at a time: the whole enlarged map of a 2048x1024 image and 19 classes would take 160 MB


def zoom(prob: np.ndarray, size_hw: tuple[int, int], factor: int) -> np.ndarray:
    """`prob` (C, h, w) enlarged to float32 (C, *size_hw) by bilinear interpolation, aligned at the origin.

    Pixel y lies between cells y // factor and the next, at y / factor. The authors' formula reads one cell beyond the map
    when the map ends with the image; here the last cell is repeated. Raises ValueError if the map does not cover the image.
    """
    return _zoom_rows(_zoom_columns(prob, size_hw, factor), range(size_hw[0]), factor)


def argmax(prob: np.ndarray, size_hw: tuple[int, int], factor: int) -> np.ndarray:
    """The most probable class, uint8 (H, W), after `zoom`; the first one where several are equal."""
    height, width = size_hw
    labels = np.empty((height, width), np.uint8)
    wide = _zoom_columns(prob, size_hw, factor)
    for top in range(0, height, BAND):
        rows = range(top, min(top + BAND, height))
        labels[rows.start : rows.stop] = _zoom_rows(wide, rows, factor).argmax(axis=0)
    return labels


def _zoom_columns(prob: np.ndarray, size_hw: tuple[int, int], factor: int) -> np.ndarray:
    """`prob` (C, h, w) enlarged along its rows only: (C, h, W)."""
    _, cells_high, cells_wide = prob.shape
    if cells_high * factor < size_hw[0] or cells_wide * factor < size_hw[1]:
        raise ValueError(
            f'a map of {cells_high}x{cells_wide} cells of {factor} pixels does not cover {size_hw[0]}x{size_hw[1]} pixels'
        )
    low, high, weight = _neighbours(range(size_hw[1]), cells_wide, factor)
    return prob[:, :, low] * (1 - weight) + prob[:, :, high] * weight


def _zoom_rows(prob: np.ndarray, rows: range, factor: int) -> np.ndarray:
    """Pixel rows `rows` of `prob` (C, h, W) enlarged along its columns: (C, len(rows), W)."""
    low, high, weight = _neighbours(rows, prob.shape[1], factor)
    weight = weight[:, np.newaxis]
    return prob[:, low] * (1 - weight) + prob[:, high] * weight


def _neighbours(pixels: range, cells: int, factor: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each pixel: the cell it lies in, the next one (or the last), and the next one's weight."""
    low, rest = np.divmod(np.array(pixels), factor)
    return low, np.minimum(low + 1, cells - 1), (rest / factor).astype(np.float32)
