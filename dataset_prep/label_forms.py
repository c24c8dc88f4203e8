"""Finds out in which form a folder has its labels, and turns them into PNGs of ids."""

import hashlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from dataset_prep import coco_files, label_pictures, labelme_files
from dataset_prep.drawn_labels import begin_drawing, save_label
from dataset_prep.image_files import image_size
from dataset_prep.label_pictures import encoding_of
from dataset_prep.own_labels import Labels, Names
from dataset_prep.parallel import in_order
from dataset_prep.progress import progress
from tools.support.errors import Fault, UserError, attempt, end_with_faults
from tools.support.hashing import file_sum

FOLDER = 'drawn_labels'  # in the folder of a user's own data set
RULE = 1  # increase it when labels are drawn in another way, so that old ones are drawn again

# Each reader returns the labels that a folder has in its form, or None.
READERS: tuple[Callable[[Path], Labels | None], ...] = (
    labelme_files.find, coco_files.find, label_pictures.find_masks, label_pictures.find
)  # fmt: skip


def find_labels(data: Path) -> Labels:
    """The labels of a folder in any known form. Raises UserError if it has none, or labels in two forms."""
    if not data.is_dir():
        raise UserError(f'no folder {data}; give the one that holds your images and labels: DATA=FOLDER')
    found = [labels for reader in READERS if (labels := reader(data))]
    if not found:
        raise UserError(
            f'no labels in {data}: no PNGs in labels/ or SegmentationClass/, no JSON files of labelme or in the form of COCO; '
            'see dataset_prep/README.md'
        )
    if len(found) > 1:
        raise UserError(f'{data} holds {found[0].form} and {found[1].form}; move one of them out of the folder')
    return found[0]


def as_pictures(labels: Labels, names: Names, wanted: Iterable[str], out: Path) -> dict[str, tuple[Path, str]]:
    """A label PNG of each of the `wanted` images that has a label, and its encoding.

    Labels that are not PNGs, or have classes to leave out, are drawn into `out`/drawn_labels/. Labels drawn before from the same
    files are kept. Raises UserError with the label files that cannot be drawn.
    """
    wanted = [name for name in wanted if name in labels.files]
    if labels.ready and not names.left_out:
        encodings = in_order(partial(attempt, encoding_of), [labels.files[name] for name in wanted])
        # An unreadable file is named later, when the labels are read.
        return {
            name: (labels.files[name], 'ids' if isinstance(encoding, Fault) else encoding)
            for name, encoding in zip(wanted, encodings, strict=True)
        }
    folder = out / FOLDER
    begin_drawing(folder, {'form': labels.form, 'names': names.values, 'files': _files_sha256(labels), 'rule': RULE})
    drawn = in_order(partial(_draw, labels, names, folder), wanted)
    faults = [fault for fault in progress(drawn, 'drawing labels', len(wanted)) if fault]
    end_with_faults(faults, len(wanted), 'labels', 'nothing is written')
    return {name: (folder / f'{name}.png', 'ids') for name in wanted}


def _draw(labels: Labels, names: Names, folder: Path, name: str) -> Fault | None:
    """Draw the label of an image unless it exists; returns a Fault of the label. Unreadable images are reported later."""
    path, size_wh = folder / f'{name}.png', attempt(image_size, labels.images[name])
    if path.exists() or isinstance(size_wh, Fault):
        return None
    size_hw = size_wh[1], size_wh[0]
    label = attempt(lambda one: labels.draw(one, size_hw, names), name)
    if isinstance(label, Fault):
        return label
    if label.shape != size_hw:
        return Fault(
            f'{labels.files[name]} is {label.shape[1]}x{label.shape[0]} pixels, but its image {labels.images[name]} '
            f'is {size_wh[0]}x{size_wh[1]} (width x height)'
        )
    save_label(path, label, [colour for _, colour in names.kept])
    return None


def _files_sha256(labels: Labels) -> str:
    """SHA-256 over the names and contents of the label files."""
    files = sorted({*labels.files.values(), *labels.classes.values()})
    return hashlib.sha256(''.join(f'{path.name} {file_sum(path)}\n' for path in files).encode()).hexdigest()
