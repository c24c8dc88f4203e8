"""Labels the images of a split: the job, and how one process does its part."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from tqdm import tqdm

from dataset_prep.feature_geometry import label_planes
from dataset_prep.lmdb_writer import iterate, read_manifest
from dataset_prep.records import Record, read_image
from tools.inference.predictor import MapPredictor, Predictor
from tools.inference.score_maps import ScoreMap, score_path, write_scores
from tools.inference.upsampling import argmax
from tools.support.errors import Fault, UserError, attempt
from tools.support.pipeline import read_ahead, write_behind
from tools.support.png import write_png

WORTH_PROCESSES = 8  # images; for fewer, starting processes that read and write takes longer than it saves


@dataclass(frozen=True)
class Job:
    """How to label: a network and its weights, on images or on an LMDB with stored maps of a blob."""

    net_name: str
    weights: tuple[Path, ...]
    tiling: str = 'reference'
    tile_hw: tuple[int, int] | None = None
    gpu: int | None = None
    features: Path | None = None
    blob: str = ''
    blob_hw: tuple[int, int] = (0, 0)  # smallest height and width of the maps
    scores: Path | None = None  # folder for the score maps
    weights_sha256: tuple[str, ...] = ()  # so that a process does not go on with the network of an older file

    def on_gpu(self, gpu: int | None) -> 'Job':
        """The same job on another device."""
        return replace(self, gpu=gpu)


def label_records(job: Job, records: Sequence[Record], folder: Path, quiet: bool = False) -> dict[str, Fault]:
    """Write `<folder>/<id>.png` for each record, whole or not at all; returns the faults by id."""
    bar = tqdm(total=len(records), unit='image', desc='labelling', disable=True if quiet else None)
    with bar:
        if job.features:
            return _label_maps_of(job, job.features, records, folder, bar)
        return _label_images(job, records, folder, bar)


def _label_images(job: Job, records: Sequence[Record], folder: Path, bar: tqdm) -> dict[str, Fault]:
    faults = {}
    with _images(records) as images, _writer(len(records)) as write:
        predictor = _predictor(job)
        for record, image in zip(records, images, strict=True):
            if isinstance(image, Fault):
                faults[record.id] = image
            else:
                prob = predictor.predict_scores(image)
                _keep_scores(job, record, prob, image.shape[:2], predictor.zoom)
                write(folder / f'{record.id}.png', argmax(prob, image.shape[:2], predictor.zoom))
            bar.update()
    return faults


def _label_maps_of(job: Job, lmdb: Path, records: Sequence[Record], folder: Path, bar: tqdm) -> dict[str, Fault]:
    """An image without maps in the LMDB, or with maps that do not cover it, is a fault too."""
    faults, wanted = {}, {record.id: record for record in records}
    with _writer(len(records)) as write:
        predictor = _map_predictor(job)
        planes = label_planes(read_manifest(lmdb))

        def label(maps: np.ndarray, record: Record) -> None:
            prob = predictor.predict_scores(maps, read_image(record) if predictor.reads_image else None)
            labels = _label(prob, record, predictor.zoom, lmdb)
            _keep_scores(job, record, prob, record.size_hw, predictor.zoom)
            write(folder / f'{record.id}.png', labels)

        for image_id, stacked in iterate(lmdb):
            if record := wanted.pop(image_id, None):
                if fault := attempt(partial(label, stacked[:-planes]), record):
                    faults[image_id] = fault
                bar.update()
            if not wanted:
                break
    return faults | {image_id: Fault(f'{lmdb} has no maps of {image_id}') for image_id in wanted}


def _keep_scores(job: Job, record: Record, prob: np.ndarray, size_hw: tuple[int, int], factor: int) -> None:
    if job.scores:
        write_scores(score_path(job.scores, record.id), ScoreMap(prob, size_hw, factor))


def _label(prob: np.ndarray, record: Record, factor: int, lmdb: Path) -> np.ndarray:
    try:
        return argmax(prob, record.size_hw, factor)
    except ValueError as error:
        raise UserError(f'{lmdb}, {record.id}: {error}') from error


@contextmanager
def _images(records: Sequence[Record]) -> Iterator[Iterator[np.ndarray | Fault]]:
    read = partial(attempt, read_image)
    if len(records) < WORTH_PROCESSES:
        yield map(read, records)
    else:
        with read_ahead(read, records) as images:
            yield images


@contextmanager
def _writer(images: int) -> Iterator:
    if images < WORTH_PROCESSES:
        yield write_png
    else:
        with write_behind(write_png) as write:
            yield write


@lru_cache(maxsize=1)  # a process that gets several portions of images loads the weights once
def _predictor(job: Job) -> Predictor:
    return Predictor(job.net_name, job.weights, job.tile_hw, job.gpu, job.tiling)


@lru_cache(maxsize=1)
def _map_predictor(job: Job) -> MapPredictor:
    return MapPredictor(job.net_name, job.weights, job.blob, job.blob_hw, job.gpu)


def cores() -> int:
    """Number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0))
