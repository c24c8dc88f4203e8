"""Seconds and memory of the dense CRF and of CRF-RNN, on this machine. `make bench-crf`

.venv/bin/python -m tools.structured.bench [--image FILE]
Brute force is timed on a smaller image and scaled by the square of the pixels.
"""

import argparse
import multiprocessing
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import joblib
import numpy as np

from tools.structured.refining import ONE_THREAD, in_process
from tools.support.errors import UserError, run_command

CLASSES, REPEAT = 21, 3
VOC_HW, SQUARE_HW, BRUTE_HW = (375, 500), (500, 500), (60, 60)
SEARCH_IMAGES = 8


def picture(size_hw: tuple[int, int], image: Path | None) -> np.ndarray:
    """uint8 (H, W, 3): a photograph, or smooth colours with edges and noise."""
    if image:
        return cv2.resize(photograph(image), size_hw[::-1], interpolation=cv2.INTER_AREA)
    random = np.random.default_rng(0)
    regions = cv2.resize(random.integers(0, 256, (9, 12, 3), np.uint8), size_hw[::-1], interpolation=cv2.INTER_NEAREST)
    shade = cv2.resize(random.integers(0, 60, (5, 5, 3), np.uint8), size_hw[::-1], interpolation=cv2.INTER_CUBIC)
    return np.clip(regions // 2 + shade + random.normal(0, 3, (*size_hw, 3)), 0, 255).astype(np.uint8)


def photograph(image: Path) -> np.ndarray:
    """uint8 (H, W, 3); UserError if OpenCV does not read the file."""
    read = cv2.imread(str(image)) if image.is_file() else None
    if read is None:
        raise UserError(f'{image} is not an image that OpenCV reads; give another --image, or none for a drawn one')
    return read


def scores(size_hw: tuple[int, int]) -> np.ndarray:
    """Probabilities float32 (C, H, W), smooth as those of a network that is enlarged by 8."""
    cells = np.random.default_rng(1).normal(0, 2, (size_hw[0] // 8 + 1, size_hw[1] // 8 + 1, CLASSES)).astype(np.float32)
    exponentials = np.exp(cv2.resize(cells, size_hw[::-1]).transpose(2, 0, 1))
    return exponentials / exponentials.sum(axis=0)


def seconds(work: Callable[[], object]) -> float:
    """The least of REPEAT runs, after one that compiles."""
    work()
    times = []
    for _ in range(REPEAT):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


def dense_crf(image: Path | None, engine: str, threads: int) -> dict[str, float]:
    """One 500x375 image, 10 iterations."""
    from tools.structured import dense_crf as module

    os.environ['CRF_THREADS'] = str(threads)
    logits, bgr = np.log(scores(VOC_HW)), picture(VOC_HW, image)
    function, parameters = getattr(module, engine), module.CrfParameters()
    return {'seconds': seconds(lambda: function(logits, bgr, parameters))}


def crf_rnn(image: Path | None, threads: int) -> dict[str, float]:
    """One 500x500 image: 10 iterations forward as in testing, 5 forward and backward as in training."""
    from tools.crf_rnn.mean_field import MeanField, Thetas, bilateral_kernel, potts, spatial_kernel

    os.environ['CRF_THREADS'] = str(threads)
    unary = np.ascontiguousarray(np.log(scores(SQUARE_HW)).reshape(CLASSES, -1).T)
    bgr, thetas, parameters = picture(SQUARE_HW, image).transpose(2, 0, 1).astype(np.float32), Thetas(), potts(CLASSES)
    spatial = spatial_kernel(SQUARE_HW, thetas)  # once for images of one size

    def test() -> None:
        MeanField(spatial, bilateral_kernel(bgr, thetas)).forward(unary, parameters, 10)

    found = {'forward, 10 iterations': seconds(test), 'memory, forward': peak()}

    def train() -> None:
        field = MeanField(spatial, bilateral_kernel(bgr, thetas))
        field.forward(unary, parameters, 5, keep=True)
        field.backward(unary, parameters)

    return found | {'forward and backward, 5 iterations': seconds(train), 'memory, both': peak()}


def pydensecrf_square(image: Path | None) -> dict[str, float]:
    """The same 10 iterations by pydensecrf."""
    from tools.structured import dense_crf as module

    logits, bgr = np.log(scores(SQUARE_HW)), picture(SQUARE_HW, image)
    parameters = module.CrfParameters(5, 160, 3, 3, 3)
    return {'forward, 10 iterations': seconds(lambda: module.by_pydensecrf(logits, bgr, parameters)), 'memory, forward': peak()}


def brute_force(image: Path | None) -> dict[str, float]:
    """One bilateral filtering by all pairs of pixels, in NumPy, scaled to 500x500; 10 iterations have ten of two kernels."""
    small, pixels = picture(BRUTE_HW, image).reshape(-1, 3) / np.float32(3), BRUTE_HW[0] * BRUTE_HW[1]
    rows, columns = np.indices(BRUTE_HW).reshape(2, -1) / np.float32(160)
    features = np.column_stack([rows, columns, small]).astype(np.float32)
    values = np.ascontiguousarray(scores(BRUTE_HW).reshape(CLASSES, -1).T)

    def all_pairs() -> None:
        squares = (features**2).sum(axis=1)
        np.exp(features @ features.T - (squares[:, None] + squares) / 2) @ values

    ratio = (SQUARE_HW[0] * SQUARE_HW[1] / pixels) ** 2
    return {'forward, 10 iterations (scaled)': 20 * ratio * seconds(all_pairs)}


def search_rate(image: Path | None, jobs: int) -> float:
    """Images a second of the grid search's trials, 500x375, by `jobs` processes."""
    work, parallel = [joblib.delayed(in_process)(_trial, image)] * SEARCH_IMAGES, joblib.Parallel(n_jobs=jobs, backend='loky')
    parallel(work[:jobs])
    began = time.perf_counter()
    parallel(work)
    return SEARCH_IMAGES / (time.perf_counter() - began)


def _trial(image: Path | None) -> int:
    from tools.structured.dense_crf import CrfParameters, refine

    return int(refine(scores(VOC_HW), picture(VOC_HW, image), CrfParameters()).argmax(axis=0).sum())


def peak() -> float:
    """Memory of this process at most so far, in GB; Python and its packages alone are about 0.1."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def aside(function: Callable, *args) -> dict[str, float]:
    """function(*args) in a process of its own, whose memory is not that of others."""
    with multiprocessing.get_context('spawn').Pool(1) as pool:
        return pool.apply(function, args)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--image', type=Path, metavar='FILE', help='a photograph (default: a drawn image)')
    image = parser.parse_args(argv).image
    if image:
        photograph(image)  # an error in a child process would be waited for for ever
    os.environ.update({name: value for name, value in ONE_THREAD.items() if name != 'CRF_THREADS'})
    rows = [
        ('dense CRF 500x375, pydensecrf, 1 core', aside(dense_crf, image, 'by_pydensecrf', 1)),
        *((f'dense CRF 500x375, ours, {n} core(s)', aside(dense_crf, image, 'by_lattice', n)) for n in (1, 2)),
        *((f'CRF-RNN 500x500, {n} core(s)', aside(crf_rnn, image, n)) for n in (1, 2)),
        ('pydensecrf 500x500, 1 core', aside(pydensecrf_square, image)),
        ('brute force 500x500, 1 core', aside(brute_force, image)),
    ]
    for name, found in rows:
        print(f'{name}: ' + ', '.join(f'{what} {value:.2f} {"GB" if "memory" in what else "s"}' for what, value in found.items()))
    for jobs in (1, 2):
        print(f'grid search 500x375, {jobs} process(es): {search_rate(image, jobs):.2f} images/s')


if __name__ == '__main__':
    run_command(main)
