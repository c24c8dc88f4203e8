"""Scoring a folder of predicted label maps against a folder of ground truth, on all cores."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataset_prep.datasets import dataset
from dataset_prep.image_files import read_index_label, read_rgb_label
from dataset_prep.label_encodings import decode, is_coloured
from dataset_prep.parallel import in_order
from tools.scoring.benchmarks import Benchmark
from tools.scoring.counting import confusion
from tools.scoring.png import read_map
from tools.support.errors import UserError


class Pair(NamedTuple):
    """A prediction and its ground truth."""

    prediction: Path
    truth: Path


def find_pairs(benchmark: Benchmark, predictions: Path, truths: Path) -> list[Pair]:
    """A pair for each ground-truth file below `truths`; UserError if one has no prediction, or several."""
    for folder in (predictions, truths):
        if not folder.is_dir():
            raise UserError(f'no folder at {folder}')
    names, maps = _ground_truth(benchmark, truths), sorted(predictions.rglob('*.png'))
    pairs, missing = [], []
    for name, truth in sorted(names.items()):
        found = _predictions(benchmark, name, truth, maps, predictions)
        if len(found) > 1:
            raise UserError(f'{truth} has {len(found)} predictions, {found[0]} and {found[1]} among them; keep one of each')
        pairs += [Pair(path, truth) for path in found]
        missing += [] if found else [truth]
    if missing:
        raise UserError(
            f'{len(missing)} of {len(names)} ground-truth files have no prediction in {predictions}; the first is {missing[0]}'
        )
    return pairs


def _ground_truth(benchmark: Benchmark, folder: Path) -> dict[str, Path]:
    """Files by the id of their image. The longest suffix that a name has counts."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob('*.png')):
        suffix = max((end for end in benchmark.suffixes if path.name.endswith(end)), key=len, default=None)
        if suffix is not None:
            name = path.name.removesuffix(suffix)
            if name in found:
                raise UserError(f'{found[name]} and {path} are ground truth of the same image; keep one')
            found[name] = path
    if not found:
        raise UserError(f'no ground truth in {folder}; looked for {", ".join(f"*{suffix}" for suffix in benchmark.suffixes)}')
    return found


def _predictions(benchmark: Benchmark, name: str, truth: Path, maps: Sequence[Path], folder: Path) -> list[Path]:
    """The maps of an image: those directly in `folder` if there are any, else those further down."""
    if benchmark.loose:  # as cityscapesScripts looks for them
        found = [path for path in maps if path.name.startswith(name)]
    else:
        found = [path for path in maps if path.stem in (name, truth.stem)]
    return [path for path in found if path.parent == folder] or found


def score_pairs(benchmark: Benchmark, name: str, pairs: Sequence[Pair], encoding: str) -> Iterator[np.ndarray]:
    """The confusion matrix, int64 (ids, ids), of each pair. Raises UserError naming a file that cannot be scored.

    By threads: what takes time lets go of Python's lock, and processes would take longer to start than many maps to score.
    """
    yield from in_order(partial(count_pair, benchmark, name, encoding), pairs)


def count_pair(benchmark: Benchmark, name: str, encoding: str, pair: Pair) -> np.ndarray:
    """One matrix."""
    prediction = read_map(pair.prediction)
    truth = read_map(pair.truth) if encoding == 'ids' else read_encoded(pair.truth, encoding, name)
    try:
        return confusion(truth, prediction, benchmark.ids, benchmark.ignore)
    except ValueError as error:
        raise UserError(f'{pair.prediction} against {pair.truth}: {error}') from error


def read_encoded(path: Path, encoding: str, name: str) -> np.ndarray:
    """A ground-truth file in one of dataset_prep's encodings, as ids of data set `name`, uint8 (H, W)."""
    values = (read_rgb_label if is_coloured(encoding) else read_index_label)(path)
    return decode(values, encoding, dataset(name), path)
