"""Makes random weights of full networks, images, probability maps and label maps to measure with."""

from pathlib import Path

import cv2
import numpy as np

from dataset_prep.records import Record, save_split
from pretrained import caffemodel
from prototxt.networks import deploy
from prototxt.shapes import param_shapes
from tools.scoring.benchmarks import LABEL_IDS


def random_caffemodel(net_name: str, path: Path) -> Path:
    """A caffemodel for all layers of a network: normal, scaled as by He et al. (2015). An existing file is kept."""
    if not path.exists():
        rng = np.random.default_rng(1)
        weights = {}
        for layer, shapes in param_shapes(deploy(net_name)).items():
            kernel = rng.standard_normal(shapes[0], np.float32) * np.float32(np.sqrt(2 / np.prod(shapes[0][1:])))
            weights[layer] = [kernel, *(np.zeros(shape, np.float32) for shape in shapes[1:])]
        caffemodel.write(path, weights, net_name)
    return path


def images(folder: Path, count: int, height: int, width: int) -> list[Path]:
    """Write `count` smooth random JPEG pictures; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f'image{number:03}.jpg' for number in range(count)]
    for number, path in enumerate(paths):
        cells = np.random.default_rng(number).integers(0, 256, (height // 16, width // 16, 3), np.uint8)
        cv2.imwrite(str(path), cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC))
    return paths


def split(folder: Path, dataset: str, paths: list[Path]) -> Path:
    """Write a test split of images without ground truth; returns `folder`."""
    save_split(folder, 'test', [Record(path.stem, path, None, dataset) for path in paths])
    return folder


def probabilities(classes: int, size_hw: tuple[int, int], smooth: float) -> np.ndarray:
    """float32 (classes, *size_hw) that sum to one over the classes; `smooth` is in cells, 0 for noise."""
    rng = np.random.default_rng(classes)
    scores = rng.standard_normal((classes, *size_hw), np.float32)
    if smooth:
        scores = np.stack([cv2.GaussianBlur(plane, (0, 0), smooth) for plane in scores])
    powers = np.exp(4 * scores / scores.std())
    return (powers / powers.sum(axis=0)).astype(np.float32)


def city_maps(folder: Path, count: int) -> tuple[Path, Path]:
    """Write label maps of 2048x1024 with Cityscapes' label ids; returns the folders of predictions and of ground truth."""
    predictions, truths = folder / 'pred', folder / 'gt'
    for path in (predictions, truths):
        path.mkdir(parents=True, exist_ok=True)
    ids = np.array(list(LABEL_IDS.values()), np.uint8)
    for number in range(count):
        name = f'bench_{number:06}_000019'
        if not (truths / f'{name}_gtFine_labelIds.png').exists():
            truth, prediction = regions(number), regions(number, noise=0.5)
            cv2.imwrite(str(predictions / f'{name}.png'), ids[prediction])
            cv2.imwrite(str(truths / f'{name}_gtFine_labelIds.png'), ids[truth])
    return predictions, truths


def regions(seed: int, noise: float = 0.0) -> np.ndarray:
    """Labels 0 to 18, uint8 (1024, 2048), in regions of many sizes with smooth borders."""
    rng = np.random.default_rng(seed)
    spread = np.linspace(1.5, 9, 19)
    scores = [cv2.GaussianBlur(rng.standard_normal((128, 256), np.float32), (0, 0), sigma) * sigma for sigma in spread]
    scores = [plane + noise * rng.standard_normal() * 0.1 for plane in scores]
    large = np.stack([cv2.resize(plane, (1024, 512), interpolation=cv2.INTER_LINEAR) for plane in scores]).argmax(axis=0)
    return cv2.resize(large.astype(np.uint8), (2048, 1024), interpolation=cv2.INTER_NEAREST)
