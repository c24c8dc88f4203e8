"""Turns score maps into label maps by the dense CRF, on all cores."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import joblib
import numpy as np
from tqdm import tqdm

from dataset_prep.records import Record, read_image
from tools.crfs.dense_crf import CrfParameters, refine
from tools.inference.score_maps import read_scores, score_path
from tools.support.errors import Fault, UserError, attempt
from tools.support.pipeline import begun
from tools.support.png import write_png

ONE_THREAD = {
    'CRF_THREADS': '1',
    'OPENBLAS_NUM_THREADS': '1',
    'OMP_NUM_THREADS': '1',
}  # of each process, because there is one process per core


def labels_of(scores: Path, image_bgr: np.ndarray, parameters: CrfParameters | None) -> np.ndarray:
    """Class ids, uint8 (H, W), from a stored score map and its image. Without `parameters`, those of the network.

    Raises UserError if map and image have different sizes.
    """
    stored = read_scores(scores)
    if stored.size_hw != image_bgr.shape[:2]:
        raise UserError(f'{scores} is for an image of {stored.size_hw}, but this one is {image_bgr.shape[:2]} (height, width)')
    prob = stored.full()
    return (refine(prob, image_bgr, parameters) if parameters else prob).argmax(axis=0).astype(np.uint8)


def refine_records(
    scores: Path, records: Sequence[Record], parameters: CrfParameters, out: Path, plain: Path
) -> dict[str, Fault]:
    """Write `<out>/<id>.png` from `<scores>/<id>.scores` for each record, and a missing `<plain>/<id>.png` without the CRF.

    Returns the faults by id.
    """
    results = run_on_cores(partial(attempt, partial(_refine_record, scores, parameters, out, plain)), records, 'dense CRF')
    return {record.id: fault for record, fault in zip(records, results, strict=True) if fault}


def run_on_cores(work, items: Sequence, title: str, jobs: int | None = None) -> list:
    """[work(item) for each item] from `jobs` processes (default: one per core), with a progress bar."""
    jobs = min(jobs or len(os.sched_getaffinity(0)), max(1, len(items)))
    with tqdm(total=len(items), unit='image', desc=title, disable=None) as bar:
        results = []
        with joblib.parallel_config(backend='loky', n_jobs=jobs):
            tasks = (joblib.delayed(in_process)(work, item) for item in items)
            for result in begun(joblib.Parallel(return_as='generator'), tasks):
                results.append(result)
                bar.update()
    return results


def in_process(work, item):
    """The result of work(item), computed by one thread."""
    os.environ.update(ONE_THREAD)
    return work(item)


def _refine_record(scores: Path, parameters: CrfParameters, out: Path, plain: Path, record: Record) -> None:
    stored, image, name = score_path(scores, record.id), read_image(record), f'{record.id}.png'
    if not (plain / name).exists():
        write_png(plain / name, labels_of(stored, image, None))
    write_png(out / name, labels_of(stored, image, parameters))
