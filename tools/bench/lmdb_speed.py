"""Times writing and reading of LMDBs, compared with Caffe's convert_imageset and with the disk.

The pictures are drawn, in the sizes of three data sets. For each size these take turns: convert_imageset on the images and then
on the labels, as it knows no pairs; our writer with the same pixels (no margin, raw); our writer as for training (margin of 186,
raw and png); and a plain file of as many bytes. Then stock Caffe's Data layer reads batches of crops from the last two LMDBs.
The fastest of several runs is shown.
"""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from dataset_prep.datasets import dataset
from dataset_prep.lmdb_store import BATCH_BYTES, check_disk_space, stored_keys
from dataset_prep.lmdb_writer import write_lmdb
from dataset_prep.parallel import WORKERS
from dataset_prep.photographs import draw
from dataset_prep.prepare import prepare
from dataset_prep.records import Record
from dataset_prep.voc_coco import SPLIT, find_coco
from prototxt.layers import L, P, caffe
from prototxt.networks import training
from prototxt.shapes import MARGIN
from tools.bench.coco_set import SET, draw_set
from tools.bench.stopwatch import Run, apart, run_program
from tools.support.caffe_import import net_of
from tools.support.errors import UserError
from tools.support.paths import VENV

CONVERT = VENV / 'bin' / 'convert_imageset'
REPEAT = 3
WARM, TIMED = 3, 12  # batches; the first ones are not timed, as Caffe reads ahead


@dataclass(frozen=True)
class Case:
    """`count` pictures like those of a data set, padded for crops of `crop_size`."""

    like: str
    dataset: str
    size_wh: tuple[int, int]
    suffix: str
    count: int
    crop_size: int

    @property
    def pair_bytes(self) -> int:
        """Bytes of an image and its label: 4 channels."""
        return 4 * self.size_wh[0] * self.size_wh[1]


CASES = (
    Case('VOC', 'pascal_voc', (500, 375), '.jpg', 400, 500),
    Case('COCO', 'pascal_voc', (640, 480), '.jpg', 200, 628),
    Case('Cityscapes', 'cityscapes', (2048, 1024), '.png', 40, 628),
)
BATCH = 8
COCO_COUNT, COCO_CROP = 10_000, 500
STEP_STAGE, STEP_CROP = 'camvid-front', 628


