"""Reads the annotations of MS COCO and draws labels of VOC's classes from them.

Layout: annotations/instances_SET.json and SET/*.jpg, for the sets train2014 and val2014.
Images (paper Sec. 5): those with at least one object of VOC's 20 categories; a crowd does not count.
Labels: 0 is no such object, 255 is a crowd of the 20. Where objects overlap, the one with fewer pixels lies on top, and for equal
sizes the one with the higher id; all objects lie on top of crowds. "Annotated objects from other categories were treated as
background" can mean two things (OTHER_OBJECTS): they are not drawn, so that a plate on a table is table; or they are drawn as
background, so that the plate is a hole in the table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from dataset_prep.coco_objects import Painted, Segmentation, paint, segmentation_of
from dataset_prep.datasets import IGNORE_LABEL, dataset
from dataset_prep.drawn_labels import begin_drawing, save_label
from dataset_prep.image_files import read_index_label
from dataset_prep.json_stream import entries
from dataset_prep.parallel import in_order
from dataset_prep.progress import progress
from dataset_prep.records import Record
from dataset_prep.trees import Tree, need_tree
from tools.support.errors import Fault, UserError, end_with_faults
from tools.support.hashing import file_sum

SETS = ('train2014', 'val2014')
COUNTS = {'train2014': 82783, 'val2014': 40504}
RULE = 1  # increase it when labels are drawn in another way, so that old ones are drawn again
LEFT, DRAWN_OVER = OTHER_OBJECTS = ('left', 'drawn-over')  # objects of other categories, treated as background

# COCO's category ids and names, each with VOC's name (pytorch/vision, references/segmentation/coco_utils.py)
CATEGORIES = {
    1: ('person', 'person'),
    2: ('bicycle', 'bicycle'),
    3: ('car', 'car'),
    4: ('motorcycle', 'motorbike'),
    5: ('airplane', 'aeroplane'),
    6: ('bus', 'bus'),
    7: ('train', 'train'),
    9: ('boat', 'boat'),
    16: ('bird', 'bird'),
    17: ('cat', 'cat'),
    18: ('dog', 'dog'),
    19: ('horse', 'horse'),
    20: ('sheep', 'sheep'),
    21: ('cow', 'cow'),
    44: ('bottle', 'bottle'),
    62: ('chair', 'chair'),
    63: ('couch', 'sofa'),
    64: ('potted plant', 'pottedplant'),
    67: ('dining table', 'diningtable'),
    72: ('tv', 'tvmonitor'),
}
BACKGROUND = 0
VOC_ID = {category: dataset('pascal_voc').classes.index(voc) for category, (_, voc) in CATEGORIES.items()}


@dataclass(frozen=True)
class CocoObject:
    """One annotation. `voc_id` is BACKGROUND for an object of another category."""

    id: int
    voc_id: int
    crowd: bool
    segmentation: Segmentation


@dataclass(frozen=True)
class CocoImage:
    """One image of a set with its objects and crowds: those of VOC's categories, and others if they are drawn."""

    file_name: str
    height: int
    width: int
    objects: list[CocoObject] = field(default_factory=list)


@dataclass(frozen=True)
class CocoSet:
    """The images of one set with an object of VOC's categories, sorted by id; `listed` counts all images of the set."""

    name: str
    annotations: Path
    folder: Path
    images: list[CocoImage]
    listed: int


def read_set(data: Path, name: str, other_objects: str = LEFT) -> CocoSet:
    """A set in the folder `data`; with DRAWN_OVER also the objects of other categories.

    Raises UserError if it or its annotations are missing, damaged, or not COCO's.
    """
    file = f'annotations/instances_{name}.json'
    annotations = (
        need_tree(data, Tree(f'annotations of COCO {name}', (file,), {f'annotations_trainval{name[-4:]}.zip': None})) / file
    )
    folder = need_tree(data, Tree(f'images of COCO {name}', (name,), {f'{name}.zip': None})) / name
    images = _read(annotations, other_objects)
    chosen = [image for _, image in sorted(images.items()) if any(not one.crowd and one.voc_id for one in image.objects)]
    if not chosen:
        raise UserError(f'{annotations} lists no object of the 20 categories of VOC; fetch the annotations again')
    return CocoSet(name, annotations, folder, chosen, len(images))


