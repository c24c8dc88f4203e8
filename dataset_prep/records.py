"""A record is an image with its label file. A split of a data set is a list of records, stored as JSON beside the LMDBs."""

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np

from dataset_prep.datasets import OWN_ROW, dataset, how_to_prepare, read_own
from dataset_prep.image_files import image_size, read_bgr, read_index_label, read_rgb_label
from dataset_prep.label_encodings import decode, is_coloured
from dataset_prep.mat_labels import read_mat_label
from dataset_prep.parallel import in_order
from tools.support.atomic import whole_file
from tools.support.errors import UserError
from tools.support.hashing import file_sum


@dataclass(frozen=True)
class Record:
    """One image, its label file (None if ground truth is not published), and the size that both are scaled to.

    `encoding`: how the label file names classes (label_encodings.ENCODINGS). `size_wh`: None for the size of the files.
    `columns`: the record only has these columns of its scaled image, from the first to before the second.
    """

    id: str
    image: Path
    label: Path | None
    dataset: str
    encoding: str = 'ids'
    size_wh: tuple[int, int] | None = None
    columns: tuple[int, int] | None = None

    @property
    def size_hw(self) -> tuple[int, int]:
        """Height and width of the results of read_image() and read_label(), without decoding the file."""
        width, height = self.size_wh or image_size(self.image)
        return height, self.columns[1] - self.columns[0] if self.columns else width


def read_image(record: Record) -> np.ndarray:
    """The image, uint8 (H, W, 3) BGR; if the record has a size, shrunk by area averaging or enlarged bilinearly."""
    return part_of(record, _whole_image(record))


def read_label(record: Record) -> np.ndarray:
    """The label, uint8 (H, W): ids 0 to C-1 in the order of the data set, 255 to ignore.

    If the record has a size, each new pixel is the one in which its centre lies. Raises UserError with the file and the first
    pixel that is no label, or if the label file differs from the image in size.
    """
    return part_of(record, _whole_label(record))


def read_whole(record: Record) -> tuple[np.ndarray, np.ndarray]:
    """Image and label as from read_image() and read_label(), but with all columns."""
    return _whole_image(record), _whole_label(record)


def part_of(record: Record, pixels: np.ndarray) -> np.ndarray:
    """The columns of `pixels` (H, W, ...) that belong to the record."""
    return pixels[:, slice(*record.columns)] if record.columns else pixels


def _whole_image(record: Record) -> np.ndarray:
    """The scaled image, all columns."""
    image = read_bgr(record.image)
    if record.size_wh is None or record.size_wh == image.shape[1::-1]:
        return image
    shrinks = record.size_wh[0] < image.shape[1]
    return cv2.resize(image, record.size_wh, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _whole_label(record: Record) -> np.ndarray:
    """The scaled label, all columns."""
    if record.label is None:
        raise UserError(f'{record.id} of {record.dataset} has no ground truth')
    values = _label_values(record.label, record.encoding)
    image_wh = image_size(record.image)
    if values.shape[1::-1] != image_wh:
        raise UserError(
            f'{record.label} is {values.shape[1]}x{values.shape[0]} pixels, '
            f'but its image {record.image} is {image_wh[0]}x{image_wh[1]} (width x height)'
        )
    ids = decode(values, record.encoding, dataset(record.dataset), record.label)
    if record.size_wh is None:
        return ids
    return cv2.resize(ids, record.size_wh, interpolation=cv2.INTER_NEAREST_EXACT)  # INTER_NEAREST takes the pixel above and left


def _label_values(path: Path, encoding: str) -> np.ndarray:
    """The values of a label file, uint8: (H, W, 3) RGB for an encoding by colours, else (H, W)."""
    if encoding == 'sbd':
        return read_mat_label(path)
    return read_rgb_label(path) if is_coloured(encoding) else read_index_label(path)


def check_ids(records: Sequence[Record], where: str) -> None:
    """Raise UserError if there are no records, or if an id occurs twice or cannot be a file name."""
    if not records:
        raise UserError(f'{where}: no images')
    twice = [name for name, count in Counter(record.id for record in records).items() if count > 1]
    if twice:
        raise UserError(f'{where}: {len(twice)} ids occur more than once, the first is {twice[0]}; keep one of each')
    for record in records:
        if not record.id or '/' in record.id or '\0' in record.id:
            raise UserError(f'{where}: the id {record.id!r} cannot name a file')


def files_sha256(records: Sequence[Record]) -> str:
    """Fingerprint of records, in any order: SHA-256 over ids, sizes, encodings and the bytes of the files.

    It stays the same when files are copied or unpacked again. It changes when a missing or unreadable file can be read.
    """
    return sha256(''.join(sorted(in_order(_fingerprint, records))).encode()).hexdigest()


def save_split(folder: Path, split: str, records: Sequence[Record]) -> Path:
    """Write `<folder>/<split>.json`, complete or not at all. Paths inside the folder are relative to it, others absolute."""
    path = Path(folder) / f'{split}.json'
    check_ids(records, str(path))
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(as_json(folder, split, records), indent=1, ensure_ascii=False), encoding='utf-8')
    return path


