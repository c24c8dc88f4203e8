"""Class weights in the loss of a stage: reads or counts them, and writes them for Caffe.

Stock InfogainLoss multiplies the loss of a pixel by the weight of its class when its matrix is diagonal. It honours
`ignore_label` and `normalization` as SoftmaxWithLoss does (infogain_loss_layer.cpp at 9b89154).
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dataset_prep.class_frequency import count_classes, median_frequency_weights
from dataset_prep.datasets import Dataset
from dataset_prep.lists import composed, read_lines
from pretrained.caffemodel import caffe_pb2
from tools.support.atomic import whole_file
from tools.support.errors import UserError, nearest

MEDIAN = 'median'  # the word for median frequency balancing
MATRIX = 'class_weights.binaryproto'  # in the run folder, where Caffe runs
Asked = str | tuple[float, ...] | None  # MEDIAN, a weight for each class id, or no weights


@dataclass(frozen=True)
class ClassWeights:
    """The weight of each class by id, and the mean weight of a labelled pixel in the LMDB.

    The loss of a uniform guess is this mean times ln C.
    """

    weights: tuple[float, ...]
    mean: float


def read_weights(text: str, facts: Dataset) -> Asked:
    """The value of CLASS_WEIGHTS=: MEDIAN, or the weights in a file with a class and its weight on each line.

    Raises UserError for an unreadable line, an unknown class, and a class without a weight.
    """
    if text == MEDIAN:
        return MEDIAN
    path, ids = Path(text), {composed(name): index for index, name in enumerate(facts.classes)}
    found: dict[int, float] = {}
    for number, line in read_lines(path).items():
        if line.startswith('#'):
            continue
        name, weight = _parsed(f'{path} line {number}', line)
        if (index := ids.get(name)) is None:
            near = nearest(name, facts.classes)
            raise UserError(f'{path} line {number}: no class {name} in {facts.name}; {near}there are: {", ".join(facts.classes)}')
        if index in found:
            raise UserError(f'{path} line {number}: a second weight for {name}; keep one of them')
        found[index] = weight
    if lacking := [name for index, name in enumerate(facts.classes) if index not in found]:
        raise UserError(f'{path}: no weight for {", ".join(lacking)}; each class of {facts.name} needs one')
    if not any(found.values()):
        raise UserError(f'{path}: all weights are 0, so there is nothing to learn')
    return tuple(found[index] for index in range(facts.num_classes))


def _parsed(where: str, line: str) -> tuple[str, float]:
    """Class and weight on a line. A class name may contain blanks."""
    match = re.fullmatch(r'(.*[^\s,:=])[\s,:=]+(\S+)', line)
    try:
        weight = float(match[2]) if match else math.nan
    except ValueError:
        weight = math.nan
    if match is None or not 0 <= weight < math.inf:
        raise UserError(f'{where}: cannot read {line!r}; write a class and its weight, 0 or more: road 0.5')
    return composed(match[1]), weight


def count_weights(asked: str | tuple[float, ...], lmdb: Path, facts: Dataset) -> ClassWeights:
    """The class weights and their mean over the labelled pixels of an LMDB.

    Raises UserError if no pixel has a label with a weight above 0.
    """
    counts = count_classes(lmdb, facts.num_classes)
    if not counts.pixels.any():
        raise UserError(f'{lmdb}: no pixel has a label, so there is nothing to learn; prepare the data set again')
    weights = median_frequency_weights(counts) if isinstance(asked, str) else np.array(asked)
    mean = float(np.average(weights, weights=counts.pixels))
    if mean == 0:
        raise UserError(f'{lmdb}: all classes that occur have weight 0, so there is nothing to learn')
    return ClassWeights(tuple(map(float, weights)), mean)


def write_matrix(folder: Path, weights: ClassWeights) -> None:
    """Write the diagonal matrix that InfogainLoss reads, a BlobProto of shape (1, 1, C, C), into a run folder."""
    matrix = np.diag(weights.weights)
    blob = caffe_pb2().BlobProto(data=matrix.ravel())
    blob.shape.dim.extend((1, 1, *matrix.shape))
    with whole_file(folder / MATRIX) as temporary:
        temporary.write_bytes(blob.SerializeToString())


def as_text(weights: ClassWeights, facts: Dataset) -> str:
    """Classes with their weights in one line."""
    return ', '.join(f'{name} {weight:.4g}' for name, weight in zip(facts.classes, weights.weights, strict=True))
