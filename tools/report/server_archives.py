"""Archives of label maps for the evaluation servers of VOC 2012 and Cityscapes: `pack` writes one, `check` reads it again."""

import io
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from dataset_prep.class_lists import voc_colour
from dataset_prep.datasets import dataset
from dataset_prep.records import Record
from tools.scoring.benchmarks import LABEL_IDS, TRAIN_IDS
from tools.scoring.folders import read_map
from tools.support.errors import Fault, UserError, attempt, end_with_faults

VOC_PALETTE = [part for index in range(256) for part in voc_colour(index)]
TO_LABEL_ID = np.zeros(len(TRAIN_IDS), np.uint8)
TO_LABEL_ID[list(TRAIN_IDS.values())] = [LABEL_IDS[name] for name in TRAIN_IDS]


@dataclass(frozen=True)
class Server:
    """The format of an evaluation server. `encode` turns predicted ids into PNG bytes, `decode` turns them back."""

    suffix: str
    classes: int
    name: Callable[[str, str], str]  # of an entry, from the id of an image and the competition
    encode: Callable[[np.ndarray], bytes]
    decode: Callable[[bytes], np.ndarray]


def check_present(records: list[Record], folder: Path) -> None:
    """Raise UserError unless every image has a label map."""
    missing = [record.id for record in records if not (folder / f'{record.id}.png').is_file()]
    faults = [Fault(f'no file at {folder / name}.png') for name in missing]
    end_with_faults(faults, len(records), 'images', 'each needs its label map: run tools/test.py with the same --split first')


def predicted(record: Record, folder: Path, server: Server) -> np.ndarray:
    """The label map of an image. Raises UserError if its size is not that of the image or an id is no class."""
    path = folder / f'{record.id}.png'
    labels = read_map(path)
    if labels.shape != record.size_hw:
        raise UserError(f'{path} is {_size(labels.shape)}, its image {record.image} is {_size(record.size_hw)} (height x width)')
    if labels.max() >= server.classes:
        raise UserError(f'{path} has label {labels.max()}; classes are 0-{server.classes - 1}')
    return labels


def _size(size_hw: tuple[int, ...]) -> str:
    return 'x'.join(map(str, size_hw))


def pack(path: Path, server: Server, records: list[Record], folder: Path, competition: str) -> None:
    """Pack all maps. Raises UserError with the maps that the server would reject."""
    faults = []
    with _packer(path) as add:
        for record in tqdm(records, unit='image', desc='packing', disable=None):
            labels = attempt(partial(predicted, folder=folder, server=server), record)
            if isinstance(labels, Fault):
                faults.append(labels)
            else:
                add(server.name(record.id, competition), server.encode(labels))
    end_with_faults(faults, len(records), 'label maps', 'nothing is packed')


@contextmanager
def _packer(path: Path) -> Iterator[Callable[[str, bytes], Any]]:
    """A function that adds an entry to a new archive, which is closed at the end."""
    if path.suffix == '.zip':
        with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as archive:
            yield archive.writestr
        return

    def add(name: str, content: bytes) -> None:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        packed.addfile(entry, io.BytesIO(content))

    with tarfile.open(path, 'w:gz', compresslevel=1) as packed:
        yield add


def check(path: Path, server: Server, records: list[Record], folder: Path, competition: str) -> None:
    """Read the archive again. Raises UserError unless it holds the label maps of all images with the predicted ids."""
    wanted = {server.name(record.id, competition): record for record in records}
    for name, content in tqdm(entries(path), total=len(records), unit='image', desc='checking', disable=None):
        record = wanted.pop(name, None)
        if record is None or (server.decode(content) != predicted(record, folder, server)).any():
            raise UserError(f'{path}: {name} is not what was predicted; is the disk full? pack again')
    if wanted:
        raise UserError(f'{path} lacks {len(wanted)} images, {min(wanted)} among them; is the disk full? pack again')


def entries(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file in an archive, without unpacking it to disk."""
    if path.suffix == '.zip':
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                yield name, archive.read(name)
        return
    with tarfile.open(path, 'r:gz') as packed:
        for entry in packed:
            file = packed.extractfile(entry)
            yield entry.name, file.read() if file else b''


def png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, 'png')
    return buffer.getvalue()


def opened(content: bytes, mode: str) -> np.ndarray:
    """The values or palette indices of a PNG. Raises UserError for another mode."""
    with Image.open(io.BytesIO(content)) as picture:
        if picture.mode != mode:
            raise UserError(f'a map was written as a picture of mode {picture.mode}, the server takes {mode}')
        return np.asarray(picture)


def with_voc_colours(labels: np.ndarray) -> bytes:
    picture = Image.fromarray(labels)
    picture.putpalette(VOC_PALETTE)
    return png(picture)


def as_label_ids(labels: np.ndarray) -> bytes:
    return png(Image.fromarray(TO_LABEL_ID[labels]))


def from_label_ids(content: bytes) -> np.ndarray:
    """Predicted ids from label ids. Raises UserError for ids without a class."""
    table = np.full(256, 255, np.uint8)
    table[TO_LABEL_ID] = np.arange(len(TO_LABEL_ID))
    return table[opened(content, 'L')]


SERVERS = {
    'pascal_voc': Server(
        '.tar.gz', dataset('pascal_voc').num_classes,
        lambda name, competition: f'results/VOC2012/Segmentation/{competition}_test_cls/{name}.png',
        with_voc_colours, lambda content: opened(content, 'P'),
    ),
    'cityscapes': Server('.zip', len(TRAIN_IDS), lambda name, _: f'{name}.png', as_label_ids, from_label_ids),
}  # fmt: skip
