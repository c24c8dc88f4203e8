"""A folder of predicted label maps, one PNG an image, made under stated settings; a run that was cut short goes on from it."""

from pathlib import Path

import cv2
import numpy as np

from tools.support.errors import UserError
from tools.support.made_with import claim
from tools.support.png import write_png


class LabelMaps:
    """`<out>/<id>.png` (one channel, class ids), and `<out>/settings.json`: what they were made with."""

    def __init__(self, out: Path, settings: dict) -> None:
        """Keep the maps of an earlier run with the same `settings` (plain JSON); move those made with others aside."""
        self.folder = out
        beside = 'pictures*', 'scores*.json'
        claim(out, settings, '*.png', beside, strange='PNG files that no earlier test wrote', option='--out')

    def path(self, image_id: str) -> Path:
        """Where the map of an image lies."""
        return self.folder / f'{image_id}.png'

    def read(self, image_id: str) -> np.ndarray:
        """The map of an image, uint8 (H, W); UserError if it is missing or damaged."""
        label_map = cv2.imread(str(self.path(image_id)), cv2.IMREAD_UNCHANGED)
        if label_map is None:
            raise UserError(f'{self.path(image_id)} does not read; delete it and run the same command again')
        return label_map

    def write(self, image_id: str, label_map: np.ndarray) -> None:
        """Store the map of an image, whole or not at all."""
        write_png(self.path(image_id), label_map)
