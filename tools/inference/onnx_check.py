"""Runs an exported ONNX file by onnxruntime and compares it with Caffe on a picture."""

from pathlib import Path
from types import ModuleType

import cv2
import numpy as np

from dataset_prep.image_files import read_bgr
from tools.inference.predictor import Predictor
from tools.support.errors import UserError

TOLERANCE = 1e-5  # of a probability
ROUNDING = 2e-6  # share of the largest score: engines that add in another order differ by this much if scores are large


def import_onnxruntime() -> ModuleType:
    """The module `onnxruntime`. If it is missing, raises UserError with the command that installs it."""
    try:
        import onnxruntime
    except ImportError as error:
        raise UserError(
            "tools/export.py checks its file by onnxruntime; run: .venv/bin/pip install 'onnxruntime>=1.22,<2'"
        ) from error
    return onnxruntime


def picture(path: Path | None, size_hw: tuple[int, int]) -> np.ndarray:
    """A picture scaled to uint8 (*size_hw, 3), BGR: from a file, or without one a photograph of scikit-image."""
    if path is None:
        from skimage import data

        image = np.ascontiguousarray(data.astronaut()[:, :, ::-1])
    else:
        image = read_bgr(path)
    return cv2.resize(image, size_hw[::-1], interpolation=cv2.INTER_AREA)


def by_caffe(
    net_name: str, weights: list[Path], tiling: str, image_bgr: np.ndarray
) -> tuple[np.ndarray, dict[str, list[np.ndarray]], float]:
    """Caffe's probabilities of a picture, float32 (C, H, W), the blobs of each layer, and the largest absolute score.

    The blobs include the weights of fixed upsampling, which are in no weight file.
    """
    predictor = Predictor(net_name, weights, tiling=tiling)
    prob, net = predictor.probabilities(image_bgr), predictor.net
    (scores,) = net.bottom_names['prob']
    blobs = {layer: [blob.data.copy() for blob in blobs] for layer, blobs in net.params.items()}
    return prob, blobs, float(np.abs(net.blobs[scores].data).max())


def by_onnxruntime(path: Path, image_bgr: np.ndarray) -> np.ndarray:
    """onnxruntime's probabilities of the picture on the CPU, float32 (C, H, W)."""
    session = import_onnxruntime().InferenceSession(str(path), providers=['CPUExecutionProvider'])
    data = image_bgr.transpose(2, 0, 1)[np.newaxis].astype(np.float32)
    return session.run(None, {'data': data})[0][0]


def compare(found: np.ndarray, expected: np.ndarray, largest_score: float) -> str:
    """The difference of probabilities and labels, in words. Raises UserError if it is larger than rounding explains."""
    error, limit = float(np.abs(found - expected).max()), max(TOLERANCE, ROUNDING * largest_score)
    if not error < limit:
        raise UserError(
            f'onnxruntime and Caffe differ by {error:.1e} in a probability, more than {limit:.0e}; nothing is written. '
            'Try another --image or --size, and label with tools/predict.py meanwhile'
        )
    why = '' if error < TOLERANCE else f' (float32 rounds so much where scores reach {largest_score:.0f})'
    differing = int((found.argmax(axis=0) != expected.argmax(axis=0)).sum())
    # Below the limit, a label can only differ if two classes are equally probable.
    ties = f'{differing} of {found[0].size} labels differ, where two classes are equally probable'
    return f'largest error of a probability {error:.1e}{why}, {ties if differing else "no label differs"}'
