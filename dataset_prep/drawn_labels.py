"""A folder of labels drawn from outlines: PNGs of ids with a palette, and a record of their sources."""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from dataset_prep.datasets import Colour
from tools.support.atomic import check_own_folder, whole_file

DRAWN = 'drawn.json'  # beside the labels: what they were drawn from
_WHITE = (255, 255, 255)


def begin_drawing(folder: Path, settings: Mapping[str, object]) -> None:
    """Prepare `folder` for labels drawn from `settings`, and delete labels drawn from others.

    Raises UserError if the folder holds other files.
    """
    check_own_folder(folder, DRAWN)
    said = folder / DRAWN
    try:
        same = json.loads(said.read_text(encoding='utf-8')) == json.loads(json.dumps(settings))
    except (OSError, ValueError):
        same = False
    if not same:
        shutil.rmtree(folder, ignore_errors=True)
        with whole_file(said) as temporary:
            temporary.write_text(json.dumps(settings), encoding='utf-8')


def save_label(path: Path, label: np.ndarray, palette: Sequence[Colour]) -> None:
    """Write a label, uint8 (H, W), as a PNG of its ids, shown in the colours of the classes and white where it is ignored."""
    picture = Image.fromarray(label)
    colours = [*palette, *[_WHITE] * (256 - len(palette))]
    picture.putpalette([part for colour in colours for part in colour])
    with whole_file(path) as temporary:
        picture.save(temporary)
