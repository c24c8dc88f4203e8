"""Reads labels that are pictures: PNGs of ids or of class colours, and masks in the colours of a palette file beside them.

Palette files are those that class_lists.py reads: CVAT's labelmap.txt, CamVid's label_colors.txt, tables with a head line.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from dataset_prep.class_lists import read_palette
from dataset_prep.datasets import IGNORE_LABEL, Colour, Dataset
from dataset_prep.image_files import is_coloured_picture, read_index_label, read_rgb_label
from dataset_prep.label_encodings import decode
from dataset_prep.lists import composed
from dataset_prep.own_labels import Labels, Names, images_of, pictures_in
from tools.support.errors import attempt

FOLDERS = ('labels', 'SegmentationClass')  # the latter as VOC and CVAT name it
PALETTES = ('labelmap.txt', 'label_colors.txt', 'class_dict.csv', 'palette.txt')
Rows = tuple[tuple[str, Colour], ...]


def find(data: Path) -> Labels | None:
    """The label PNGs of a folder, with ids or class colours; None if it has none, or a palette file too."""
    files, palette = _masks(data)
    if not files or palette:
        return None
    form = 'PNGs of ids, or in the colours of the classes'
    return Labels(form, images_of(data), files, partial(_draw_listed, files), ready=True)


def find_masks(data: Path) -> Labels | None:
    """The label PNGs of a folder in the colours of a palette file beside them; None if it has none."""
    files, palette = _masks(data)
    if not files or not palette:
        return None
    rows = tuple(read_palette(palette))
    classes = {composed(name): palette for name, _ in rows}
    draw = partial(_draw_masks, files, palette, rows)
    return Labels(f'masks in the colours of {palette.name}', images_of(data), files, draw, classes)


def encoding_of(path: Path) -> str:
    """How a label PNG names classes: 'colours' if it is RGB, else 'ids'. Raises UserError if its header cannot be read."""
    return 'colours' if is_coloured_picture(path) else 'ids'


def _masks(data: Path) -> tuple[dict[str, Path], Path | None]:
    """The label PNGs of a folder by name, and the palette file of their colours; None if they use none.

    In CVAT's folder any PNG uses it, elsewhere only RGB PNGs do.
    """
    folder = next((data / name for name in FOLDERS if pictures_in(data / name, '.png')), data / FOLDERS[0])
    files = pictures_in(folder, '.png')
    palette = next((data / name for name in PALETTES if (data / name).is_file()), None)
    if palette and folder.name == FOLDERS[0] and not any(attempt(is_coloured_picture, path) is True for path in files.values()):
        palette = None
    return files, palette


def _draw_listed(files: Mapping[str, Path], name: str, _size_hw: tuple[int, int], names: Names) -> np.ndarray:
    """Labels.draw() for a PNG with ids or class colours."""
    return _with_values(files[name], encoding_of(files[name]), 'the list of classes', names.rows, names, IGNORE_LABEL)


def _draw_masks(
    files: Mapping[str, Path], palette: Path, rows: Rows, name: str, _size_hw: tuple[int, int], names: Names
) -> np.ndarray:
    """Labels.draw() for a mask. Black means uncovered if no class has that colour. Grey values count the lines of the
    palette file."""
    if is_coloured_picture(files[name], palettes=True):
        return _with_values(files[name], 'colours', str(palette), rows, names, names.uncovered)
    return _with_values(files[name], 'ids', str(palette), rows, names, IGNORE_LABEL)


def _with_values(path: Path, encoding: str, listed_in: str, rows: Rows, names: Names, ignored: int) -> np.ndarray:
    """The label in a PNG with the ids or colours of `rows`, as the values of `names`; `ignored` replaces 255."""
    classes, colours = zip(*rows, strict=True)
    pixels = read_rgb_label(path) if encoding == 'colours' else read_index_label(path)
    table = np.full(256, ignored, np.uint8)
    table[: len(rows)] = [names.values[composed(one)] for one in classes]
    return table[decode(pixels, encoding, Dataset(listed_in, classes, colours, (0, 0, 0), {}), path)]
