#!/usr/bin/env python3
"""Label images and videos with a trained network.

For each image, --out gets <stem>.png (one channel of class ids) and <stem>_color.png (the colours of the data set). For each
video it gets <stem>_color.mp4 with every frame in these colours; if you stop it, <stem>_color-first-N.mp4.
Images are read as 8-bit colour: grey becomes three equal channels, transparency is dropped, 16-bit values are divided by 256.
Images are turned by their orientation tag (EXIF), and so are the results. With --keep a stopped run goes on. Images that
cannot be read are left out and named at the end; the exit status is then 1.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

import argparse
from functools import partial

from tqdm import tqdm

from dataset_prep.datasets import dataset
from prototxt.experiments import NETS
from tools.inference import TILINGS, Predictor, colorize
from tools.inference.input_images import check_image, find_images, read_image, sizes_of
from tools.inference.net_choice import add_net_arguments, network
from tools.inference.video import first_frame, is_video, label_video
from tools.inference.weights_choice import add_weights_argument, find_weights, say_weights
from tools.netinfo.fit import fit_tile, memory_size, warn_of_tile
from tools.support.errors import Fault, UserError, attempt, end_with_faults, run_command
from tools.support.gpus import gpu_number
from tools.support.png import write_png


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('images', nargs='+', type=Path, metavar='IMAGE', help='an image, a folder of images, or a video')
    add_net_arguments(parser)
    add_weights_argument(parser)
    parser.add_argument('--out', required=True, type=Path, metavar='DIR', help='folder for the results')
    parser.add_argument('--keep', action='store_true', help='skip files whose results are already in --out')
    parser.add_argument('--tiling', choices=TILINGS, default='reference', help='size of the tiles (default: %(default)s)')
    parser.add_argument('--gpu', type=gpu_number, metavar='N', help='compute on GPU number N (default: on the CPU)')
    parser.add_argument('--max-memory', type=memory_size, metavar='SIZE', help='such as 4G: take the largest tile that fits')
    return parser.parse_args(argv)


def main(argv: list[str] | None) -> None:
    args = parse_args(argv)
    net_name = network(args.net, args.dataset)
    images = find_images(args.images)
    check_results(images, args.out)
    total = len(images)
    if args.keep:
        images = without_results(images, args.out)
    faults = {image: found for image in images if isinstance(found := attempt(check_file, image), Fault)}
    if sound := [image for image in images if image not in faults]:
        faults |= label(args, net_name, sound)
    rest = f'the others are labelled in {args.out}' if len(faults) < total else 'nothing was labelled'
    end_with_faults(list(faults.values()), total, 'files' if any(map(is_video, images)) else 'images', rest)


def label(args: argparse.Namespace, net_name: str, images: list[Path]) -> dict[Path, Fault]:
    """Label the images; returns the faults of images that cannot be read."""
    weights = find_weights(net_name, 'data', args.weights)
    say_weights(weights)
    tile_hw = fit_tile(net_name, weights, sizes_of(images), args.max_memory, args.gpu)
    warn_of_tile(net_name, weights, sizes_of(images), () if args.gpu is None else (args.gpu,), tile_hw)
    predictor = Predictor(net_name, weights, tile_hw, args.gpu, args.tiling)
    facts, faults = dataset(NETS[net_name].dataset), {}
    for image in tqdm(images, unit='image', disable=None):
        if is_video(image):
            (colours,) = results(image, args.out)
            made = attempt(partial(label_video, predictor, facts=facts, out=colours), image)
            if isinstance(made, Fault):
                faults[image] = made
            else:
                tqdm.write(str(colours), file=sys.stdout)
            continue
        pixels = attempt(read_image, image)
        if isinstance(pixels, Fault):
            faults[image] = pixels
            continue
        label_map = predictor.label_map(pixels)
        labels, colours = results(image, args.out)
        write_png(colours, colorize(label_map, facts))
        write_png(labels, label_map)  # last: a map without its colours is none of ours
        tqdm.write(str(labels), file=sys.stdout)
    return faults


def check_file(path: Path) -> None:
    """Raise UserError for an image or a video that cannot be read."""
    if is_video(path):
        first_frame(path)
    else:
        check_image(path)


def results(image: Path, out: Path) -> tuple[Path, ...]:
    """Paths of the label map and its coloured picture, or of the coloured video."""
    if is_video(image):
        return (out / f'{image.stem}_color.mp4',)
    return out / f'{image.stem}.png', out / f'{image.stem}_color.png'


def without_results(images: list[Path], out: Path) -> list[Path]:
    """The images that are still to be labelled; the number of the others is printed on stderr."""
    rest = [image for image in images if not all(path.is_file() for path in results(image, out))]
    print(f'{len(images) - len(rest)} of {len(images)} images have their results in {out}', file=sys.stderr)
    return rest


def check_results(images: list[Path], out: Path) -> None:
    """Raise UserError if two images would write the same file, or a result would overwrite an input or another result."""
    read = {image.resolve() for image in images}
    writer: dict[Path, Path] = {}
    for image in images:
        for path in results(image, out):
            if path.resolve() in read:
                raise UserError(f'{path}, a result of {image}, would overwrite an image to be labelled; choose another --out')
            if path in writer:
                raise UserError(f'{writer[path]} and {image} would both write {path}; label them into different folders')
            writer[path] = image
        labels, *colours = results(image, out)
        if colours and labels.exists() and not colours[0].exists():
            raise UserError(
                f'{labels} is there without {colours[0].name}, so no earlier run wrote it, and would be overwritten; '
                'choose another --out, or move it away'
            )


if __name__ == '__main__':
    run_command(main, after_stop='with --keep the same command goes on')
