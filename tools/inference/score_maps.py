"""Stores score maps in files, small enough for a whole split, so that the network need not run again.

`<id>.scores`: the line of MAGIC, a line of JSON (version, size_hw of the image, shape (C, h, w), pixels per cell), then the class
probabilities as float16, little-endian, compressed by zlib. `settings.json` beside them says what made them.
"""

import json
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tools.inference.upsampling import zoom
from tools.support.atomic import whole_file
from tools.support.errors import UserError
from tools.support.made_with import claim

MAGIC, VERSION, SUFFIX = b'dilation score map\n', 1, '.scores'
LEVEL = 1  # zlib level; higher ones take longer and save little
_FLOAT = np.dtype('<f2')


@dataclass(frozen=True)
class ScoreMap:
    """Probabilities float32 (C, h, w) on cells of `factor` pixels for an image of `size_hw` pixels."""

    prob: np.ndarray
    size_hw: tuple[int, int]
    factor: int

    def full(self) -> np.ndarray:
        """Probabilities of every pixel, float32 (C, H, W), interpolated as in testing."""
        return zoom(self.prob, self.size_hw, self.factor)


def score_path(folder: Path, image_id: str) -> Path:
    """Path of the score map of an image."""
    return folder / f'{image_id}{SUFFIX}'


def write_scores(path: Path, scores: ScoreMap) -> None:
    """Write the cells that cover the image, whole or not at all."""
    high, wide = (-(-side // scores.factor) + 1 for side in scores.size_hw)  # and the cell after the last, for the interpolation
    cells = np.ascontiguousarray(scores.prob[:, :high, :wide], _FLOAT)
    head = {'version': VERSION, 'size_hw': list(scores.size_hw), 'shape': list(cells.shape), 'factor': scores.factor}
    with whole_file(path) as temporary:
        temporary.write_bytes(MAGIC + json.dumps(head).encode() + b'\n' + zlib.compress(cells.tobytes(), LEVEL))


def read_scores(path: Path) -> ScoreMap:
    """A stored score map. Raises UserError if it is missing, damaged, or from a later version."""
    if not path.is_file():
        raise UserError(f'no score map at {path}; make it with tools/test.py --save-scores {path.parent}')
    try:
        magic, head, packed = path.read_bytes().split(b'\n', 2)
        if magic + b'\n' != MAGIC:
            raise ValueError('it is no score map')
        said = json.loads(head)
        if said['version'] != VERSION:
            raise UserError(f'{path} is of version {said["version"]}, not {VERSION}; store the scores again')
        cells = np.frombuffer(zlib.decompress(packed), _FLOAT).reshape(said['shape'])
        return ScoreMap(cells.astype(np.float32), (said['size_hw'][0], said['size_hw'][1]), said['factor'])
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise UserError(f'{path} is damaged ({error}); delete it and store the scores again') from error


def prepare_folder(folder: Path, settings: dict) -> None:
    """Prepare `folder` for score maps made with `settings` (plain JSON); maps made with other settings are moved aside.

    Raises UserError if it holds score maps without a settings.json.
    """
    claim(folder, settings, f'*{SUFFIX}', strange='score maps that no earlier test wrote', option='--save-scores')