def as_json(folder: Path, split: str, records: Sequence[Record]) -> dict:
    """The content of `<folder>/<split>.json`. If the records differ in size, each row has its own."""
    first = records[0]
    root, common = os.path.abspath(folder), first.size_wh if len({record.size_wh for record in records}) == 1 else None
    rows = [_row(record, root, common) for record in records]
    return {'dataset': first.dataset, 'split': split, 'size_wh': common and list(common), 'records': rows}


def load_split(folder: Path, split: str) -> list[Record]:
    """The records in `<folder>/<split>.json`, in order. Raises UserError if the file is missing or damaged."""
    path = Path(folder) / f'{split}.json'
    if not path.exists():
        there = sorted(found.stem for found in path.parent.glob('*.json') if found.name != OWN_ROW)
        have = f'there are: {", ".join(there)}' if there else how_to_prepare(path.absolute().parent.name)
        raise UserError(f'no {split} split at {path}; {have}')
    try:
        read_own(path.parent)
        content = json.loads(path.read_text(encoding='utf-8'))
        size_wh = tuple(content['size_wh']) if content['size_wh'] else None
        return [_record(row, path.parent, content['dataset'], size_wh) for row in content['records']]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path} is damaged ({error!r}); {how_to_prepare(path.absolute().parent.name)}') from error


def _fingerprint(record: Record) -> str:
    """One line of files_sha256(): the record and the SHA-256 of its files, None for a missing or unreadable one."""
    files = [path for path in (record.image, record.label) if path]
    sums = [file_sum(path) if os.access(path, os.R_OK) else None for path in files]
    return f'{record.id} {record.size_wh} {record.encoding} {sums}\n'


def _record(row: dict, folder: Path, dataset_name: str, size_wh) -> Record:
    """The Record of one row of a split's file."""
    label = folder / row['label'] if row['label'] else None
    columns = tuple(row['columns']) if 'columns' in row else None
    size_wh = tuple(row['size_wh']) if 'size_wh' in row else size_wh
    return Record(row['id'], folder / row['image'], label, dataset_name, row['encoding'], size_wh, columns)


def _row(record: Record, root: str, size_wh: tuple[int, int] | None) -> dict:
    """The row of a record in a split's file in the folder `root` (absolute). It has a size if this is not `size_wh`."""
    image, label = _stored(record.image, root), record.label and _stored(record.label, root)
    row: dict = {'id': record.id, 'image': image, 'label': label, 'encoding': record.encoding}
    row |= {'size_wh': list(record.size_wh)} if record.size_wh and record.size_wh != size_wh else {}
    return row | {'columns': list(record.columns)} if record.columns else row


def _stored(path: Path, root: str) -> str:
    """A path as stored: relative to `root` if it is inside, so that the folder can be moved; else absolute.

    It is compared as text: Path's methods took a quarter of a millisecond per image, and COCO has 90,000 images.
    """
    return os.path.abspath(path).removeprefix(os.path.join(root, ''))
