"""`make bench`: time and memory of the toolkit, compared with the authors' procedure, other engines and other programs.

Parts:
  blas     products in Caffe's BLAS and in other libraries; forward passes in Caffe's engines and in others
  step     a training step of camvid-front in Caffe's engines and in PyTorch
  zoom     label maps from cells, and the authors' numba loop
  scoring  label maps of Cityscapes' size, and its own evaluator
  cold     one 500x375 image through Dilation8-VOC, from the start of the program to the label map
  stream   20 such images
  large    one 2048x1024 image through Dilation10
  im2col   this build of Caffe and the build as released
  lmdb     writing and reading
  coco     10,000 pictures to an LMDB
  memory   the estimate and the measured peak
  crf      dense CRF and CRF-RNN
Weights and images are random, as time does not depend on them. Nothing passes or fails. Run it while nothing else runs. It first
installs what the chosen parts compare with: the Caffe as released for cold, large (both unless --no-authors) and im2col; PyTorch
for blas, step, cold and large (unless --no-torch).
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from dataset_prep.datasets import dataset
from prototxt.experiments import NETS
from prototxt.networks import deploy, write
from tools.bench import builds, crf_speed, engine_comparison, lmdb_speed, material, memory_estimates
from tools.bench.stopwatch import Run, best_of, run
from tools.caffe_build import extra_packages
from tools.inference import argmax
from tools.inference.predictor import zoom_factor
from tools.inference.tiling import tile_size
from tools.support.atomic import write_json
from tools.support.errors import UserError, run_command
from tools.support.memory_use import available_bytes
from tools.support.paths import PROTOTXT, ROOT, VENV

HERE, OUT = Path(__file__).parent, ROOT / 'out' / 'bench'
AS_RELEASED = VENV / 'as-released'
VOC, CITY = 'dilation8_pascal_voc', 'dilation10_cityscapes'
NEEDED_BYTES = {VOC: 9 << 30, CITY: 20 << 30}  # by the authors' procedure on the Caffe as released
TILINGS = ('reference', 'tight')
ZOOMS = 9  # calls; the fastest counts


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('parts', nargs='*', metavar='PART', help=f'one of {", ".join(PARTS)} (default: all)')
    parser.add_argument('--images', type=int, default=20, help='images of stream (default: %(default)s)')
    parser.add_argument('--maps', type=int, default=500, help='label maps of scoring (default: %(default)s)')
    parser.add_argument('--image', type=Path, metavar='FILE', help='a photograph for crf (default: a drawn image)')
    parser.add_argument('--cases', nargs='+', default=(), metavar='CASE', help='cases of memory (default: all)')
    parser.add_argument('--no-authors', action='store_true', help="leave the authors' procedure out")
    parser.add_argument('--no-torch', action='store_true', help='leave PyTorch out')
    return parser.parse_args(argv)


def main(argv: list[str] | None) -> None:
    args = parse_args(argv)
    unknown = set(args.parts) - PARTS.keys()
    if unknown:
        raise UserError(f'no part {min(unknown)}; there are: {", ".join(PARTS)}')
    prepare(args.parts or PARTS, *needs(args))
    found = OUT / 'bench.json'
    results = json.loads(found.read_text()) if found.exists() else {}
    for part in args.parts or PARTS:
        results[part] = PARTS[part].measure(args)
        write_json(found, results)
        print(flush=True)


def needs(args: argparse.Namespace) -> tuple[list[str], bool]:
    """Packages that the chosen parts need, and whether one of them needs the Caffe as released."""
    parts = [PARTS[name] for name in args.parts or PARTS]
    packages = {package for part in parts for package in part.packages if not (args.no_torch and package == 'torch')}
    as_released = any(part.as_released or (part.authors and not args.no_authors) for part in parts)
    return sorted(packages), as_released


def prepare(parts: Iterable[str], packages: list[str], as_released: bool) -> None:
    """Install what the parts need; prints it first."""
    found = [*packages, *(['the Caffe as released (minutes to compile, the first time)'] if as_released else [])]
    print(f'{", ".join(parts)}: needs {", ".join(found) or "nothing else"}', file=sys.stderr, flush=True)
    for extra in ('bench', 'crf'):
        extra_packages.install(extra, packages)
    command, asked = [sys.executable, '-m', 'tools.caffe_build'], {'IM2COL': 'as-released', 'CUDA': '0', 'CAFFE_ROOT': ''}
    if as_released and subprocess.run(command, env=os.environ | asked, cwd=ROOT).returncode:
        raise UserError('the Caffe as released was not built (above); correct that, or give --no-authors')


def cold(args: argparse.Namespace) -> dict:
    """One image, from the start of the program."""
    return one_image(args, VOC, (375, 500), TILINGS)


def large(args: argparse.Namespace) -> dict:
    """One image of Cityscapes' size. The network's tile is tight for it, so there is one tiling."""
    return one_image(args, CITY, (1024, 2048), ('reference',))


def one_image(args: argparse.Namespace, net_name: str, size_hw: tuple[int, int], tilings: tuple[str, ...]) -> dict:
    """One image through whole programs."""
    weights = material.random_caffemodel(net_name, OUT / f'{net_name}.caffemodel')
    [image] = material.images(OUT / net_name, 1, *size_hw)
    weights.read_bytes()  # into the system's cache, so that no program waits for the disk
    rows: dict[str, Run] = {}
    if not args.no_authors:
        rows['authors, Caffe as released'] = authors(net_name, weights, [image])
    for tiling in tilings:
        rows[f'predict.py, {tiling}'] = run(
            ['tools/predict.py', '--net', net_name, '--weights', weights, '--tiling', tiling, '--out', OUT / 'labels', image]
        )
    if not args.no_torch:
        prototxt = PROTOTXT / net_name / 'deploy.prototxt'
        rows['PyTorch, two passes alone'] = run([HERE / 'forward_pass.py', 'pytorch', prototxt, weights, 2])
    print(f'{net_name}, one image of {size_hw[1]}x{size_hw[0]}, from the start of the program to its end')
    print_rows(rows)
    if not args.no_torch:
        print(
            'PyTorch, passes over one tile of the network: '
            + ', '.join(f'{seconds:.1f} s' for seconds in json.loads(rows.popitem()[1].lines[-1])['seconds'])
        )
    return {name: {'s': row.seconds, 'cpu_s': row.cpu_seconds, 'peak_bytes': row.peak_bytes} for name, row in rows.items()}


def authors(net_name: str, weights: Path, images: list[Path]) -> Run:
    """The authors' procedure. Raises UserError if there is not enough memory for it."""
    if available_bytes() < NEEDED_BYTES[net_name]:
        raise UserError(
            f"the authors' procedure on {net_name} takes {NEEDED_BYTES[net_name] / 1e9:.0f} GB of memory, "
            f'{available_bytes() / 1e9:.1f} GB are free; close something, or give --no-authors'
        )
    mean, prototxt = dataset(NETS[net_name].dataset).mean_bgr, PROTOTXT / net_name / 'deploy.prototxt'
    (OUT / 'authors').mkdir(parents=True, exist_ok=True)
    command = [HERE / 'authors.py', prototxt, weights, zoom_factor(net_name), *mean, OUT / 'authors', *images]
    return run(command, {'PYTHONPATH': str(AS_RELEASED / 'python')})


