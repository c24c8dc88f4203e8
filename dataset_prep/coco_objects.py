"""Paints objects as COCO stores them, polygons or run lengths, into a label by pycocotools."""

from array import array
from collections.abc import Iterable
from math import prod
from typing import NamedTuple

import numpy as np
from pycocotools import mask as coco_mask

FARTHEST = 1e6  # pixels of a corner from the origin; pycocotools takes memory for each pixel along an outline
Segmentation = list[array] | dict  # polygons x, y, x, y ..., or a run-length code as COCO has it


class Painted(NamedTuple):
    """An object, the value of its pixels, its id, and whether it lies below all other objects."""

    value: int
    id: int
    segmentation: Segmentation
    under: bool = False


def segmentation_of(entry: dict) -> Segmentation | None:
    """The outline of an annotation; None if it outlines nothing.

    Outlines of one or two points are left out, as in Detectron, because pycocotools takes two points for a box. Raises ValueError
    for half a point, and for run lengths whose sum is not the size of the image, which pycocotools would accept.
    """
    segmentation = entry['segmentation']
    if isinstance(segmentation, list):
        segmentation = [array('d', polygon) for polygon in segmentation if len(polygon) >= 6]
        if any(len(polygon) % 2 for polygon in segmentation):
            raise ValueError(f'annotation {entry["id"]}: a polygon with half a point')
        if not all(abs(side) < FARTHEST for polygon in segmentation for side in polygon):
            raise ValueError(f'annotation {entry["id"]}: a polygon with a point that is far off or no number')
        return segmentation or None
    counts = segmentation['counts']
    if isinstance(counts, str):
        counts = _counts(counts)
    if sum(counts) != prod(segmentation['size']) or min(counts, default=0) < 0:
        raise ValueError(f'annotation {entry["id"]}: run lengths of another size than they say')
    return {'size': segmentation['size'], 'counts': counts}


def _counts(text: str) -> list[int]:
    """Run lengths from COCO's compressed text (rleFrString in cocoapi's maskApi.c).

    Each number is written in characters of 5 bits, lowest first. Bit 5 says that more follow; bit 4 of the last one is the sign.
    From the fourth number on, each is the difference to the number two places before.
    """
    counts: list[int] = []
    number = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64:
            raise ValueError(f'run lengths with the character {character!r}')
        number |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        number -= (1 << shift) if bits & 16 else 0
        counts.append(number + (counts[-2] if len(counts) > 2 else 0))
        number = shift = 0
    if shift:
        raise ValueError('run lengths that are cut short')
    return counts


def paint(label: np.ndarray, objects: Iterable[Painted]) -> None:
    """Paint objects into a label, uint8 (H, W). The object with fewer pixels lies on top; for equal sizes the higher id.

    Raises ValueError for run lengths of an image of another size.
    """
    codes = [(one, _run_lengths(one.segmentation, *label.shape)) for one in objects]
    for one, code in sorted(codes, key=lambda pair: (not pair[0].under, -int(coco_mask.area(pair[1])), pair[0].id)):
        label[coco_mask.decode(code).astype(bool)] = one.value


def _run_lengths(segmentation: Segmentation, height: int, width: int) -> dict:
    """pycocotools' compressed run-length code of an object, made as COCO.annToRLE does."""
    if isinstance(segmentation, list):
        return coco_mask.merge(coco_mask.frPyObjects([polygon.tolist() for polygon in segmentation], height, width))
    if list(segmentation['size']) != [height, width]:
        raise ValueError(f'run lengths of {segmentation["size"]} pixels (height, width) in an image of {[height, width]}')
    return coco_mask.frPyObjects(segmentation, height, width) if isinstance(segmentation['counts'], list) else segmentation
