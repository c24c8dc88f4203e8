#!/usr/bin/env python3
"""Run part of a network once per image and keep the maps, to train and test the layers after it without running it again.

Writes an LMDB of float Datums: the channels of the blob, then the label of each cell, that of image pixel (8i, 8j). Images are
padded by reflecting 186 pixels. Maps before fc6 (conv5_3) reach 12 cells farther on each side than the scores do; their label is
255 there. With --features the layers run on maps that are stored already, rather than on images.
A run that was stopped goes on where it was; one that is done already does nothing.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
if __name__ == '__main__':
    from tools.support.bootstrap import use_project_python

    use_project_python()

from dataset_prep.datasets import dataset
from dataset_prep.feature_geometry import border_cells, with_border
from dataset_prep.feature_sources import ImageSource, MapSource
from dataset_prep.lmdb_writer import FeatureWriter, read_manifest
from dataset_prep.progress import progress
from dataset_prep.records import load_split
from prototxt.experiments import NETS
from prototxt.names import resolve
from prototxt.networks import deploy
from prototxt.shapes import MARGIN, STRIDE, TRUNK_END
from tools.inference.caffe_net import load_net
from tools.support.errors import UserError, run_command
from tools.support.gpus import gpu_number
from tools.support.hashing import file_sum
from tools.support.paths import DATA


def find_source(args: argparse.Namespace, net_name: str) -> ImageSource | MapSource:
    """Where the inputs come from. Raises UserError if they are of another data set than the network, or of another split."""
    facts = dataset(NETS[net_name].dataset)
    if args.features:
        maps = MapSource(args.features)
        _check_same(args.features, (maps.dataset, maps.split), (facts.name, args.split))
        return maps
    folder = args.data or DATA / facts.name
    records = load_split(folder, args.split)
    _check_same(folder, (records[0].dataset, args.split), (facts.name, args.split))
    return ImageSource(records, facts, mirror=args.mirror, seed=args.seed, input_hw=args.size_hw and tuple(args.size_hw))


def part_of_net(net_name: str, start: str, blob: str, input_hw: tuple[int, int]):
    """NetParameter of the layers from blob `start` to `blob`. Raises UserError if the network has no such maps after `start`."""
    row = NETS[net_name]
    blobs = [TRUNK_END, row.front_end.final]
    if blob not in blobs or blob == start:
        raise UserError(f'{net_name} can store maps of {" or ".join(name for name in blobs if name != start)}, not of {blob}')
    if start == row.front_end.final:
        raise UserError(f'the features given are {start}, which nothing of the front end comes after')
    net = deploy(net_name, start=start, size_hw=input_hw)
    last = max(place for place, layer in enumerate(net.layer) if blob in layer.top)
    del net.layer[last + 1 :]
    return net


def forward(net, start: str, blob: str, bottom: np.ndarray) -> np.ndarray:
    """Maps of `blob`, float32 (C, h, w), for one input (channels, H, W) of the net's size."""
    net.blobs[start].data[0] = bottom
    net.forward()
    return net.blobs[blob].data[0].copy()


def settings(args: argparse.Namespace, net_name: str, source: ImageSource | MapSource) -> dict:
    """What the manifest says beside sizes and counts; `weights_sha256` is that of the file given last."""
    facts = dataset(NETS[net_name].dataset)
    weights = [{'file': path.name, 'sha256': file_sum(path)} for path in args.weights]
    return {
        'dataset': facts.name, 'split': args.split, 'classes': facts.num_classes,
        'net': net_name, 'blob': args.blob, 'weights': weights, 'weights_sha256': weights[-1]['sha256'],
        'input_blob': source.start, 'input_hw': list(source.input_hw), 'margin_px': MARGIN,
        'stride': STRIDE, 'label_border_cells': border_cells(args.blob), **source.facts,
    }  # fmt: skip


def extract(args: argparse.Namespace, net_name: str) -> None:
    """Store the maps of every input that has none yet."""
    source = find_source(args, net_name)
    net_param = part_of_net(net_name, source.start, args.blob, source.input_hw)
    with FeatureWriter(args.out, source.ids, settings(args, net_name, source)) as writer:
        if not writer.missing():
            return
        net = load_net(net_param, args.weights, args.gpu)
        rows = source.rows(writer.done)
        for bottom, cells in progress(rows, args.blob, len(source.ids), done=writer.done):
            writer.add(forward(net, source.start, args.blob, bottom), with_border(cells, border_cells(args.blob)))


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The command's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--net', required=True, help='a network, such as front_camvid; the beginning of its name will do')
    parser.add_argument('--weights', type=Path, nargs='+', required=True, metavar='FILE', help='loaded in this order')
    parser.add_argument('--blob', required=True, help="conv5_3, or the front end's scores: final (VOC: fc-final)")
    parser.add_argument('--data', type=Path, metavar='DIR', help='folder written by dataset_prep (default: data/<dataset>)')
    parser.add_argument('--split', default='train', help='default: train')
    parser.add_argument('--features', type=Path, metavar='LMDB', help='start from these stored maps instead of the images')
    parser.add_argument('--out', type=Path, required=True, metavar='LMDB', help='folder to write')
    parser.add_argument('--mirror', action='store_true', help='store the maps of each mirrored image too')
    parser.add_argument('--seed', type=int, default=1, help='of the order of images (default: 1)')
    parser.add_argument('--size-hw', type=int, nargs=2, metavar=('H', 'W'), help='input size (default: what just covers all)')
    parser.add_argument('--gpu', type=gpu_number, metavar='N', help='compute on this GPU (default: CPU)')
    return parser.parse_args(argv)


def main(argv: list[str] | None) -> None:
    """Store maps, and say what was stored."""
    args = parse_args(argv)
    for path in args.weights:
        if not path.is_file():
            raise UserError(f'no weights at {path}')
    if args.features and (args.mirror or args.size_hw):
        raise UserError('--mirror and --size-hw are for images; stored maps come as they were stored')
    extract(args, resolve(args.net, NETS))
    manifest = read_manifest(args.out)
    height, width = manifest['min_side_hw']
    print(f'{args.out}: {manifest["count"]} x {manifest["channels"] - 1} maps of {args.blob}, {height}x{width}')


def _check_same(where: Path, found: tuple[str, str], wanted: tuple[str, str]) -> None:
    if found != wanted:
        raise UserError(f'{where} holds {" ".join(found)}, asked for is {" ".join(wanted)}')


if __name__ == '__main__':
    run_command(main)