def print_rows(rows: dict[str, Run]) -> None:
    """Print seconds and memory of each row, and their ratios to the first row."""
    first = next(iter(rows.values()))
    print(f'  {"":<28} {"seconds":>8} {"processor":>10} {"memory":>9}   ratios to the first row')
    for name, row in rows.items():
        parts = [row.seconds / first.seconds, row.cpu_seconds / first.cpu_seconds, row.peak_bytes / first.peak_bytes]
        compared = '' if row is first else '   ' + ' '.join(f'{part:.2f}' for part in parts)
        print(f'  {name:<28} {row.seconds:8.1f} {row.cpu_seconds:10.1f} {row.peak_bytes / 1e9:6.2f} GB{compared}')


def stream(args: argparse.Namespace) -> dict:
    """Many images: the whole command, compared with passes of the network alone."""
    weights = material.random_caffemodel(VOC, OUT / f'{VOC}.caffemodel')
    folder = OUT / f'stream{args.images}'
    paths = material.images(folder, args.images, 375, 500)
    data, results = material.split(folder, 'pascal_voc', paths), {}
    print(f'{VOC}, {args.images} images of 500x375: tools/test.py as a whole, against passes of the network alone')
    for tiling in TILINGS:
        prototxt = OUT / f'{VOC}_{tiling}.prototxt'
        write(deploy(VOC, size_hw=tile_size(tiling, (375, 500), NETS[VOC].input_size_hw)), prototxt)
        passes = json.loads(run([HERE / 'forward_pass.py', 'caffe', prototxt, weights, 4]).lines[-1])['seconds']
        forward = float(np.median(passes[1:]))
        for path in (OUT / 'stream' / tiling).glob('*.png'):
            path.unlink()
        command = ['tools/test.py', '--net', VOC, '--weights', weights, '--data', data, '--split', 'test', '--tiling', tiling]
        whole = run([*command, '--out', OUT / 'stream' / tiling])
        ratio = whole.seconds / (args.images * forward)
        print(
            f'  {tiling:<10} {whole.seconds:6.1f} s, {whole.seconds / args.images:.2f} s per image; one pass {forward:.2f} s: '
            f'{ratio:.2f} of {args.images} passes; {whole.peak_bytes / 1e9:.2f} GB'
        )
        results[tiling] = {'s': whole.seconds, 'pass_s': forward, 'ratio': ratio, 'peak_bytes': whole.peak_bytes}
    return results


