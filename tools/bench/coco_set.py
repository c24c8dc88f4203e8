"""Draws a data set in COCO's layout. Its pictures are windows of one large picture."""

import json
from pathlib import Path

import cv2
import numpy as np

from dataset_prep.coco import CATEGORIES
from dataset_prep.photographs import JPEG_QUALITY, draw_picture
from tools.support.atomic import whole_file

SET = 'train2014'
SIZE_WH, LARGE_WH = (320, 240), (2048, 1536)
OBJECTS, CORNERS = 5, 24  # per picture, per outline
OTHER = {47: 'cup', 51: 'bowl'}  # categories that VOC does not have
CROWDS = 0.05  # fraction of the objects


def draw_set(data: Path, count: int) -> None:
    """Write annotations/instances_train2014.json and train2014/*.jpg below `data`, unless they are there."""
    listing = data / 'annotations' / f'instances_{SET}.json'
    if listing.exists():
        return
    (data / SET).mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    large, _ = draw_picture(LARGE_WH, 21, rng)
    images: list[dict] = []
    annotations: list[dict] = []
    for number in range(1, count + 1):
        name = f'COCO_{SET}_{number:012d}.jpg'
        left, top = (int(rng.integers(0, whole - part)) for whole, part in zip(LARGE_WH, SIZE_WH, strict=True))
        window = large[top : top + SIZE_WH[1], left : left + SIZE_WH[0]]
        cv2.imwrite(str(data / SET / name), window, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
        images.append({'id': number, 'file_name': name, 'width': SIZE_WH[0], 'height': SIZE_WH[1]})
        annotations += [{'id': len(annotations) + place, 'image_id': number, **_object(rng)} for place in range(OBJECTS)]
    categories = [{'id': number, 'name': name} for number, name in [*_names().items(), *OTHER.items()]]
    with whole_file(listing) as temporary:
        temporary.write_text(json.dumps({'images': images, 'annotations': annotations, 'categories': categories}))


def _names() -> dict[int, str]:
    return {number: names[0] for number, names in CATEGORIES.items()}


def _object(rng: np.random.Generator) -> dict:
    """A star-shaped outline at a random place; sometimes a crowd, as run lengths of columns."""
    category = int(rng.choice([*CATEGORIES, *OTHER]))
    width, height = SIZE_WH
    if rng.random() < CROWDS:
        first, columns = int(rng.integers(0, width - 20)), int(rng.integers(5, 20))
        counts = [first * height, columns * height, (width - first - columns) * height]
        return {'category_id': category, 'iscrowd': 1, 'segmentation': {'size': [height, width], 'counts': counts}}
    angles = np.sort(rng.uniform(0, 2 * np.pi, CORNERS))
    radius = rng.uniform(10, 80) * rng.uniform(0.7, 1.3, CORNERS)
    x = rng.uniform(0, width) + radius * np.cos(angles)
    y = rng.uniform(0, height) + radius * np.sin(angles)
    outline = np.clip(np.stack([x, y], axis=1), 0, [width, height]).round(2)
    return {'category_id': category, 'iscrowd': 0, 'segmentation': [outline.ravel().tolist()]}
