#!/usr/bin/env python3
"""Label images and videos with a trained network.

For each image, --out gets <stem>.png (one channel, class ids) and <stem>_color.png (the classes in the data set's colours).
For each video it gets <stem>_color.mp4, every frame in these colours; one that is stopped leaves <stem>_color-first-N.mp4.
Images are read as 8-bit colour: grey becomes three equal channels, transparency is left out, 16-bit values are divided by 256.
They are turned as their orientation tag (EXIF) says, and so are the results. With --keep a run that was stopped goes on.
An image that cannot be read is left out; all such are named at the end, and the exit status is 1.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

import argparse
from collections.abc import Iterator
from functools import partial

import cv2
import numpy as np
from tqdm import tqdm

from dataset_prep.datasets import dataset
from dataset_prep.image_files import IMAGE_SUFFIXES, seen_size
from prototxt.experiments import NETS
from tools.inference import TILINGS, Predictor, colorize
from tools.inference.networks import HELP, network
from tools.inference.video import first_frame, is_video, label_video
from tools.inference.weights import find_weights, say_weights
from tools.netinfo.fit import fit_tile, memory_size
from tools.netinfo.free import warn_of_tile
from tools.support.errors import Fault, UserError, attempt, end_with_faults, run_command
from tools.support.gpus import gpu_number
from tools.support.png import write_png


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('images', nargs='+', type=Path, metavar='IMAGE', help='an image, a folder of images, or a video')
    parser.add_argument('--net', required=True, help=HELP)
    parser.add_argument('--dataset', metavar='NAME', help='of the network, where --net fits those of several: --net dilation8')
    parser.add_argument(
        '--weights', action='append', type=Path, metavar='FILE',
        help='a caffemodel; of several, --weights A --weights B (default: newest snapshot, else pretrained/<net>.caffemodel)',
    )  # fmt: skip
    parser.add_argument('--out', required=True, type=Path, metavar='DIR', help='folder for the results')
    parser.add_argument('--keep', action='store_true', help='leave out files whose results are in --out already')
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
    """Label the images; the faults of those that cannot be read."""
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


def find_images(arguments: list[Path]) -> list[Path]:
    """The files named, and the images in the folders named; UserError for a folder without any, and for weights among them."""
    images: list[Path] = []
    for argument in arguments:
        images.extend(images_in(argument) if argument.is_dir() else [argument])
    for image in images:
        if image.suffix == '.caffemodel':  # tools/test.py takes several after one option, which here are images
            raise UserError(f'{image} is no image; of several files of weights, each takes its own --weights')
    return images


def check_file(path: Path) -> None:
    """Raise UserError for an image or a video that cannot be read."""
    if is_video(path):
        first_frame(path)
    else:
        check_image(path)


def check_image(image: Path) -> None:
    """Raise UserError for what is missing, may not be read, or is no image."""
    try:
        with image.open('rb') as file:  # by number: a name that is no UTF-8 ends the program in OpenCV
            known = cv2.haveImageReader(f'/proc/self/fd/{file.fileno()}')
    except FileNotFoundError as error:
        raise UserError(f'no image at {image}') from error
    except OSError as error:
        raise UserError(f'{image} cannot be read ({error.strerror})') from error
    if not known:
        raise UserError(f'{image} is not an image that OpenCV reads')


def images_in(folder: Path) -> list[Path]:
    """Files in `folder` with an image's suffix, by name, without hidden ones (macOS's ._NAME); UserError if there are none."""
    images = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != '.')
    if not images:
        raise UserError(f'no images in folder {folder}; looked for {" ".join(sorted(IMAGE_SUFFIXES))}')
    return images


def results(image: Path, out: Path) -> tuple[Path, ...]:
    """Where the label map and its coloured picture go; of a video, the coloured video."""
    if is_video(image):
        return (out / f'{image.stem}_color.mp4',)
    return out / f'{image.stem}.png', out / f'{image.stem}_color.png'


def without_results(images: list[Path], out: Path) -> list[Path]:
    """The images that are still to be labelled; how many are not is said on stderr."""
    rest = [image for image in images if not all(path.is_file() for path in results(image, out))]
    print(f'{len(images) - len(rest)} of {len(images)} images have their results in {out}', file=sys.stderr)
    return rest


def check_results(images: list[Path], out: Path) -> None:
    """UserError if two images would write the same file, or one would overwrite an image that is to be read, or another's map."""
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


def read_image(path: Path) -> np.ndarray:
    """uint8 (H, W, 3) BGR, turned as its orientation tag says; UserError if the file is damaged, or too large."""
    try:
        content = path.read_bytes()
        image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    except OSError as error:
        raise UserError(f'{path} cannot be read ({error.strerror})') from error
    except cv2.error as error:
        raise UserError(f'{path} cannot be read ({error.err}); cut it into smaller images, or get the file anew') from error
    if image is None or cut_off_jpeg(content):
        raise UserError(f'{path} is damaged or cut off; get the file anew')
    return image


def size_of(path: Path) -> tuple[int, int]:
    """Height and width that read_image will give, from the file's head; of a video, those of its first frame."""
    if is_video(path):
        height, width, _ = first_frame(path).shape
        return height, width
    width, height = seen_size(path)
    return height, width


def sizes_of(images: list[Path]) -> Iterator[tuple[int, int]]:
    """Heights and widths of those images whose files' heads can be read."""
    return (size for image in images if not isinstance(size := attempt(size_of, image), Fault))


def cut_off_jpeg(content: bytes) -> bool:
    """Whether a JPEG lacks its end marker, in whose place some versions of OpenCV put grey. Bytes behind it do not matter.

    The segments before the first scan are passed over: a thumbnail among them has an end marker of its own.
    """
    if not content.startswith(b'\xff\xd8'):
        return False
    place = 2
    while content[place : place + 1] == b'\xff' and content[place : place + 2] != b'\xff\xda':
        filling = content[place + 1 : place + 2] == b'\xff'
        place += 1 if filling else 2 + int.from_bytes(content[place + 2 : place + 4], 'big')
    return content.find(b'\xff\xd9', place) < 0


if __name__ == '__main__':
    run_command(main, after_stop='with --keep the same command goes on')
