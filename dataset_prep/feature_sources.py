"""The sources of a feature extraction: image files, an LMDB of images, or stored maps.

A source has `start` (the blob that it feeds), `ids` in order, `input_hw` (the size that it feeds), `dataset`, `split`, `facts`
for the manifest, and `rows(done)`: (input float32 (C, H, W), labels of the score cells uint8 (k, h, w)) after the first `done`
ids, or the Fault of an unusable image.
"""

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np

from dataset_prep.datasets import IGNORE_LABEL, Dataset
from dataset_prep.datum import decode_datum
from dataset_prep.feature_geometry import (
    cell_labels,
    check_input_size,
    filled_input,
    input_size,
    label_planes,
    padded_input,
    without_border,
)
from dataset_prep.lmdb_store import (
    SIZES,
    check_current,
    id_of,
    iterate,
    opened,
    read_manifest,
    read_sizes,
    stored_ids,
    stored_keys,
)
from dataset_prep.order import shuffled
from dataset_prep.padding import padded_size
from dataset_prep.parallel import in_order
from dataset_prep.records import Record, files_sha256, read_image, read_label
from prototxt.shapes import MARGIN, STRIDE, border_cells
from tools.support.errors import Fault, UserError, attempt, end_with_faults

MIRRORED = '+mirror'  # ends the id of an image that was mirrored
Inputs = tuple[np.ndarray, np.ndarray]
Size = tuple[int, int]


class PictureSource(ABC):
    """Images with their labels, minus the mean of the data set, shuffled by `seed`; with `mirror` each also mirrored.

    `input_hw` is by default the smallest size that covers the images; for images of several sizes `tile_hw`, if it covers them.
    At `label_stride` 1 a cell has the labels of all its pixels. `names`: ids of the images. `sizes`: sizes of the readable ones.
    Raises UserError if an image does not fit into the input.
    """

    start = 'data'
    split: str

    def __init__(
        self,
        names: Iterable[str],
        sizes: dict[str, Size],
        facts: Dataset,
        *,
        mirror: bool,
        seed: int,
        input_hw: Size | None = None,
        tile_hw: Size | None = None,
        label_stride: int = STRIDE,
    ):
        self._mean_bgr = np.array(facts.mean_bgr, np.float32)
        self._label_stride = label_stride
        self.ids = shuffled([name + end for end in ('', MIRRORED)[: 1 + mirror] for name in names], seed)
        self.input_hw = input_hw or _common_input_size(sizes, tile_hw)
        for name, size_hw in sizes.items():
            check_input_size(self.input_hw, size_hw, self._called(name))
        self.dataset = facts.name
        self.facts: dict = {'mirror': mirror, 'seed': seed, 'label_stride': label_stride}

    def rows(self, done: int) -> Iterator[Inputs | Fault]:
        """The rows after the first `done`."""
        return in_order(partial(attempt, self._row), self.ids[done:])

    def _row(self, name: str) -> Inputs:
        padded, label = self._pixels(name.removesuffix(MIRRORED))
        if name.endswith(MIRRORED):
            padded, label = padded[:, ::-1], label[:, ::-1]
        centred = filled_input(np.ascontiguousarray(padded), self.input_hw) - self._mean_bgr
        return centred.transpose(2, 0, 1), cell_labels(label, self.input_hw, self._label_stride)

    @abstractmethod
    def _pixels(self, name: str) -> Inputs:
        """The image with its margin, uint8 (H + 372, W + 372, 3) BGR, and its label, uint8 (H, W)."""

    def _called(self, name: str) -> str:
        """The name of an image in a message."""
        return name


class ImageSource(PictureSource):
    """The files of a split. Images without ground truth get the label 255."""

    def __init__(self, records: Sequence[Record], split: str, facts: Dataset, **options):
        self._records = {record.id: record for record in records}
        self.split = split
        found = {name: attempt(lambda one: one.size_hw, record) for name, record in self._records.items()}
        faults = [fault for fault in found.values() if isinstance(fault, Fault)]
        if len(faults) == len(found):
            end_with_faults(faults, len(found), 'images', 'nothing is stored')
        sizes = {name: size for name, size in found.items() if not isinstance(size, Fault)}
        super().__init__(self._records, sizes, facts, **options)
        self.facts['files_sha256'] = files_sha256(records)

    def _pixels(self, name: str) -> Inputs:
        record = self._records[name]
        image = read_image(record)
        height, width = image.shape[:2]
        label = read_label(record) if record.label else np.full((height, width), IGNORE_LABEL, np.uint8)
        return padded_input(image, (height + 2 * MARGIN, width + 2 * MARGIN)), label

    def _called(self, name: str) -> str:
        return str(self._records[name].image)


