"""Where the inputs of a feature extraction come from: the images of a split, or maps that were stored before.

A source has `start` (the blob it feeds), `ids` in their order, `input_hw` (the size it feeds), `facts` for the manifest, and
`rows(done)`: (input float32 (C, H, W), labels of the score cells uint8 (h, w)) for the ids after the first `done`.
"""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np

from dataset_prep.datasets import IGNORE_LABEL, Dataset
from dataset_prep.feature_geometry import border_cells, cell_labels, check_input_size, input_size, padded_input, without_border
from dataset_prep.lmdb_store import iterate, read_manifest, stored_ids
from dataset_prep.order import shuffled
from dataset_prep.parallel import in_order
from dataset_prep.records import Record, files_sha256, read_image, read_label
from tools.support.errors import UserError

MIRRORED = '+mirror'  # ends the id of an image that was mirrored
Row = tuple[np.ndarray, np.ndarray]


class ImageSource:
    """The images of a split, the data set's mean subtracted, shuffled by `seed`; with `mirror`, each also mirrored.

    `input_hw` is by default what just covers the images. Raises UserError if that differs between images, or is too small.
    """

    start = 'data'

    def __init__(
        self, records: Sequence[Record], facts: Dataset, *, mirror: bool, seed: int, input_hw: tuple[int, int] | None = None
    ):
        self._records = {record.id: record for record in records}
        self._mean_bgr = np.array(facts.mean_bgr, np.float32)
        self.ids = shuffled([*self._records, *(name + MIRRORED for name in self._records if mirror)], seed)
        self.input_hw = input_hw or _common_input_size(records)
        for record in records:
            check_input_size(self.input_hw, record.size_hw, str(record.image))
        self.facts = {'mirror': mirror, 'seed': seed, 'files_sha256': files_sha256(records)}

    def rows(self, done: int) -> Iterator[Row]:
        """The rows after the first `done`."""
        return in_order(self._row, self.ids[done:])

    def _row(self, name: str) -> Row:
        record = self._records[name.removesuffix(MIRRORED)]
        image = read_image(record) - self._mean_bgr
        label = read_label(record) if record.label else np.full(image.shape[:2], IGNORE_LABEL, np.uint8)
        if name.endswith(MIRRORED):
            image, label = np.ascontiguousarray(image[:, ::-1]), label[:, ::-1]
        return padded_input(image, self.input_hw).transpose(2, 0, 1), cell_labels(label, self.input_hw)


class MapSource:
    """The maps in an LMDB, in its own order."""

    def __init__(self, path: Path):
        manifest = read_manifest(path)
        if manifest['kind'] != 'features':
            raise UserError(f'{path} holds {manifest["kind"]}, not maps of a blob; make them by tools/extract_features.py')
        self._path = path
        self.start = manifest['blob']
        self.dataset, self.split = manifest['dataset'], manifest['split']
        self.ids = stored_ids(path)
        self.input_hw = tuple(manifest['min_side_hw'])
        self.facts = {name: manifest.get(name) for name in ('mirror', 'seed', 'files_sha256')}
        self.facts['made_from'] = {'blob': self.start, 'weights': manifest['weights']}

    def rows(self, done: int) -> Iterator[Row]:
        """The rows after the first `done`."""
        for _, stacked in islice(iterate(self._path), done, None):
            yield stacked[:-1], without_border(stacked[-1].astype(np.uint8), border_cells(self.start))


def _common_input_size(records: Sequence[Record]) -> tuple[int, int]:
    """The one input size of all images. Raises UserError naming an image that differs, and the size that would do for all."""
    sizes = [input_size(record.size_hw) for record in records]
    for record, size in zip(records, sizes, strict=True):
        if size != sizes[0]:
            height, width = (max(side) for side in zip(*sizes, strict=True))
            raise UserError(
                f'{record.image} needs an input of {size[0]}x{size[1]}, {records[0].image} one of {sizes[0][0]}x{sizes[0][1]}; '
                f'one LMDB holds maps of one size: give --size-hw {height} {width}'
            )
    return sizes[0]
