"""The label maps of a split of a data set, from its images or from stored maps of a blob."""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from dataset_prep.lmdb_writer import iterate
from dataset_prep.records import Record, read_image
from tools.inference.label_maps import LabelMaps
from tools.inference.predictor import MapPredictor, Predictor
from tools.support.errors import UserError


def label_images(predictor: Predictor, records: list[Record], label_maps: LabelMaps) -> None:
    """Store the label map of each record's image."""
    for record in tqdm(records, unit='image', desc='labelling', disable=None):
        label_maps.write(record.id, predictor.label_map(read_image(record)))


def label_features(predictor: MapPredictor, lmdb: Path, count: int, records: list[Record], label_maps: LabelMaps) -> None:
    """Store the label map of each record from its maps among the `count` in `lmdb`, at the size of its image.

    UserError if an image has no maps there, or maps that do not reach over it.
    """
    wanted = {record.id: record for record in records}
    for image_id, stacked in tqdm(iterate(lmdb), total=count, unit='map', desc='labelling', disable=None):
        if record := wanted.pop(image_id, None):
            maps = stacked[:-1]  # the last channel is the label
            label_maps.write(image_id, _label(predictor, maps, record, lmdb))
    if wanted:
        raise UserError(f'{lmdb} has no maps for {len(wanted)} of the images asked for, the first being {min(wanted)}')


def _label(predictor: MapPredictor, maps: np.ndarray, record: Record, lmdb: Path) -> np.ndarray:
    try:
        return predictor.label_map(maps, record.size_hw)
    except ValueError as error:
        raise UserError(f'{lmdb}, {record.id}: {error}') from error
