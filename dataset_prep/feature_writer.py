"""Writes LMDBs of feature maps: float Datums of C channels and the label at stride 8, all of one size. A killed run goes on."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dataset_prep.datum import float_datum
from dataset_prep.growing import GrowingLmdb
from dataset_prep.lmdb_store import check_disk_space, stored_bytes
from tools.support.errors import UserError
from tools.support.version import toolkit_version


class FeatureWriter(GrowingLmdb):
    """Writes the maps and labels of `ids`, in that order, to `path`."""

    def __init__(self, path: Path, ids: Sequence[str], settings: dict):
        super().__init__(path, ids, {'kind': 'features', **settings})
        if not self.whole:
            self.faults = dict(self.note or {})  # of an earlier run, before the last record on disk
            self.done += len(self.faults)
        if (first := self.first()) is not None:
            self._note_shape(first.shape)

    def add(self, maps: np.ndarray, label: np.ndarray) -> None:
        """Write the maps, float32 (C, h, w), and labels, uint8 (h, w) or (k, h, w), of the first missing id.

        Raises UserError if the size differs from the previous maps, or if the disk has no room for all.
        """
        name = self.missing_id()
        planes = label.reshape(-1, *label.shape[-2:])
        if maps.shape[1:] != planes.shape[1:]:
            raise ValueError(f'{name}: maps {maps.shape[1:]} and label {planes.shape[1:]} differ in size')
        stacked = np.concatenate([maps, planes], dtype=np.float32)
        if not self.found:
            self._note_shape(stacked.shape)
        self._check_shape(name, stacked.shape)
        self.put(float_datum(stacked), dict(self.faults) or None)

    def _note_shape(self, shape: tuple[int, ...]) -> None:
        """Store the shape of all records, and check that the disk has room for the missing ones."""
        needed = stored_bytes(4 * int(np.prod(shape))) * len(self.missing())
        check_disk_space(self.path, needed)
        self.reserve(needed)
        self.found = {'channels': shape[0], 'min_side_hw': list(shape[1:]), 'tool_version': toolkit_version()}

    def _check_shape(self, name: str, shape: tuple[int, ...]) -> None:
        channels, (height, width) = self.found['channels'], self.found['min_side_hw']
        if shape != (channels, height, width):
            raise UserError(
                f'{name}: {shape[0]} channels of {shape[1]}x{shape[2]}, but the maps before it have {channels} of '
                f'{height}x{width}; an LMDB holds maps of one size, so give all images one input size'
            )