def _read(path: Path, other_objects: str) -> dict[int, CocoImage]:
    """All images of an annotation file by id, with their objects of VOC's categories, and those of others if these are drawn."""
    images: dict[int, CocoImage] = {}
    objects: list[tuple[int, CocoObject | None]] = []
    for kind, entry in progress(entries(path), f'reading {path.name}', 0, 'entry'):
        try:
            if kind == 'images':
                images[entry['id']] = CocoImage(entry['file_name'], entry['height'], entry['width'])
            elif kind == 'categories':
                _check_category(path, entry)
            elif kind == 'annotations' and (entry['category_id'] in VOC_ID or other_objects == DRAWN_OVER):
                objects.append((entry['image_id'], _object(entry)))
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f'{path} has an entry of {kind} that is not in the form of COCO: {str(entry)[:100]} ({error!r})'
            ) from error
    for image_id, one in objects:
        if image_id not in images:
            raise UserError(f'{path} has annotations of image {image_id}, which is not listed; fetch the file again')
        if one:
            images[image_id].objects.append(one)
    return images


def _check_category(path: Path, entry: dict) -> None:
    wanted = CATEGORIES.get(entry['id'], (entry['name'],))[0]
    if entry['name'] != wanted:
        raise UserError(
            f'{path}: category {entry["id"]} is {entry["name"]}, in COCO it is {wanted}; these are not its annotations'
        )


def _object(entry: dict) -> CocoObject | None:
    """One annotation; None if it outlines nothing. Raises ValueError as segmentation_of does."""
    segmentation = segmentation_of(entry)
    if segmentation is None:
        return None
    return CocoObject(entry['id'], VOC_ID.get(entry['category_id'], BACKGROUND), bool(entry.get('iscrowd', 0)), segmentation)


def draw_label(height: int, width: int, objects: Sequence[CocoObject]) -> np.ndarray:
    """The label of one image, uint8 (height, width): VOC's ids, 0 for all else, 255 for crowds; overlaps as stated above.

    Raises ValueError for run lengths of an image of another size.
    """
    label = np.zeros((height, width), np.uint8)
    values = [IGNORE_LABEL if one.crowd and one.voc_id else one.voc_id for one in objects]
    paint(label, (Painted(value, one.id, one.segmentation, one.crowd) for value, one in zip(values, objects, strict=True)))
    return label


def draw_labels(coco: CocoSet, folder: Path) -> dict[str, Path]:
    """Draw the label of each image of a set into `<folder>/<set>/`, PNGs of indices in VOC's colours; their paths by id.

    Labels drawn before from the same annotations are kept, so a stopped run goes on.
    """
    target = folder / coco.name
    begin_drawing(target, {'annotations_sha256': file_sum(coco.annotations), 'rule': RULE})

    def draw(image: CocoImage) -> tuple[str, Path]:
        name = Path(image.file_name).stem
        path = target / f'{name}.png'
        if not path.exists():
            try:
                label = draw_label(image.height, image.width, image.objects)
            except ValueError as error:
                raise UserError(f'{coco.annotations}: {image.file_name} has {error}') from error
            save_label(path, label, dataset('pascal_voc').palette)
        return name, path

    return dict(progress(in_order(draw, coco.images), f'drawing labels of {coco.name}', len(coco.images)))


def check_images(coco: CocoSet) -> None:
    """Raise UserError with the missing images of a set."""
    paths = [coco.folder / image.file_name for image in coco.images]
    missing = [Fault(f'no file at {path}') for path in paths if not path.is_file()]
    end_with_faults(missing, len(paths), f'images of {coco.annotations.name}', f'unpack {coco.name} anew')


def coco_records(coco: CocoSet, labels: Mapping[str, Path], min_object_area: int = 0) -> list[Record]:
    """The records of a set whose objects cover at least `min_object_area` pixels in all."""
    images = {Path(image.file_name).stem: coco.folder / image.file_name for image in coco.images}
    records = [Record(name, path, labels[name], 'pascal_voc') for name, path in images.items()]
    return _large_enough(records, min_object_area) if min_object_area else records


def _large_enough(records: Sequence[Record], pixels: int) -> list[Record]:
    """The records whose labels have at least that many object pixels."""

    def objects(record: Record) -> int:
        label = read_index_label(record.label)  # type: ignore[arg-type]
        return int(((label > 0) & (label != IGNORE_LABEL)).sum())

    areas = progress(in_order(objects, records), 'measuring objects', len(records))
    return [record for record, area in zip(records, areas, strict=True) if area >= pixels]
