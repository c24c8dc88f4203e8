"""A folder of predicted label maps, one PNG an image, made under stated settings; a run that was cut short goes on from it."""

import json
import sys
from itertools import count
from pathlib import Path

import cv2
import numpy as np

from tools.support.atomic import whole_file
from tools.support.errors import UserError
from tools.support.png import write_png

__all__ = ['SETTINGS', 'LabelMaps', 'write_png']

SETTINGS = 'settings.json'


class LabelMaps:
    """`<out>/<id>.png` (one channel, class ids), and `<out>/settings.json`: what they were made with."""

    def __init__(self, out: Path, settings: dict) -> None:
        """Keep the maps of an earlier run with the same `settings` (plain JSON); move those made with others aside."""
        self.folder, self.settings_file = out, out / SETTINGS
        old = self._old_settings()
        if old != settings:
            self._clear(old or {}, settings)
            with whole_file(self.settings_file) as temporary:
                temporary.write_text(json.dumps(settings, indent=2) + '\n')

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

    def _old_settings(self) -> dict | None:
        """Settings of the earlier run; None without one, {} if the file is none of ours."""
        if not self.settings_file.exists():
            return None
        try:
            found = json.loads(self.settings_file.read_text())
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    def _clear(self, old: dict, settings: dict) -> None:
        """Move the results of a run with other settings aside, as they may have taken hours; refuse what is none of ours."""
        maps = sorted(self.folder.glob('*.png'))
        if maps and old.keys() != settings.keys():
            raise UserError(f'{self.folder} holds PNG files that no earlier test wrote; choose another folder by --out')
        if maps:
            aside = _free_name(self.folder.absolute())
            aside.mkdir()
            for path in (*maps, *self.folder.glob('pictures*'), *self.folder.glob('scores*.json'), self.settings_file):
                path.rename(aside / path.name)
            changed = ', '.join(name for name in settings if settings[name] != old[name])
            print(f'{self.folder} held results of other settings ({changed}); they were moved to {aside}', file=sys.stderr)


def _free_name(folder: Path) -> Path:
    """`<folder>.1`, or the first such name that is not taken."""
    return next(path for number in count(1) if not (path := folder.with_name(f'{folder.name}.{number}')).exists())
