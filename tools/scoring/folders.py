"""Scoring a folder of predicted label maps against a folder of ground truth, on all cores."""

import os
import sys
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
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
from tools.support.errors import Fault, UserError, attempt

LAST_CHARACTER = chr(sys.maxunicode)


class Pair(NamedTuple):
    """A prediction and its ground truth."""

    prediction: Path
    truth: Path


def find_pairs(benchmark: Benchmark, predictions: Path, truths: Path, ids: Sequence[str] | None = None) -> list[Pair]:
    """A pair for each ground-truth file below `truths`, or for those of `ids`.

    UserError if one has no prediction, or several, or if there is none of an id.
    """
    for folder in (predictions, truths):
        if not folder.is_dir():
            raise UserError(f'no folder at {folder}')
    names = _ground_truth(benchmark, truths)
    if ids is not None:
        names = _listed(names, ids, truths)
    maps = _by_name(predictions)
    pairs, missing = [], []
    for name, truth in sorted(names.items()):
        found = _predictions(benchmark, name, truth, maps, predictions)
        if len(found) > 1:
            raise UserError(f'{truth} has {len(found)} predictions, {found[0]} and {found[1]} among them; keep one of each')
        pairs += [Pair(path, truth) for path in found]
        missing += [] if found else [truth]
    if missing:
        raise UserError(
            f'{len(missing)} of {len(names)} ground-truth files have no prediction in {predictions}; the first is {missing[0]}; '
            'to score some of them only, give --list'
        )
    return pairs


def _ground_truth(benchmark: Benchmark, folder: Path) -> dict[str, Path]:
    """Files by the id of their image. The longest suffix that a name has counts."""
    found: dict[str, Path] = {}
    for path in _pngs(folder):
        suffix = max((end for end in benchmark.suffixes if path.name.endswith(end)), key=len, default=None)
        if suffix is not None:
            name = path.name.removesuffix(suffix)
            if name in found:
                raise UserError(f'{found[name]} and {path} are ground truth of the same image; keep one')
            found[name] = path
    if not found:
        raise UserError(f'no ground truth in {folder}; looked for {", ".join(f"*{suffix}" for suffix in benchmark.suffixes)}')
    return found


def _listed(names: Mapping[str, Path], ids: Sequence[str], folder: Path) -> dict[str, Path]:
    """The files of `ids`."""
    if missing := [name for name in ids if name not in names]:
        raise UserError(f'{len(missing)} of {len(ids)} images listed have no ground truth in {folder}, the first is {missing[0]}')
    return {name: names[name] for name in ids}


def _pngs(folder: Path) -> list[Path]:
    """The PNGs below a folder, in order; links to folders are followed, once each, and hidden files left out."""
    found, seen = [], set()
    for place, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        found += [Path(place, name) for name in files if name.endswith('.png') and not name.startswith('.')]
    return sorted(found)


def _by_name(folder: Path) -> list[tuple[str, Path]]:
    """The PNGs below a folder with their names, in the order of names."""
    return sorted((path.name, path) for path in _pngs(folder))


def _predictions(benchmark: Benchmark, name: str, truth: Path, maps: Sequence[tuple[str, Path]], folder: Path) -> list[Path]:
    """The maps of an image: those directly in `folder` if there are any, else those further down."""
    if benchmark.loose:  # as cityscapesScripts looks for them
        found = _beginning(maps, name)
    else:
        found = [path for stem in sorted({name, truth.stem}) for path in _beginning(maps, f'{stem}.png') if path.stem == stem]
    return [path for path in found if path.parent == folder] or found


def _beginning(maps: Sequence[tuple[str, Path]], start: str) -> list[Path]:
    """The maps whose names begin with `start`: they are neighbours."""
    first, last = (bisect_left(maps, (bound,)) for bound in (start, start + LAST_CHARACTER))
    return [path for _, path in maps[first:last]]


def score_pairs(benchmark: Benchmark, name: str, pairs: Sequence[Pair], encoding: str) -> Iterator[np.ndarray | Fault]:
    """The confusion matrix, int64 (ids, ids), of each pair, or the Fault of one that cannot be scored.

    By threads: what takes time lets go of Python's lock, and processes would take longer to start than many maps to score.
    """
    yield from in_order(partial(attempt, partial(count_pair, benchmark, name, encoding)), pairs)


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