def zoom(args: argparse.Namespace) -> dict:
    """Label maps from cells, compared with the authors' loop. Raises UserError if a pixel differs."""
    from tools.bench.authors import labels_of

    results = {}
    print('labels from class probabilities, against the numba loop and NumPy argmax of the authors')
    for classes, size_hw in ((21, (375, 500)), (11, (480, 640)), (19, (1024, 2048))):
        for name, smooth in (('regions', 3.0), ('noise', 0.0)):
            prob = material.probabilities(classes, (size_hw[0] // 8 + 2, size_hw[1] // 8 + 2), smooth)
            slow, theirs = best_of(partial(labels_of, prob, 8, size_hw[1], size_hw[0]), ZOOMS)
            fast, ours = best_of(partial(argmax, prob, size_hw, 8), ZOOMS)
            if (theirs != ours).any():
                raise UserError(f'{(theirs != ours).sum()} pixels differ')
            title = f'{classes} classes, {size_hw[1]}x{size_hw[0]}, {name}'
            print(f'  {title:<36} {1e3 * slow:6.1f} ms, ours {1e3 * fast:5.1f} ms: {slow / fast:4.1f} times as fast, same labels')
            results[title] = {'authors_s': slow, 'ours_s': fast, 'times': slow / fast}
    return results


def scoring(args: argparse.Namespace) -> dict:
    """tools/score.py and cityscapesScripts on the same label maps."""
    predictions, truths = material.city_maps(OUT / 'maps', args.maps)
    folders = ['--pred', predictions, '--gt', truths]
    ours = run(['tools/score.py', '--dataset', 'cityscapes', *folders, '--json', OUT / 'ours.json'])
    theirs = run([HERE / 'evaluator.py', predictions, truths, OUT / 'theirs.json'])
    same = json.loads((OUT / 'ours.json').read_text())['mean_iou'] == json.loads((OUT / 'theirs.json').read_text())
    print(f'{args.maps} label maps of 2048x1024; the means are {"the same in every bit" if same else "DIFFERENT"}')
    times, cpu_times = theirs.seconds / ours.seconds, theirs.cpu_seconds / ours.cpu_seconds
    print(
        f'  cityscapesScripts {theirs.seconds:.1f} s ({theirs.cpu_seconds:.1f} s of processor time), tools/score.py '
        f'{ours.seconds:.1f} s ({ours.cpu_seconds:.1f} s): {times:.1f} times as fast ({cpu_times:.1f} by processor time)'
    )
    return {'cityscapesscripts_s': theirs.seconds, 'ours_s': ours.seconds, 'times': times, 'cpu_times': cpu_times, 'same': same}


def blas(args: argparse.Namespace) -> dict:
    """Products and forward passes."""
    return engine_comparison.compare(OUT, torch=not args.no_torch)


def step(args: argparse.Namespace) -> dict:
    """A training step."""
    return engine_comparison.compare_step(OUT, torch=not args.no_torch)


class Part(NamedTuple):
    """A measurement, and what it compares with."""

    measure: Callable[[argparse.Namespace], dict]
    packages: tuple[str, ...] = ()  # of the extras `bench` and `crf`
    authors: bool = False  # the authors' procedure, on the Caffe as released
    as_released: bool = False  # the Caffe as released itself


PARTS = {
    'blas': Part(blas, ('torch', 'onnxruntime', 'mkl')),
    'step': Part(step, ('torch',)),
    'zoom': Part(zoom),
    'scoring': Part(scoring, ('cityscapesscripts',)),
    'cold': Part(cold, ('torch',), authors=True),
    'stream': Part(stream),
    'large': Part(large, ('torch',), authors=True),
    'im2col': Part(lambda args: builds.compare(), as_released=True),
    'lmdb': Part(lambda args: lmdb_speed.compare_writers()),
    'coco': Part(lambda args: lmdb_speed.write_coco()),
    'memory': Part(lambda args: memory_estimates.compare(args.cases)),
    'crf': Part(lambda args: crf_speed.compare(args.image), ('pydensecrf2',)),
}

if __name__ == '__main__':
    run_command(main)
