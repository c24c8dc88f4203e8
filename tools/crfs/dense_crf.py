"""The dense CRF of Kraehenbuehl and Koltun (NIPS 2011), as DeepLab uses it (Chen et al., ICLR 2015, eq. 1 and 2).

The unary is -log p. Potts terms have two kernels on positions p and colours I:
    w1 exp(-|p_i - p_j|^2 / 2 sa^2 - |I_i - I_j|^2 / 2 sb^2) + w2 exp(-|p_i - p_j|^2 / 2 sg^2)
Each kernel is divided by its sum around pixel i, as in their first code (NORMALIZE_AFTER). Inference is mean-field.
"""

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from tools.support.atomic import write_json
from tools.support.errors import UserError

FORMAT = 'dense CRF parameters, version 1'
LEAST_PROBABILITY = 1e-5  # as pydensecrf's unary_from_softmax: a class is never ruled out


@dataclass(frozen=True)
class CrfParameters:
    """Weights and standard deviations, in pixels and in grey levels of 0-255. The defaults are DeepLab-LargeFOV's on VOC."""

    bilateral_weight: float = 4.0  # w1
    position_std: float = 121.0  # sa
    colour_std: float = 5.0  # sb
    spatial_weight: float = 3.0  # w2
    spatial_std: float = 3.0  # sg
    iterations: int = 10

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            least = 0 if name.endswith('weight') else 1e-3
            if not (isinstance(value, (int, float)) and math.isfinite(value) and value >= least):
                raise UserError(f'dense CRF: {name} {value!r} must be a number of at least {least:g}')
        if self.iterations != int(self.iterations) or self.iterations < 1:
            raise UserError(f'dense CRF: iterations {self.iterations} must be a whole number of at least 1')


def save_parameters(path: Path, parameters: CrfParameters, **found: object) -> None:
    """Write a file for --crf, whole or not at all. `found` says how the parameters were found, as JSON."""
    write_json(path, {'format': FORMAT, 'parameters': asdict(parameters), **found})


def load_parameters(path: Path) -> CrfParameters:
    """Parameters from a file. Raises UserError if it is missing or holds something else."""
    try:
        content = json.loads(path.read_text())
        if content['format'] != FORMAT:
            raise ValueError(f'its format is {content["format"]!r}')
        values = content['parameters']
        unknown = values.keys() - {field.name for field in fields(CrfParameters)}
        if unknown:
            raise ValueError(f'no such parameters: {", ".join(sorted(unknown))}')
        return CrfParameters(**values)
    except UserError as error:
        raise UserError(f'{path}: {error}; make it with tools/crf_search.py') from error
    except OSError as error:
        raise UserError(f'{path}: {error.strerror}; make it with tools/crf_search.py') from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f'{path} holds no dense CRF parameters ({error}); make it with tools/crf_search.py') from error


def refine(prob: np.ndarray, image_bgr: np.ndarray, parameters: CrfParameters) -> np.ndarray:
    """Refined probabilities, float32 (C, H, W), from those of a network, `prob` (C, H, W), and the image, uint8 (H, W, 3)."""
    if prob.shape[1:] != image_bgr.shape[:2]:
        raise ValueError(f'scores of {prob.shape[1:]} pixels for an image of {image_bgr.shape[:2]} (height, width)')
    logits = np.log(np.clip(prob, LEAST_PROBABILITY, 1, dtype=np.float32))
    return engine()(logits, image_bgr, parameters)


def engine() -> Callable[[np.ndarray, np.ndarray, CrfParameters], np.ndarray]:
    """pydensecrf if `make crf-packages` has installed it (not for Python 3.13), else the same iterations in `mean_field`."""
    try:
        import pydensecrf.densecrf  # noqa: F401 -- only asked whether it is there
    except ImportError:
        return by_lattice
    return by_pydensecrf


def by_pydensecrf(logits: np.ndarray, image_bgr: np.ndarray, parameters: CrfParameters) -> np.ndarray:
    """Refined probabilities, float32 (C, H, W), from logits by Kraehenbuehl's own code."""
    from pydensecrf import densecrf

    classes, height, width = logits.shape
    crf = densecrf.DenseCRF2D(width, height, classes)
    crf.setUnaryEnergy(np.ascontiguousarray(-logits.reshape(classes, -1)))
    after = densecrf.NORMALIZE_AFTER
    crf.addPairwiseGaussian(parameters.spatial_std, parameters.spatial_weight, normalization=after)
    deviations = parameters.position_std, parameters.colour_std
    image, weight = np.ascontiguousarray(image_bgr), parameters.bilateral_weight
    crf.addPairwiseBilateral(*deviations, image, weight, normalization=after)
    return np.array(crf.inference(parameters.iterations), np.float32).reshape(logits.shape)


def by_lattice(logits: np.ndarray, image_bgr: np.ndarray, parameters: CrfParameters) -> np.ndarray:
    """The same from the mean field of CRF-RNN, with the same energy."""
    from tools.crfs.mean_field import MeanField, Thetas, bilateral_kernel, potts, softmax, spatial_kernel

    classes, *size_hw = logits.shape
    thetas = Thetas(parameters.position_std, parameters.colour_std, parameters.spatial_std)
    image = image_bgr.transpose(2, 0, 1).astype(np.float32)
    field = MeanField(spatial_kernel((size_hw[0], size_hw[1]), thetas), bilateral_kernel(image, thetas))
    unary = np.ascontiguousarray(logits.reshape(classes, -1).T)
    weights = potts(classes, parameters.spatial_weight, parameters.bilateral_weight)
    return np.ascontiguousarray(softmax(field.forward(unary, weights, parameters.iterations)).T).reshape(logits.shape)
