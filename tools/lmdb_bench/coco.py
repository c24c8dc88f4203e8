"""Child of the benchmark: a set in COCO's own layout, drawn, or prepared by the code that `make lmdb-voc-coco` runs.

The pictures are windows of one large one. Prints the seconds of preparing.
"""

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np

from dataset_prep.coco import CATEGORIES
from dataset_prep.datasets import dataset
from dataset_prep.photographs import JPEG_QUALITY, draw_picture
from dataset_prep.prepare import prepare
from dataset_prep.voc_coco import SPLIT, find_coco
from tools.lmdb_bench.children import answer
from tools.support.atomic import whole_file
from tools.support.errors import run_command

SET = 'train2014'
SIZE_WH, LARGE_WH = (320, 240), (2048, 1536)
OBJECTS, CORNERS = 5, 24  # per picture, per outline
OTHER = {47: 'cup', 51: 'bowl'}  # categories that VOC does not have
CROWDS = 0.05  # share of the objects


def draw_set(data: Path, count: int) -> None:
    """annotations/instances_train2014.json and train2014/*.jpg, unless they are there."""
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
    """A star-shaped outline somewhere; now and then a crowd, as run lengths of columns."""
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


def main(argv: list[str] | None) -> None:
    """Draw the set, or prepare it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('work', type=Path)
    parser.add_argument('--count', type=int, required=True)
    parser.add_argument('--crop-size', type=int, help='prepare it for this crop, rather than draw it')
    args = parser.parse_args(argv)
    if args.crop_size is None:
        return draw_set(args.work / 'coco', args.count)
    begun = time.perf_counter()
    out = args.work / 'prepared'
    records = find_coco(args.work / 'coco', [SET], out, 0, allow_partial=True)
    prepare(out, dataset('pascal_voc'), {SPLIT: records}, {SPLIT: [args.crop_size]}, None, 1)
    answer(seconds=time.perf_counter() - begun, count=len(records))


if __name__ == '__main__':
    run_command(main)
