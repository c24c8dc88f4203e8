"""Seconds and memory of the dense CRF and of CRF-RNN.

Brute force is timed on a smaller image and scaled by the square of the number of pixels.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import joblib
import numpy as np

from tools.bench.stopwatch import apart, best_of
from tools.crfs import dense_crf
from tools.crfs.dense_crf import CrfParameters
from tools.crfs.mean_field import MeanField, Thetas, bilateral_kernel, potts, spatial_kernel
from tools.crfs.refining import ONE_THREAD, in_process
from tools.support.errors import UserError

CLASSES, REPEAT = 21, 3
VOC_HW, SQUARE_HW, BRUTE_HW = (375, 500), (500, 500), (60, 60)
SEARCH_IMAGES = 8


def picture(size_hw: tuple[int, int], image: str) -> np.ndarray:
    """uint8 (H, W, 3): a photograph, or smooth colours with edges and noise."""
    if image:
        return cv2.resize(photograph(Path(image)), size_hw[::-1], interpolation=cv2.INTER_AREA)
    random = np.random.default_rng(0)
    regions = cv2.resize(random.integers(0, 256, (9, 12, 3), np.uint8), size_hw[::-1], interpolation=cv2.INTER_NEAREST)
    shade = cv2.resize(random.integers(0, 60, (5, 5, 3), np.uint8), size_hw[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(regions // 2 + shade + random.normal(0, 3, (*size_hw, 3)), 0, 255).astype(np.uint8)


def photograph(image: Path) -> np.ndarray:
    """uint8 (H, W, 3). Raises UserError if OpenCV cannot read the file."""
    read = cv2.imread(str(image)) if image.is_file() else None
    if read is None:
        raise UserError(f'{image} is not an image that OpenCV reads; give another --image, or none for a drawn one')
    return read


def scores(size_hw: tuple[int, int]) -> np.ndarray:
    """Probabilities float32 (C, H, W), as smooth as scores of a network that are enlarged by 8."""
    cells = np.random.default_rng(1).normal(0, 2, (size_hw[0] // 8 + 1, size_hw[1] // 8 + 1, CLASSES)).astype(np.float32)
    exponentials = np.exp(cv2.resize(cells, size_hw[::-1]).transpose(2, 0, 1))
    return exponentials / exponentials.sum(axis=0)


def refine(image: str, engine: str, size_hw: tuple[int, int]) -> float:
    """Seconds of 10 iterations on one image; `engine` is a function of tools.crfs.dense_crf."""
    logits, bgr, function = np.log(scores(size_hw)), picture(size_hw, image), getattr(dense_crf, engine)
    return best_of(lambda: function(logits, bgr, CrfParameters()), REPEAT)[0]


def crf_rnn(image: str, training: bool) -> float:
    """Seconds on one 500x500 image: 10 iterations forward as in testing, or 5 forward and backward as in training."""
    unary = np.ascontiguousarray(np.log(scores(SQUARE_HW)).reshape(CLASSES, -1).T)
    bgr, thetas, parameters = picture(SQUARE_HW, image).transpose(2, 0, 1).astype(np.float32), Thetas(), potts(CLASSES)
    spatial = spatial_kernel(SQUARE_HW, thetas)  # once for images of one size

    def work() -> None:
        field = MeanField(spatial, bilateral_kernel(bgr, thetas))
        if training:
            field.forward(unary, parameters, 5, keep=True)
            field.backward(unary, parameters)
        else:
            field.forward(unary, parameters, 10)

    return best_of(work, REPEAT)[0]


def brute_force(image: str) -> float:
    """Seconds of 10 iterations over all pairs of pixels in NumPy: 20 times one filtering, which is timed on a small image."""
    small, pixels = picture(BRUTE_HW, image).reshape(-1, 3) / np.float32(3), BRUTE_HW[0] * BRUTE_HW[1]
    rows, columns = np.indices(BRUTE_HW).reshape(2, -1) / np.float32(160)
    features = np.column_stack([rows, columns, small]).astype(np.float32)
    values = np.ascontiguousarray(scores(BRUTE_HW).reshape(CLASSES, -1).T)

    def all_pairs() -> None:
        squares = (features**2).sum(axis=1)
        np.exp(features @ features.T - (squares[:, None] + squares) / 2) @ values

    return 20 * (SQUARE_HW[0] * SQUARE_HW[1] / pixels) ** 2 * best_of(all_pairs, REPEAT)[0]


def search_rate(image: str, jobs: int) -> float:
    """Images per second of the grid search's trials, 500x375, by `jobs` processes."""
    work, parallel = [joblib.delayed(in_process)(_trial, image)] * SEARCH_IMAGES, joblib.Parallel(n_jobs=jobs, backend='loky')
    parallel(work[:jobs])
    began = time.perf_counter()
    parallel(work)
    return SEARCH_IMAGES / (time.perf_counter() - began)


def _trial(image: str) -> int:
    return int(dense_crf.refine(scores(VOC_HW), picture(VOC_HW, image), CrfParameters()).argmax(axis=0).sum())


def compare(photo: Path | None) -> dict:
    """Measure and print all cases on a photograph or a drawn image; returns the results."""
    if photo:
        photograph(photo)
    image = str(photo.resolve()) if photo else ''
    results: dict[str, Any] = {}
    cases: list[tuple[str, int, Callable[..., float], tuple]] = [
        ('dense CRF 500x375, pydensecrf', 1, refine, ('by_pydensecrf', VOC_HW)),
        *(('dense CRF 500x375, ours', cores, refine, ('by_lattice', VOC_HW)) for cores in (1, 2)),
        ('dense CRF 500x500, pydensecrf', 1, refine, ('by_pydensecrf', SQUARE_HW)),
        *(('CRF-RNN 500x500, 10 iterations forward', cores, crf_rnn, (False,)) for cores in (1, 2)),
        *(('CRF-RNN 500x500, 5 iterations forward and backward', cores, crf_rnn, (True,)) for cores in (1, 2)),
        ('brute force 500x500, 10 iterations', 1, brute_force, ()),
    ]
    for name, cores, function, more in cases:
        threads = {variable: str(cores) if variable == 'CRF_THREADS' else value for variable, value in ONE_THREAD.items()}
        found, seconds = apart(function, image, *more, variables=threads)
        print(f'{name}, {cores} core(s): {seconds:.2f} s, {found.peak_bytes / 1e9:.2f} GB', flush=True)
        results[f'{name}, {cores}'] = {'seconds': seconds, 'peak_bytes': found.peak_bytes}
    for jobs in (1, 2):
        os.environ.update(ONE_THREAD)
        rate = search_rate(image, jobs)
        print(f'grid search 500x375, {jobs} process(es): {rate:.2f} images/s', flush=True)
        results[f'search, {jobs}'] = rate
    return results
