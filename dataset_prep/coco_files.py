"""Reads annotation files in COCO's form with own categories, as CVAT and other tools write them: polygons and run lengths.

Crowds count as objects here, because CVAT marks brush strokes as crowds. Where two objects overlap, the one with fewer pixels
lies on top.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from dataset_prep import labelme_files
from dataset_prep.coco_objects import Painted, Segmentation, paint, segmentation_of
from dataset_prep.image_files import IMAGE_SUFFIXES
from dataset_prep.json_stream import entries, first_member
from dataset_prep.lists import composed
from dataset_prep.own_labels import Labels, Names
from dataset_prep.progress import progress
from tools.support.errors import Fault, UserError, end_with_faults

MEMBERS = ('images', 'annotations')  # the files are recognised by these
SPLITS = {'train': 'train', 'val': 'val', 'valid': 'val', 'validation': 'val', 'test': 'test'}
_SPLIT = re.compile(rf'(?:^|[^a-z])({"|".join(SPLITS)})\d*$', re.IGNORECASE)


@dataclass
class AnnotatedImage:
    """An image of an annotation file: its path there, height and width if given, and objects with their classes."""

    file_name: str
    size_hw: tuple[int | None, int | None]
    objects: list[tuple[str, Segmentation]] = field(default_factory=list)


def find(data: Path) -> Labels | None:
    """The labels of a folder with annotation files in COCO's form, in it or one folder deeper; None if it has none.

    An image may lie anywhere in the folder. If the name of a file or of its folder is train, val or test, the file is that split.
    """
    paths = [path for folder in (data, *sorted(data.glob('*/'))) for path in _annotation_files(folder)]
    if not paths:
        return None
    index, annotated = _index(data), dict[str, AnnotatedImage]()
    images, files, classes = dict[str, Path](), dict[str, Path](), dict[str, Path]()
    lists: dict[str, list[str]] = {}
    for path in paths:
        found, split = _read(path), _split_of(path)
        labelled = any(image.objects for image in found)  # else the file only lists the images of a test set
        for picture, image in zip(_pictures(path, found, index), found, strict=True):
            name = composed(picture.stem)
            if name in images:
                raise UserError(f'{path} lists {picture}, and {images[name]} has the same name, {name}; keep one of them')
            images[name], annotated[name] = picture, image
            if labelled:
                files[name] = path
            if split:
                lists.setdefault(split, []).append(name)
            classes |= {one: path for one, _ in image.objects if one not in classes}
    if not files:
        raise UserError(f'{", ".join(map(str, paths))}: no object has an outline, so there is nothing to learn')
    lists = lists if 'train' in lists and sum(map(len, lists.values())) == len(images) else {}
    return Labels("annotations in COCO's form", images, files, partial(_draw, annotated, files), classes, lists)


def _annotation_files(folder: Path) -> list[Path]:
    """The annotation files of COCO's form in a folder; none if the folder holds labelme's files."""
    paths, either = sorted(folder.glob('*.json')), (*MEMBERS, *labelme_files.MEMBERS)
    first = next(filter(None, (first_member(path, either) for path in paths)), None)
    return [path for path in paths if first_member(path, MEMBERS)] if first in MEMBERS else []


def _read(path: Path) -> list[AnnotatedImage]:
    """The images of an annotation file with their objects. Prints how many objects have no outline, only a box or points.

    Raises UserError for entries that are not in COCO's form.
    """
    images: dict[object, AnnotatedImage] = {}
    categories: dict[object, str] = {}
    objects: list[tuple[object, object, Segmentation]] = []
    without = 0
    for kind, entry in progress(entries(path), f'reading {path.name}', 0, 'entry'):
        try:
            if kind == 'images':
                images[entry['id']] = AnnotatedImage(composed(entry['file_name']), (entry.get('height'), entry.get('width')))
            elif kind == 'categories':
                categories[entry['id']] = composed(entry['name'])
            elif kind == 'annotations':
                outline = segmentation_of(entry) if entry.get('segmentation') else None
                without += outline is None
                of_image, of_category = entry['image_id'], entry['category_id']
                hash((of_image, of_category))  # raises TypeError for a list or dict instead of an id
                objects += [(of_image, of_category, outline)] if outline else []
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise UserError(
                f'{path} has an entry of {kind} that is not in the form of COCO: {str(entry)[:100]} ({error!r})'
            ) from error
    for image_id, category_id, outline in objects:
        if image_id not in images or category_id not in categories:
            raise UserError(f'{path} has an object of image {image_id} and category {category_id}, which are not both listed')
        images[image_id].objects.append((categories[category_id], outline))
    if without:
        total = without + len(objects)
        print(f'note: {without} of {total} annotations in {path} have no outline (boxes, points) and are not drawn')
    return list(images.values())


def _index(data: Path) -> dict[str, list[Path]]:
    """All images in a folder, however deep, by the names of their files."""
    index: dict[str, list[Path]] = {}
    for path in sorted(data.rglob('*')):
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith('.'):
            index.setdefault(composed(path.name), []).append(path)
    return index


def _pictures(path: Path, images: Sequence[AnnotatedImage], index: Mapping[str, list[Path]]) -> list[Path]:
    """The files of the images that an annotation file lists. Raises UserError for missing and for ambiguous ones."""
    pictures, lacking, split = list[Path](), list[Fault](), _split_of(path)
    for image in images:
        wanted = [part for part in image.file_name.replace('\\', '/').split('/') if part not in ('', '.')] or ['']
        fits = [one for one in index.get(wanted[-1], []) if list(map(composed, one.parts[-len(wanted) :])) == wanted]
        beside = [one for one in fits if one.parent == path.parent or split in map(SPLITS.get, one.parent.parts)]
        fits = beside if len(fits) > 1 and beside else fits
        if len(fits) > 1:
            raise UserError(f'{path} lists {image.file_name}, which could be {fits[0]} or {fits[1]}; keep one of them')
        pictures += fits
        lacking += [] if fits else [Fault(f'{path} lists {image.file_name}, but there is no such file')]
    end_with_faults(lacking, len(images), 'images', 'put them beside the annotations, in any folder')
    return pictures


def _split_of(path: Path) -> str | None:
    """The split of an annotation file, from its name (instances_train.json) or its folder; None if neither tells."""
    found = [match[1].lower() for name in (path.stem, path.parent.name) if (match := _SPLIT.search(name))]
    return SPLITS[found[0]] if found else None


def _draw(
    annotated: Mapping[str, AnnotatedImage], files: Mapping[str, Path], name: str, size_hw: tuple[int, int], names: Names
) -> np.ndarray:
    """Labels.draw() for an image of an annotation file."""
    image, path = annotated[name], files[name]
    if any(said not in (None, side) for said, side in zip(image.size_hw, size_hw, strict=True)):
        raise UserError(
            f'{path}: {image.file_name} is listed with {image.size_hw[1]}x{image.size_hw[0]} pixels (width x height), '
            f'it has {size_hw[1]}x{size_hw[0]}'
        )
    label = np.full(size_hw, names.uncovered, np.uint8)
    try:
        paint(label, (Painted(names.values[one], number, outline) for number, (one, outline) in enumerate(image.objects)))
    except ValueError as error:
        raise UserError(f'{path}: {image.file_name} has {error}') from error
    return label
