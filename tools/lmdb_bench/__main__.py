"""Write and read LMDBs of drawn pictures as large as the data sets' own, beside Caffe's convert_imageset and the disk.

For each size of picture, in turns: convert_imageset on the images and, as it knows no pairs, on the labels; our writer with the
same pixels (no margin, raw); our writer as for training (margin of 186, raw and png); and a plain file of as many bytes.
Then stock Caffe's Data layer reads batches of crops from the last two. Of several runs the fastest is shown; half a second in
which Python starts is not counted.
"""

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from dataset_prep.lmdb_store import BATCH_BYTES, check_disk_space
from dataset_prep.parallel import WORKERS
from dataset_prep.photographs import draw
from dataset_prep.voc_coco import SPLIT
from prototxt.shapes import MARGIN
from tools.lmdb_bench.children import Run, convert_imageset, python
from tools.support.errors import UserError, run_command


@dataclass(frozen=True)
class Case:
    """Pictures like those of a data set, how many, and the crop that they are padded for."""

    like: str
    dataset: str
    size_wh: tuple[int, int]
    suffix: str
    count: int
    crop_size: int

    @property
    def pair_bytes(self) -> int:
        """Bytes of an image and its label, 4 channels."""
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
    """Seconds that a plain file of `size` bytes takes until it is on the disk, in pieces of one of our writer's transactions."""
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


def measure(case: Case, work: Path, repeat: int) -> dict[str, object]:
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


def _ours(case: Case, pictures: Path, out: Path, margin: int, crop_size: int, encoding: str) -> Run:
    shutil.rmtree(out, ignore_errors=True)
    run = python(
        'tools.lmdb_bench.write', pictures, out, '--suffix', case.suffix, '--dataset', case.dataset,
        '--margin', margin, '--crop-size', crop_size, '--encoding', encoding,
    )  # fmt: skip
    said = json.loads(run.answer)
    if said['count'] != case.count:
        raise UserError(f'{out} has {said["count"]} records of {case.count}; give an empty --work')
    return replace(run, seconds=said['seconds'], cpu_seconds=said['cpu'], peak_bytes=said['peak'])


def _read(case: Case, lmdb: Path) -> float:
    run = python('tools.lmdb_bench.read', lmdb, '--crop-size', case.crop_size, '--batch', BATCH)
    return json.loads(run.answer)['seconds']


def _size(lmdb: Path) -> int:
    return (lmdb / 'data.mdb').stat().st_size


def _step(work: Path) -> None:
    """One pass of the full-size front end, to compare reading with."""
    case = replace(CASES[1], like='CamVid', dataset='camvid', count=BATCH)
    draw(work / f'{case.like}_pictures', case.count, case.size_wh, case.suffix, case.dataset)
    if not (work / 'step').exists():
        _ours(case, work / f'{case.like}_pictures', work / 'step', MARGIN, STEP_CROP, 'raw')
    run = python('tools.lmdb_bench.step', STEP_STAGE, work / 'step', '--crop-size', STEP_CROP)
    seconds = json.loads(run.answer)['seconds']
    print(f'\n{STEP_STAGE}, crop {STEP_CROP}, CPU: {seconds:.1f} s an image, {BATCH * seconds:.0f} s a batch of {BATCH}')


def _coco(work: Path) -> None:
    """A set like COCO, from the layout of its owners to the LMDB: read and checked, labels drawn, read again and written."""
    python('tools.lmdb_bench.coco', work, '--count', COCO_COUNT)
    run = python('tools.lmdb_bench.coco', work, '--count', COCO_COUNT, '--crop-size', COCO_CROP)
    said = json.loads(run.answer)
    size, seconds = _size(work / 'prepared' / f'{SPLIT}_{COCO_CROP}'), said['seconds']
    print(
        f'\n{said["count"]} pictures of 320x240 in the layout of COCO, crop {COCO_CROP}: {seconds:.0f} s '
        f'({said["count"] / seconds:.0f} pictures/s), {size / 1e9:.1f} GB, peak memory {run.peak_bytes / 1e6:.0f} MB '
        f'({run.cpu_seconds:.0f} s of processor time)'
    )


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog='.venv/bin/python -m tools.lmdb_bench', description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument('--work', type=Path, metavar='DIR', help='folder for pictures and LMDBs (default: a temporary one)')
    parser.add_argument('--repeat', type=int, default=3, metavar='N', help='runs of each, the fastest is shown (default: 3)')
    parser.add_argument('--scale', type=float, default=1.0, metavar='X', help='times as many pictures (default: 1)')
    parser.add_argument('--step', action='store_true', help='time a pass of the full-size front end too (a minute, 4.5 GB)')
    parser.add_argument('--coco', action='store_true', help=f'only this: prepare {COCO_COUNT:,} pictures laid out like COCO')
    return parser.parse_args(argv)


def main(argv: list[str] | None) -> None:
    """Measure all cases."""
    args = parse_args(argv)
    cases = [replace(case, count=max(BATCH, int(case.count * args.scale))) for case in CASES]
    with TemporaryDirectory() as temporary:
        work = args.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        if args.coco:
            check_disk_space(work, 20 * 10**9)
            return _coco(work)
        check_disk_space(work, max(8 * case.count * case.pair_bytes for case in cases))
        print(f'{WORKERS} cores')
        for case in cases:
            report(case, measure(case, work, args.repeat))
        if args.step:
            _step(work)


if __name__ == '__main__':
    run_command(main)
