"""Reads labelme's JSON files, one per image, and draws their shapes as labelme does, later ones over earlier ones.

Source: wkentaro/labelme, labelme/utils/shape.py (shape_to_mask, shapes_to_label), labelme/label_file.py.
"""

import base64
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from dataset_prep.coco_objects import FARTHEST
from dataset_prep.json_stream import first_member
from dataset_prep.lists import composed
from dataset_prep.own_labels import Labels, Names, images_of, pictures_in
from dataset_prep.parallel import in_order
from tools.support.errors import Fault, UserError, attempt, end_with_faults

MEMBERS = ('shapes', 'imagePath')  # its files are recognised by these
FOLDERS = ('labels', 'annotations', 'images', 'JPEGImages', '.')
LINE_WIDTH, POINT_RADIUS = 10, 5  # pixels, as labelme draws them
Points = list[tuple[float, float]]


def find(data: Path) -> Labels | None:
    """The labels of a folder whose JSON files are labelme's; None if it has none."""
    folder = next((data / name for name in FOLDERS if _is_labelme(data / name)), None)
    if folder is None:
        return None
    files = {name: path for name, path in pictures_in(folder, '.json').items() if folder != data or first_member(path, MEMBERS)}
    contents = list(in_order(partial(attempt, _read), files.values()))
    faults = [content for content in contents if isinstance(content, Fault)]
    end_with_faults(faults, len(files), 'label files', 'nothing is written')
    classes: dict[str, Path] = {}
    for path, content in zip(files.values(), contents, strict=True):
        for shape in content['shapes']:  # type: ignore[index]
            classes.setdefault(composed(shape['label']), path)
    return Labels("labelme's JSON files", images_of(data, folder), files, partial(_draw, files), classes)


def _is_labelme(folder: Path) -> bool:
    """Whether a folder has a JSON file of labelme's."""
    return any(first_member(path, MEMBERS) for path in sorted(folder.glob('*.json')))


def _read(path: Path) -> dict:
    """The content of a file. Raises UserError if the file is incomplete, not labelme's, or has a shape that cannot be drawn."""
    try:
        content = json.loads(path.read_text(encoding='utf-8-sig'))
        for number, shape in enumerate(content['shapes'], 1):
            if not isinstance(shape['label'], str):
                raise ValueError(f'shape {number} has no name')
            _check_shape(f'shape {number}, {shape["label"]},', shape.get('shape_type') or 'polygon', shape['points'])
        return content
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(
            f'{path} is not a complete JSON file of labelme ({error!r}); correct it in labelme, or remove it'
        ) from error


def _check_shape(what: str, kind: str, points: Sequence[Sequence[float]]) -> None:
    """Raise ValueError for an unknown kind of shape, too few points, or points that are no numbers."""
    if kind != 'mask' and kind not in SHAPES:
        raise ValueError(f'{what} is a {kind}; understood are {", ".join([*SHAPES, "mask"])}')
    least, most, _ = SHAPES.get(kind, (2, 2, None))
    if not least <= len(points) <= most:
        raise ValueError(f'{what} is a {kind} of {len(points)} points')
    if not all(len(point) == 2 and all(abs(side) < FARTHEST for side in point) for point in points):
        raise ValueError(f'{what} has points that are far off or no pairs of numbers')


def _draw(files: Mapping[str, Path], name: str, size_hw: tuple[int, int], names: Names) -> np.ndarray:
    """Labels.draw() for a file of labelme."""
    path, (height, width) = files[name], size_hw
    content = _read(path)
    said = content.get('imageHeight') or height, content.get('imageWidth') or width
    if said != size_hw:
        raise UserError(
            f'{path} was drawn for an image of {said[1]}x{said[0]} pixels (width x height), but its image has {width}x{height}'
        )
    label = Image.new('L', (width, height), names.uncovered)
    draw = ImageDraw.Draw(label)
    for shape in content['shapes']:
        kind, value = shape.get('shape_type') or 'polygon', names.values[composed(shape['label'])]
        points = [(float(x), float(y)) for x, y in shape['points']]
        if kind == 'mask':
            left_top, mask = _mask(path, shape, points)
            label.paste(value, left_top, mask)
        else:
            SHAPES[kind][2](draw, points, value)
    return np.asarray(label)


def _mask(path: Path, shape: dict, points: Points) -> tuple[tuple[int, int], Image.Image]:
    """(left, top) of the mask of a shape, and the mask. Its box includes both of its points."""
    (left, top), (right, bottom) = ((int(x), int(y)) for x, y in points)
    try:
        with Image.open(io.BytesIO(base64.b64decode(shape['mask']))) as picture:
            mask = picture.convert('L').point(lambda value: 255 if value else 0)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f'{path} has a mask of {shape["label"]} that cannot be decoded ({error!r}); correct it in labelme'
        ) from error
    if mask.size != (right - left + 1, bottom - top + 1):
        raise UserError(f'{path} has a mask of {shape["label"]} that differs in size from its box; correct it in labelme')
    return (left, top), mask


def _polygon(draw: ImageDraw.ImageDraw, points: Points, value: int) -> None:
    draw.polygon(points, fill=value, outline=value)


def _rectangle(draw: ImageDraw.ImageDraw, points: Points, value: int) -> None:
    (left, right), (top, bottom) = (sorted(side) for side in zip(*points, strict=True))
    draw.rectangle((left, top, right, bottom), fill=value, outline=value)


def _circle(draw: ImageDraw.ImageDraw, points: Points, value: int) -> None:
    """The first point is the centre, the second lies on the rim."""
    _disc(draw, points[0], math.dist(*points), value)


def _line(draw: ImageDraw.ImageDraw, points: Points, value: int) -> None:
    draw.line(points, fill=value, width=LINE_WIDTH)


def _point(draw: ImageDraw.ImageDraw, points: Points, value: int) -> None:
    _disc(draw, points[0], POINT_RADIUS, value)


def _disc(draw: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, value: int) -> None:
    x, y = centre
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=value, outline=value)


# All kinds of shapes except the mask: fewest and most points, and the function that draws it.
SHAPES: dict[str, tuple[int, float, Callable[[ImageDraw.ImageDraw, Points, int], None]]] = {
    'polygon': (3, math.inf, _polygon),
    'rectangle': (2, 2, _rectangle),
    'oriented_rectangle': (4, 4, _polygon),
    'circle': (2, 2, _circle),
    'line': (2, 2, _line),
    'linestrip': (2, math.inf, _line),
    'point': (1, 1, _point),
}
