"""A picture to check a data set by: image, label in colour, and both laid over each other, a few records of each split."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from dataset_prep.datasets import IGNORE_LABEL, Dataset
from dataset_prep.records import Record, read_image, read_label
from tools.support.atomic import whole_file

CELL_HEIGHT, GAP, CAPTION = 180, 8, 20  # pixels
IGNORED_COLOUR = (255, 255, 255)
LABEL_WEIGHT = 0.5  # of the label's colour in the overlay


def write_contact_sheet(path: Path, splits: Mapping[str, Sequence[Record]], facts: Dataset, per_split: int = 3) -> None:
    """Write a PNG of `per_split` records, evenly spaced, of each split, above a legend of the classes."""
    rows = [_row(split, record, facts) for split, records in splits.items() for record in _spread(records, per_split)]
    width = max(row.width for row in rows)
    blocks = [*rows, _legend(facts, width)]
    sheet = Image.new('RGB', (width + 2 * GAP, sum(block.height + GAP for block in blocks) + GAP), 'white')
    top = GAP
    for block in blocks:
        sheet.paste(block, (GAP, top))
        top += block.height + GAP
    with whole_file(path) as temporary:
        sheet.save(temporary)


def colour_lookup(facts: Dataset) -> np.ndarray:
    """RGB by label value, uint8 (256, 3); white for what is ignored."""
    table = np.full((256, 3), IGNORED_COLOUR, np.uint8)
    table[: facts.num_classes] = facts.palette
    return table


def _spread(records: Sequence[Record], count: int) -> list[Record]:
    """`count` of the labelled records, the first and the last among them."""
    labelled = [record for record in records if record.label]
    places = np.linspace(0, len(labelled) - 1, min(count, len(labelled))).round().astype(int)
    return [labelled[place] for place in places]


def _row(split: str, record: Record, facts: Dataset) -> Image.Image:
    """Image, label and overlay side by side under a caption."""
    rgb, label = read_image(record)[..., ::-1], read_label(record)
    colours = colour_lookup(facts)[label]
    blend = (1 - LABEL_WEIGHT) * rgb + LABEL_WEIGHT * colours
    overlay = np.where((label == IGNORE_LABEL)[..., None], rgb, blend).astype(np.uint8)
    cells = [_shrunk(pixels) for pixels in (rgb, colours, overlay)]
    width = cells[0].width
    row = Image.new('RGB', (3 * width + 2 * GAP, CAPTION + cells[0].height), 'white')
    ImageDraw.Draw(row).text((0, 2), f'{split}: {record.id} ({rgb.shape[1]}x{rgb.shape[0]})', 'black', _font())
    for place, cell in enumerate(cells):
        row.paste(cell, (place * (width + GAP), CAPTION))
    return row


def _shrunk(pixels: np.ndarray) -> Image.Image:
    """A cell of the sheet; the nearest pixel is taken so that label colours stay pure."""
    picture = Image.fromarray(np.ascontiguousarray(pixels))
    width = max(1, round(picture.width * CELL_HEIGHT / picture.height))
    return picture.resize((width, CELL_HEIGHT), Image.Resampling.NEAREST)


def _legend(facts: Dataset, width: int) -> Image.Image:
    """A swatch and a name for each class, broken into lines."""
    entries = [*zip(facts.classes, facts.palette, strict=True), ('ignored', IGNORED_COLOUR)]
    step = 140
    columns = max(1, width // step)
    legend = Image.new('RGB', (width, CAPTION * -(-len(entries) // columns)), 'white')
    draw = ImageDraw.Draw(legend)
    for place, (name, colour) in enumerate(entries):
        left, top = place % columns * step, place // columns * CAPTION
        draw.rectangle((left, top + 2, left + 14, top + 16), colour, 'black')
        draw.text((left + 20, top + 2), name, 'black', _font())
    return legend


def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(13)
