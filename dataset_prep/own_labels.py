"""The labels of a user's own data as the readers return them (label_forms.py): images, label files, class names."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from dataset_prep.class_lists import IGNORED_NAME
from dataset_prep.datasets import IGNORE_LABEL, Colour
from dataset_prep.image_files import IMAGE_SUFFIXES
from dataset_prep.lists import by_id, composed, with_suffix
from tools.support.errors import UserError, nearest

IMAGE_FOLDERS = ('images', 'JPEGImages')  # the latter as VOC and CVAT name it
BACKGROUND = ('background', '_background_')  # names of the class of uncovered pixels; the latter is labelme's


@dataclass(frozen=True)
class Names:
    """The classes with name and colour, and the names whose pixels are ignored.

    A class that is left out has no id; the ids of later classes move up.
    """

    rows: tuple[tuple[str, Colour], ...]
    left_out: frozenset[str] = frozenset()

    @cached_property
    def kept(self) -> list[tuple[str, Colour]]:
        """Name and colour of each class in the order of ids."""
        return [row for row in self.rows if composed(row[0]) not in self.left_out]

    @cached_property
    def uncovered(self) -> int:
        """The value of a pixel outside all outlines: the id of the class background, or 255 if there is none."""
        ids = [index for index, (name, _) in enumerate(self.kept) if name.lower() in BACKGROUND]
        return ids[0] if ids else IGNORE_LABEL

    @cached_property
    def values(self) -> dict[str, int]:
        """The pixel value of each class name: an id, or 255 to ignore."""
        ids = {composed(name): index for index, (name, _) in enumerate(self.kept)}
        ignored = dict.fromkeys([*self.left_out, IGNORED_NAME], IGNORE_LABEL)
        return dict.fromkeys(BACKGROUND, self.uncovered) | ids | ignored


@dataclass(frozen=True)
class Labels:
    """The labels of a folder, all in one form.

    `images` and `files` are keyed by image name; a file may hold the labels of several images. `draw(name, size_hw, names)`
    returns the label of an image, uint8 (H, W), and raises UserError with the file. `classes`: the names that occur, each with a
    file. `lists`: the splits that the label files define. `ready`: the files are PNGs that need no drawing unless a class is left
    out.
    """

    form: str
    images: Mapping[str, Path]
    files: Mapping[str, Path]
    draw: Callable[[str, tuple[int, int], Names], np.ndarray]
    classes: Mapping[str, Path] = field(default_factory=dict)
    lists: Mapping[str, list[str]] = field(default_factory=dict)
    ready: bool = False


def pictures_in(folder: Path, *suffixes: str) -> dict[str, Path]:
    """The files in a folder that have one of these suffixes, by name; none if there is no such folder."""
    return by_id(with_suffix(folder, *suffixes), lambda path: path.stem)


def images_of(data: Path, beside: Path | None = None) -> dict[str, Path]:
    """The images of a folder by name: those in the first of IMAGE_FOLDERS that exists, else those in the folder `beside`.

    Raises UserError if there are none.
    """
    folders = [data / name for name in IMAGE_FOLDERS if (data / name).is_dir()] or [beside or data / IMAGE_FOLDERS[0]]
    found = pictures_in(folders[0], *IMAGE_SUFFIXES)
    if not found:
        raise UserError(f'no images in {folders[0]} ({" ".join(IMAGE_SUFFIXES)}); see dataset_prep/README.md')
    return found


def check_names(labels: Labels, names: Names, data: Path) -> None:
    """Raise UserError for label names that are neither classes nor left out, and for left-out names that do not occur."""
    listed = [name for name, _ in names.rows]
    if unknown := [name for name in labels.classes if name not in names.values]:
        places = ', '.join(f'{name} (in {labels.classes[name]})' for name in unknown)
        raise UserError(
            f'{data}: the labels contain names that are not classes: {places}; the classes are {", ".join(listed)}. Add the ones '
            'to learn to the list (CLASSES=). Leave out the others, so that their pixels are ignored: '
            f"LEAVE_OUT='{','.join(unknown)}'"
        )
    known = {composed(name) for name in listed} | set(labels.classes)
    for name in sorted(names.left_out - known):
        near = nearest(name, sorted(known))
        raise UserError(f'--leave-out {name} (LEAVE_OUT=): no class and no label has this name; {near}there are: '
                        f'{", ".join(sorted(known))}')  # fmt: skip
    if len(names.kept) < 2:
        raise UserError(f'--leave-out leaves {len(names.kept)} classes of {len(listed)}; at least 2 are needed')
