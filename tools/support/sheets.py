"""Draws the parts of picture sheets: coloured label maps, overlays, rows, captions and legends.

All pictures are uint8 (H, W, 3), BGR as in OpenCV; palettes are RGB. Text may be in any European alphabet.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dataset_prep.datasets import Colour, Dataset

BLACK, WHITE = (0, 0, 0), (255, 255, 255)
GAP, LINE, SWATCH = 8, 20, 14  # pixels: between pictures, height of a text line, side of a colour in a legend
TEXT_SIZE = 13


def colorize(label_map: np.ndarray, facts: Dataset, ignored: Colour = BLACK) -> np.ndarray:
    """`label_map` (H, W) in the colours of the classes; `ignored` is the colour of pixels without a class."""
    table = np.full((256, 3), ignored[::-1], np.uint8)
    table[: facts.num_classes] = np.array(facts.palette, np.uint8)[:, ::-1]
    return table[label_map]


def overlay(image_bgr: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Half image, half colours; the image alone where the colours are black."""
    mixed = cv2.addWeighted(image_bgr, 0.5, colours, 0.5, 0)
    return np.where(colours.any(axis=2, keepdims=True), mixed, image_bgr)


def scaled(picture: np.ndarray, *, width: int | None = None, height: int | None = None, pure: bool = False) -> np.ndarray:
    """`picture` scaled to a width or a height. `pure` takes the nearest pixels, so that no new colours appear."""
    rows, columns = picture.shape[:2]
    size = (width, max(1, round(rows * width / columns))) if width else (max(1, round(columns * (height or rows) / rows)), height)
    shrinks = size[0] < columns
    return cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST if pure or not shrinks else cv2.INTER_AREA)


def beside(pictures: Sequence[np.ndarray], gap: int = GAP) -> np.ndarray:
    """Pictures of equal height side by side."""
    space = np.full((pictures[0].shape[0], gap, 3), 255, np.uint8)
    return np.hstack([part for picture in pictures for part in (space, picture)][1:])


def below(blocks: Sequence[np.ndarray], gap: int = GAP) -> np.ndarray:
    """Pictures of any width below each other on white."""
    width = max(block.shape[1] for block in blocks)
    parts = []
    for block in blocks:
        parts += [np.full((gap, width, 3), 255, np.uint8), np.pad(
            block, ((0, 0), (0, width - block.shape[1]), (0, 0)), constant_values=255
        )]  # fmt: skip
    return np.vstack(parts[1:])


def framed(picture: np.ndarray, gap: int = GAP) -> np.ndarray:
    """A picture with a white border."""
    return np.pad(picture, ((gap, gap), (gap, gap), (0, 0)), constant_values=255)


def caption(text: str, width: int) -> np.ndarray:
    """A line of text, black on white, cut off at `width` pixels."""
    return _drawn(width, LINE, lambda draw: draw.text((0, 2), text, BLACK, _font()))


def legend(entries: Sequence[tuple[str, Colour]], width: int) -> np.ndarray:
    """A white band `width` pixels wide with a swatch and a text for each entry, in columns."""
    step = 3 * GAP + SWATCH + max(int(_font().getlength(text)) for text, _ in entries)
    columns = max(1, width // step)

    def paint(draw: ImageDraw.ImageDraw) -> None:
        for place, (text, colour) in enumerate(entries):
            left, top = place % columns * step, place // columns * LINE
            draw.rectangle((left, top + 2, left + SWATCH, top + 2 + SWATCH), colour, BLACK)
            draw.text((left + SWATCH + GAP, top + 2), text, BLACK, _font())

    return _drawn(width, LINE * -(-len(entries) // columns), paint)


def class_legend(facts: Dataset, width: int) -> np.ndarray:
    """The legend of a data set's classes."""
    return legend(list(zip(facts.classes, facts.palette, strict=True)), width)


def _drawn(width: int, height: int, paint) -> np.ndarray:
    picture = Image.new('RGB', (width, height), WHITE)
    paint(ImageDraw.Draw(picture))
    return np.asarray(picture)[..., ::-1]


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(TEXT_SIZE)
