"""Counts how often each class occurs in the labels of an LMDB, and computes weights that balance the classes."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from dataset_prep.datum import decode_label
from dataset_prep.feature_geometry import label_planes
from dataset_prep.lmdb_store import read_manifest, reading
from dataset_prep.parallel import in_order
from dataset_prep.progress import progress


@dataclass(frozen=True)
class ClassCounts:
    """Labelled pixels by class id, int64 (C,): those of the class, and those of all images that contain it."""

    pixels: np.ndarray
    pixels_of_images: np.ndarray


def count_classes(lmdb: Path, num_classes: int) -> ClassCounts:
    """Counts over the labels of an LMDB of images or of maps. 255 is not counted."""
    manifest = read_manifest(lmdb)
    planes = label_planes(manifest) if manifest['kind'] == 'features' else 1
    pixels, pixels_of_images = np.zeros((2, num_classes), np.int64)
    with reading(lmdb) as transaction:
        values = (value for _, value in transaction.cursor())
        histograms = in_order(partial(_histogram, planes, num_classes), values)
        for histogram in progress(histograms, 'counting labels', manifest['count']):
            pixels += histogram
            pixels_of_images += np.where(histogram > 0, histogram.sum(), 0)
    return ClassCounts(pixels, pixels_of_images)


def _histogram(planes: int, num_classes: int, datum: memoryview) -> np.ndarray:
    """Pixels of each class in one Datum."""
    labels = decode_label(datum, planes).astype(np.uint8, copy=False)
    return np.bincount(labels.ravel(), minlength=256)[:num_classes]


def median_frequency_weights(counts: ClassCounts) -> np.ndarray:
    """Weight of each class, float (C,): the median of the frequencies of all classes, divided by the class's own.

    The frequency of a class is its share of the pixels of the images in which it occurs (Eigen and Fergus, ICCV 2015, as
    SegNet uses it). Only labelled pixels are counted here. A class that never occurs has no frequency; its weight, 1, is unused.
    """
    weights, occurs = np.ones(len(counts.pixels)), counts.pixels > 0
    frequencies = counts.pixels[occurs] / counts.pixels_of_images[occurs]
    weights[occurs] = np.median(frequencies) / frequencies
    return weights
