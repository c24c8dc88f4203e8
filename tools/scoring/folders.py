"""Scores a folder of predicted label maps against a folder of ground truth, on all cores."""

import os
import sys
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataset_prep import label_png
from dataset_prep.datasets import dataset
from dataset_prep.image_files import read_index_label, read_rgb_label
from dataset_prep.label_encodings import decode, is_coloured
from dataset_prep.lists import composed
from dataset_prep.parallel import in_order
from tools.scoring import trimap
from tools.scoring.benchmarks import Benchmark
from tools.scoring.counting import NoClass, confusion
from tools.support.errors import Fault, UserError, attempt

LAST_CHARACTER = chr(sys.maxunicode)


class Pair(NamedTuple):
    """A prediction and its ground truth. `encoding` is that of the truth file, if its name implies one."""

    prediction: Path
    truth: Path
    encoding: str | None = None


def find_pairs(benchmark: Benchmark, predictions: Path, truths: Path, ids: Sequence[str] | None = None) -> list[Pair]:
    """A pair for each ground-truth file below `truths`, or for each of `ids`.

    Raises UserError if a file has no prediction or several, or if an id has no file.
    """
    for folder in (predictions, truths):
        if not folder.is_dir():
            raise UserError(f'no folder at {folder}')
    names = _ground_truth(benchmark, truths)
    if ids is not None:
        names = _listed(names, ids, truths)
    maps = _by_name(predictions)
    pairs, missing = [], []
    for name, (truth, encoding) in sorted(names.items()):
        found = _predictions(benchmark, name, truth, maps, predictions)
        if len(found) > 1:
            raise UserError(f'{truth} has {len(found)} predictions, {found[0]} and {found[1]} among them; keep one of each')
        pairs += [Pair(path, truth, encoding) for path in found]
        missing += [] if found else [truth]
    if missing:
        raise UserError(
            f'{len(missing)} of {len(names)} ground-truth files have no prediction in {predictions}; the first is {missing[0]}; '
            'to score some of them only, give --list'
        )
    if ids is None:
        _say_unused(pairs, maps, truths)
    return pairs


def _say_unused(pairs: Sequence[Pair], maps: Sequence[tuple[str, Path]], truths: Path) -> None:
    """Print a line on stderr if there are label maps that belong to no ground truth."""
    used = {pair.prediction for pair in pairs}
    known, folders = used | {_coloured(path) for path in used}, {path.parent for path in used}
    unused = [path for _, path in maps if path not in known and path.parent in folders]
    if unused:
        print(
            f'{len(unused)} maps belong to no ground truth in {truths} and do not count, the first is {unused[0]}',
            file=sys.stderr,
        )


def _coloured(path: Path) -> Path:
    """The coloured picture that tools/predict.py writes beside a map."""
    return path.with_stem(f'{path.stem}_color')


Truths = Mapping[str, tuple[Path, str | None]]  # the ground-truth file of each id, and its encoding if its name implies one


def _ground_truth(benchmark: Benchmark, folder: Path) -> Truths:
    """Ground-truth files by image id. If several suffixes fit a name, the longest counts."""
    order = list(benchmark.suffixes)
    found: dict[str, tuple[int, Path]] = {}
    for path in _pngs(folder):
        file_name = _name(path)
        ends = [suffix for suffix in order if file_name.endswith(suffix)]
        if not ends:
            continue
        suffix = max(ends, key=len)
        name, place = file_name.removesuffix(suffix), order.index(suffix)
        known, other = found.get(name, (len(order), path))
        if known == place:
            raise UserError(f'{other} and {path} are ground truth of the same image; keep one')
        found[name] = min((known, other), (place, path))
    if not found:
        raise UserError(f'no ground truth in {folder}; looked for {", ".join(f"*{suffix}" for suffix in order)}')
    return {name: (path, benchmark.suffixes[order[place]]) for name, (place, path) in found.items()}


def _listed(names: Truths, ids: Sequence[str], folder: Path) -> Truths:
    """The files of `ids`."""
    if missing := [name for name in ids if name not in names]:
        raise UserError(f'{len(missing)} of {len(ids)} images listed have no ground truth in {folder}, the first is {missing[0]}')
    return {name: names[name] for name in ids}


def _pngs(folder: Path) -> list[Path]:
    """The PNGs below a folder, sorted. Linked folders are followed once each; hidden files are left out."""
    found, seen = [], set()
    for place, folders, files in os.walk(folder, followlinks=True):
        status = os.stat(place)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        found += [Path(place, name) for name in files if name.lower().endswith('.png') and not name.startswith('.')]
    return sorted(found)


def _by_name(folder: Path) -> list[tuple[str, Path]]:
    """The PNGs below a folder with their names, sorted by name."""
    return sorted((_name(path), path) for path in _pngs(folder))