class LmdbSource(PictureSource):
    """The images in an LMDB, with their margin. The original files are not needed."""

    def __init__(self, path: Path, facts: Dataset, **options):
        manifest = _manifest_of(path, 'images')
        if not (sizes := read_sizes(path)):
            raise UserError(f'{path} has no {SIZES}; write it again')
        if manifest['margin_px'] != MARGIN:
            raise UserError(
                f'{path} has margin_px {manifest["margin_px"]}, the front end needs {MARGIN}; prepare the data set again'
            )
        self._crop_size, self.split = manifest['crop_size'], manifest['split']
        self._path, self._keys = path, {id_of(stored_key): stored_key for stored_key in stored_keys(path)}
        self._sizes = sizes
        super().__init__(self._sizes, self._sizes, facts, **options)
        self.facts['files_sha256'] = manifest['files_sha256']

    def rows(self, done: int) -> Iterator[Inputs | Fault]:
        """The rows after the first `done`."""
        with opened(self._path) as self._environment:
            yield from super().rows(done)

    def _pixels(self, name: str) -> Inputs:
        with self._environment.begin(buffers=True) as transaction:
            stacked = decode_datum(transaction.get(self._keys[name], b''))
        (height, width), stored_hw = self._sizes[name], stacked.shape[1:]
        if padded_size((height, width), MARGIN, self._crop_size) != stored_hw:
            raise UserError(
                f'{self._path}: record {name} is {stored_hw}, {SIZES} says {height, width}; prepare the data set again'
            )
        top, left = ((stored - side) // 2 - MARGIN for stored, side in zip(stored_hw, (height, width), strict=True))
        padded = stacked[:, top : top + height + 2 * MARGIN, left : left + width + 2 * MARGIN]
        return padded[:3].transpose(1, 2, 0), padded[3, MARGIN : MARGIN + height, MARGIN : MARGIN + width]

    def _called(self, name: str) -> str:
        return f'{self._path}: record {name}'


class MapSource:
    """The maps in an LMDB, in its own order."""

    def __init__(self, path: Path):
        manifest = _manifest_of(path, 'features')
        self._path, self._label_planes = path, label_planes(manifest)
        self.start = manifest['blob']
        self.dataset, self.split = manifest['dataset'], manifest['split']
        self.ids = stored_ids(path)
        self.input_hw = tuple(manifest['min_side_hw'])
        self.facts = {name: manifest.get(name) for name in ('mirror', 'seed', 'files_sha256')}
        self.facts['label_stride'] = manifest.get('label_stride', STRIDE)
        self.facts['made_from'] = {'blob': self.start, 'weights': manifest['weights']}

    def rows(self, done: int) -> Iterator[Inputs]:
        """The rows after the first `done`."""
        for _, stacked in islice(iterate(self._path), done, None):
            labels = stacked[-self._label_planes :].astype(np.uint8)
            yield stacked[: -self._label_planes], without_border(labels, border_cells(self.start))


Source = PictureSource | MapSource


def _manifest_of(path: Path, kind: str) -> dict:
    """The manifest of an LMDB of this kind. Raises UserError for another kind or an earlier version."""
    manifest = read_manifest(path)
    if manifest['kind'] != kind:
        raise UserError(
            f'{path} holds {manifest["kind"]}, but {kind} are needed; --lmdb takes images, --features takes stored maps'
        )
    check_current(path, manifest, 'write it again')
    return manifest


def _common_input_size(sizes: dict[str, Size], tile_hw: Size | None) -> Size:
    """One input size for all images, because an LMDB holds maps of one size. If they differ: the tile if it covers all, else the
    smallest size that does."""
    inputs = {input_size(size_hw) for size_hw in sizes.values()}
    height, width = (max(side) for side in zip(*inputs, strict=True))
    if len(inputs) == 1:
        return height, width
    found = tile_hw if tile_hw and tile_hw[0] >= height and tile_hw[1] >= width else (height, width)
    print(f'images of several sizes: all are put into an input of {found[0]}x{found[1]}', file=sys.stderr)
    return found
