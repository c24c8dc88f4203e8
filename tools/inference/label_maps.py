"""A folder of predicted label maps, one PNG per image, with the settings that made them. An interrupted run continues in it."""

from pathlib import Path

import numpy as np

from dataset_prep.image_files import read_index_label
from tools.support.errors import UserError
from tools.support.made_with import claim
from tools.support.png import write_png


class LabelMaps:
    """`<out>/<id>.png` (one channel, class ids), and `<out>/settings.json`: what they were made with."""

    def __init__(self, out: Path, settings: dict) -> None:
        """Keep the maps of an earlier run with the same `settings` (plain JSON); move aside maps made with other settings."""
        self.folder = out
        beside = 'pictures*', 'scores*.json', 'origin.json'
        claim(out, settings, '*.png', beside, strange='PNG files that no earlier test wrote', option='--out')

    def path(self, image_id: str) -> Path:
        """Path of the label map of an image."""
        return self.folder / f'{image_id}.png'

    def read(self, image_id: str) -> np.ndarray:
        """The label map of an image, uint8 (H, W). Raises UserError if it is missing or damaged."""
        try:
            return read_index_label(self.path(image_id))
        except UserError as error:
            raise UserError(f'{error}; delete it and run the same command again') from error

    def write(self, image_id: str, label_map: np.ndarray) -> None:
        """Write the label map of an image, whole or not at all."""
        write_png(self.path(image_id), label_map)