def _name(path: Path) -> str:
    """The name of a PNG in one Unicode form, with its suffix in lower case."""
    return composed(f'{path.stem}{path.suffix.lower()}')


def _predictions(benchmark: Benchmark, name: str, truth: Path, maps: Sequence[tuple[str, Path]], folder: Path) -> list[Path]:
    """The label maps of an image: those directly in `folder`, else those further down.

    The coloured picture that tools/predict.py writes beside each map does not count.
    """
    if benchmark.loose:  # as cityscapesScripts looks for them
        found = _beginning(maps, name)
    else:
        stems = {name, composed(truth.stem), *((f'{truth.parent.parent.name}_{name}',) if benchmark.of_sequences else ())}
        found = [path for stem in sorted(stems) for path in _beginning(maps, f'{stem}.png') if composed(path.stem) == stem]
    coloured = {_coloured(path) for path in found}
    found = [path for path in found if path not in coloured]
    return [path for path in found if path.parent == folder] or found


def _beginning(maps: Sequence[tuple[str, Path]], start: str) -> list[Path]:
    """The maps whose names begin with `start`; they are neighbours in the sorted list."""
    first, last = (bisect_left(maps, (bound,)) for bound in (start, start + LAST_CHARACTER))
    return [path for _, path in maps[first:last]]


def score_pairs(
    benchmark: Benchmark, pairs: Sequence[Pair], encoding: str, *, bands: bool = False
) -> Iterator[np.ndarray | Fault]:
    """The confusion matrix, int64 (1, ids, ids), of each pair, or the Fault of one that cannot be scored.

    With `bands`, the matrices of the bands along boundaries (tools.scoring.trimap) follow it.

    Threads do the work: the slow parts release Python's global lock, and starting processes would take longer.
    """
    yield from in_order(partial(attempt, partial(count_pair, benchmark, encoding, bands)), pairs)


def count_pair(benchmark: Benchmark, encoding: str, bands: bool, pair: Pair) -> np.ndarray:
    """The matrices of one pair."""
    prediction = read_map(pair.prediction)
    encoding = pair.encoding or encoding
    truth = read_map(pair.truth) if encoding == 'ids' else read_encoded(pair.truth, encoding, benchmark.dataset)
    try:
        whole = confusion(truth, prediction, benchmark.ids, benchmark.ignore)[np.newaxis]
    except ValueError as error:
        advice = f'; {benchmark.other_ids}' if benchmark.other_ids and isinstance(error, NoClass) else ''
        raise UserError(f'{pair.prediction} against {pair.truth}: {error}{advice}') from error
    if not bands:
        return whole
    void_rims = dataset(benchmark.dataset).void_rims
    near = trimap.confusions(truth, prediction, benchmark.ids, benchmark.ignore, void_rims=void_rims)
    return np.concatenate([whole, near])


def other_numbering(benchmark: Benchmark, matrix: np.ndarray) -> str:
    """A line if the predictions look like ids of another numbering, else empty.

    That is so if most counted pixels have ids that are not evaluated, or if all ids are lower than ids of the truth.
    """
    evaluated, count = list(benchmark.classes.values()), len(benchmark.classes)
    predicted = matrix[evaluated].sum(axis=0)
    others = predicted.copy()
    others[evaluated] = 0
    if 2 * others.sum() > predicted.sum():
        most = ', '.join(str(label) for label in np.argsort(-others, kind='stable')[:3] if others[label])
        found = f'{100 * others.sum() / predicted.sum():.0f} % of the predictions are ids that are not evaluated (most: {most})'
    elif matrix[[label for label in evaluated if label >= count]].any() and not predicted[count:].any():
        found = f'no prediction is above {count - 1}, but ids of the truth are'
    else:
        return ''
    return f'{found}; {benchmark.other_ids}'


def read_encoded(path: Path, encoding: str, name: str) -> np.ndarray:
    """A ground-truth file in one of dataset_prep's encodings, as ids of data set `name`, uint8 (H, W)."""
    values = (read_rgb_label if is_coloured(encoding) else read_index_label)(path)
    return decode(values, encoding, dataset(name), path)


def read_map(path: Path) -> np.ndarray:
    """A label map, uint8 (H, W): the values of a grey PNG, or the indices of a palette PNG. Raises UserError if it is damaged."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f'{path} cannot be read ({error.strerror})') from error
    if content.startswith(label_png.PNG_START) and label_png.PNG_END not in content:
        raise UserError(f'{path} cannot be read (its end is missing); make it anew')
    try:
        found = label_png.decode(content)
    except label_png.DAMAGED as error:
        raise UserError(f'{path} cannot be read ({error}); make it anew') from error
    return read_index_label(path) if found is None else found