def write_plain(path: Path, size: int) -> float:
    """Seconds until a plain file of `size` bytes is on the disk, written in pieces as large as our writer's transactions."""
    piece = os.urandom(min(BATCH_BYTES, size))
    begun = time.perf_counter()
    with path.open('wb') as file:
        for _ in range(max(1, size // len(piece))):
            file.write(piece)
            file.flush()
            os.fsync(file.fileno())
    seconds = time.perf_counter() - begun
    path.unlink()
    return seconds


def fastest(runs: list[Run]) -> Run:
    return min(runs, key=lambda run: run.seconds)


def measure(case: Case, work: Path, repeat: int) -> dict[str, Any]:
    """All figures of one case, by name; times are the fastest of `repeat`."""
    pictures = work / f'{case.like}_pictures'
    draw(pictures, case.count, case.size_wh, case.suffix, case.dataset)
    raw, png = work / 'raw', work / 'png'
    ways: dict[str, Callable[[], Run]] = {
        'convert_imageset': lambda: _convert(case, pictures, work),
        'same pixels': lambda: _ours(case, pictures, work / 'same', 0, 1, 'raw'),
        'padded raw': lambda: _ours(case, pictures, raw, MARGIN, case.crop_size, 'raw'),
        'padded png': lambda: _ours(case, pictures, png, MARGIN, case.crop_size, 'png'),
    }
    runs: dict[str, list[Run]] = {name: [] for name in ways}
    disk = []
    for _ in range(repeat):
        for name, way in ways.items():
            runs[name].append(way())
        disk.append(write_plain(work / 'plain', case.count * case.pair_bytes))
    sizes = {'padded raw': _size(raw), 'padded png': _size(png)}
    reads = {name: _read(case, path) for name, path in (('padded raw', raw), ('padded png', png))}
    return {'runs': {name: fastest(many) for name, many in runs.items()}, 'disk': min(disk), 'sizes': sizes, 'reads': reads}


def report(case: Case, found: dict) -> None:
    """Print the figures of one case."""
    width, height = case.size_wh
    base = found['runs']['convert_imageset'].seconds
    print(f'\n{case.count} pairs of {width}x{height} ({case.suffix[1:]} and png), like those of {case.like}')
    print(f'{"":24}{"pairs/s":>9}{"MB/s":>8}{"against":>9}{"cpu s":>8}{"peak MB":>9}{"LMDB MB":>9}{"batch of 8 read in":>20}')
    for name, run in found['runs'].items():
        size = found['sizes'].get(name, case.count * case.pair_bytes)
        read = f'{1e3 * found["reads"][name]:.0f} ms' if name in found['reads'] else ''
        written = size if name != 'padded png' else found['sizes']['padded raw']
        print(
            f'{name:24}{case.count / run.seconds:9.1f}{written / run.seconds / 1e6:8.0f}{base / run.seconds:8.2f}x'
            f'{run.cpu_seconds:8.1f}{run.peak_bytes / 1e6:9.0f}{size / 1e6:9.0f}{read:>20}'
        )
    print(f'{"plain file, synced":24}{"":9}{case.count * case.pair_bytes / found["disk"] / 1e6:8.0f}')


def _convert(case: Case, pictures: Path, work: Path) -> Run:
    names = [f'{number:06d}' for number in range(case.count)]
    images, labels = work / 'convert_images', work / 'convert_labels'
    for path in (images, labels):
        shutil.rmtree(path, ignore_errors=True)
    first = convert_imageset(pictures, [f'{name}{case.suffix}' for name in names], images)
    return first + convert_imageset(pictures, [f'{name}_label.png' for name in names], labels, '--gray')


def convert_imageset(folder: Path, names: list[str], out: Path, *options: str) -> Run:
    """Run convert_imageset on files of `folder`. Raises UserError if it left files out, which it does not report."""
    listing = out.with_suffix('.txt')
    listing.write_text(''.join(f'{name} 0\n' for name in names))
    found = run_program([CONVERT, *options, f'{folder}/', listing, out], {'GLOG_minloglevel': '2'})
    if len(stored_keys(out)) != len(names):
        raise UserError(f'{CONVERT.name} left files out: {out} has {len(stored_keys(out))} records of {len(names)}')
    return found


def _ours(case: Case, pictures: Path, out: Path, margin: int, crop_size: int, encoding: str) -> Run:
    """Run our writer; the seconds do not include the start of Python."""
    shutil.rmtree(out, ignore_errors=True)
    found, said = apart(write_pictures, str(pictures), str(out), case.suffix, case.dataset, margin, crop_size, encoding)
    if said['count'] != case.count:
        raise UserError(f'{out} has {said["count"]} records of {case.count}')
    return replace(found, seconds=said['seconds'], cpu_seconds=said['cpu_seconds'])


def write_pictures(
    pictures: str, out: str, suffix: str, dataset_name: str, margin_px: int, crop_size: int, encoding: str
) -> dict[str, float]:
    """Write the LMDB of a folder of drawn pictures; returns its seconds and its number of records."""
    folder = Path(pictures)
    names = [path.name.removesuffix('_label.png') for path in sorted(folder.glob('*_label.png'))]
    records = [Record(name, folder / f'{name}{suffix}', folder / f'{name}_label.png', dataset_name) for name in names]
    begun, begun_cpu = time.perf_counter(), time.process_time()
    manifest = write_lmdb(
        Path(out), records, dataset=dataset_name, split='train', crop_size=crop_size, margin_px=margin_px, encoding=encoding
    )
    seconds, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
    return {'seconds': seconds, 'cpu_seconds': cpu, 'count': manifest['count']}


def read_batches(lmdb: str, crop_size: int, batch: int) -> float:
    """Seconds that stock Caffe's Data layer takes for a batch of random mirrored crops."""
    spec = caffe.NetSpec()
    transform = dict(crop_size=crop_size, mirror=True, mean_value=[100, 100, 100, 0])
    spec.pair = L.Data(source=lmdb, backend=P.Data.LMDB, batch_size=batch, transform_param=transform)
    net = net_of(spec.to_proto(), 'train')
    for _ in range(WARM):
        net.forward()
    begun = time.perf_counter()
    for _ in range(TIMED):
        net.forward()
    return (time.perf_counter() - begun) / TIMED


def training_pass(stage: str, lmdb: str, crop_size: int) -> float:
    """Seconds of a forward and backward pass of a full-size stage on the CPU; the second of two."""
    net = net_of(training(stage, lmdb, crop_size, 1), 'train')
    for _ in range(2):
        begun = time.perf_counter()
        net.forward()
        net.backward()
    return time.perf_counter() - begun


def _read(case: Case, lmdb: Path) -> float:
    return apart(read_batches, str(lmdb), case.crop_size, BATCH)[1]


def _size(lmdb: Path) -> int:
    return (lmdb / 'data.mdb').stat().st_size


def _step(work: Path) -> None:
    """Print the time of one pass of the full-size front end, to compare reading with."""
    case = replace(CASES[1], like='CamVid', dataset='camvid', count=BATCH)
    draw(work / f'{case.like}_pictures', case.count, case.size_wh, case.suffix, case.dataset)
    _ours(case, work / f'{case.like}_pictures', work / 'step', MARGIN, STEP_CROP, 'raw')
    _, seconds = apart(training_pass, STEP_STAGE, str(work / 'step'), STEP_CROP)
    print(f'\n{STEP_STAGE}, crop {STEP_CROP}, CPU: {seconds:.1f} s per image, {BATCH * seconds:.0f} s per batch of {BATCH}')


def prepare_coco(work: str) -> dict[str, float]:
    """Prepare the set with the code of `make lmdb-voc-coco`; returns its seconds and its number of records."""
    begun, out = time.perf_counter(), Path(work) / 'prepared'
    records = find_coco(Path(work) / 'coco', [SET], out, 0, allow_partial=True)
    prepare(out, dataset('pascal_voc'), {SPLIT: records}, {SPLIT: [COCO_CROP]}, None, 1)
    return {'seconds': time.perf_counter() - begun, 'count': len(records)}


def compare_writers() -> dict:
    """Measure and print all cases, and a training pass to compare reading with. Takes 4.5 GB of disk."""
    results = {}
    with TemporaryDirectory() as folder:
        work = Path(folder)
        check_disk_space(work, max(8 * case.count * case.pair_bytes for case in CASES))
        print(f'{WORKERS} cores')
        for case in CASES:
            found = measure(case, work, REPEAT)
            report(case, found)
            results[case.like] = {name: case.count / way.seconds for name, way in found['runs'].items()}
        _step(work)
    return results


def write_coco() -> dict:
    """Measure the way of a set like COCO from its own layout to the LMDB: read, check, draw labels, read again, write."""
    with TemporaryDirectory() as folder:
        work = Path(folder)
        check_disk_space(work, 20 * 10**9)
        draw_set(work / 'coco', COCO_COUNT)
        found, said = apart(prepare_coco, str(work))
        size, seconds = _size(work / 'prepared' / f'{SPLIT}_{COCO_CROP}'), said['seconds']
    print(
        f'{said["count"]} pictures of 320x240 in the layout of COCO, crop {COCO_CROP}: {seconds:.0f} s '
        f'({said["count"] / seconds:.0f} pictures/s), {size / 1e9:.1f} GB, peak memory {found.peak_bytes / 1e6:.0f} MB '
        f'({found.cpu_seconds:.0f} s of processor time)'
    )
    return {'seconds': seconds, 'bytes': size, 'peak_bytes': found.peak_bytes}
