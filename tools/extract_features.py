#!/usr/bin/env python3
"""Run a part of a network once per image and store its maps, to train and test the later layers without running it again.

Writes an LMDB of float Datums: the channels of the blob, then the label of each cell, which is that of image pixel (8i, 8j). With
--label-stride 1, for a loss on upsampled scores, a cell has the labels of the 64 pixels from there. Images are padded by 186
reflected pixels. Maps before fc6 are larger than the scores on each side (conv5_3 by 12 cells, pool3 by 21); their label there
is 255. Images come from a folder of dataset_prep (--data, --split), from one of its lists (--list), or from an LMDB of images
(--lmdb). With --features the layers run on stored maps. --stage takes everything but the weights from the row of a stage, and
stores the maps where that stage looks for them, mirrored only for training. An LMDB of another split is never replaced.
If you stop the command, it goes on where it was; if the maps are complete, it does nothing. Images that cannot be used are left
out and named at the end, with status 1.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

import argparse

from dataset_prep.datasets import DATASETS, Dataset, dataset
from dataset_prep.feature_geometry import label_planes
from dataset_prep.feature_sources import ImageSource, LmdbSource, MapSource, Source
from dataset_prep.lmdb_store import FAULTS, LEFT_OUT
from dataset_prep.lmdb_writer import read_manifest
from dataset_prep.records import load_split
from pretrained.belonging import refuse_strange_files
from prototxt.experiments import NETS, STAGES
from prototxt.lmdb_names import lmdb_of, train_split
from prototxt.names import resolve
from prototxt.shapes import STRIDE
from tools.inference.extraction import store_maps
from tools.support.errors import Fault, UserError, end_with_faults, run_command
from tools.support.gpus import gpu_number
from tools.support.paths import DATA


def find_source(args: argparse.Namespace, net_name: str) -> Source:
    """The source of the inputs. Raises UserError if they belong to another data set or another split."""
    facts = dataset(NETS[net_name].dataset)
    options: dict = {
        'mirror': args.mirror, 'seed': args.seed, 'label_stride': args.label_stride,
        'input_hw': args.size_hw and tuple(args.size_hw),
        'tile_hw': NETS[net_name].input_size_hw if facts.name in DATASETS else None,  # own images may be far from as large
    }  # fmt: skip
    if args.features:
        return _checked(MapSource(args.features), args.features, facts, args.split)
    if args.lmdb:
        _check_same(args.lmdb, (read_manifest(args.lmdb)['dataset'],), (facts.name,))
        return _checked(LmdbSource(args.lmdb, facts, **options), args.lmdb, facts, args.split)
    folder, split = args.data or DATA / NETS[net_name].folder, args.split or facts.train
    if args.list:
        if args.list.suffix != '.json':
            raise UserError(f'--list {args.list}: give a list that dataset_prep wrote, a .json file')
        folder, split = args.list.parent, args.list.stem
        _check_same(args.list, (split,), (args.split or split,))
    records = load_split(folder, split)
    _check_same(folder, (records[0].dataset, split), (facts.name, split))
    return ImageSource(records, split, facts, **options)


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    """The options of the command, completed from --stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--stage', help='the stage that is to train on the maps: gives --net, --blob, --split, --mirror, --out ...'
    )
    parser.add_argument('--net', help='a network, such as front_camvid; you can shorten its name as long as it stays unique')
    parser.add_argument('--weights', type=Path, nargs='+', required=True, metavar='FILE', help='loaded in this order')
    parser.add_argument('--blob', help="pool3, conv4_3, conv5_3, or the front end's scores: final (VOC: fc-final)")
    source = parser.add_mutually_exclusive_group()
    source.add_argument('--data', type=Path, metavar='DIR', help='folder written by dataset_prep (default: data/<dataset>)')
    source.add_argument('--list', type=Path, metavar='FILE', help='one list of such a folder, as data/camvid/train.json')
    source.add_argument(
        '--lmdb', type=Path, metavar='LMDB', help='images from an LMDB; the files it was made from are not needed'
    )
    source.add_argument('--features', type=Path, metavar='LMDB', help='start from these stored maps instead of the images')
    parser.add_argument('--split', help="default: the data set's training split")
    parser.add_argument('--out', type=Path, metavar='LMDB', help='folder to write')
    parser.add_argument('--mirror', action='store_true', help='store the maps of each mirrored image too')
    parser.add_argument('--label-stride', type=int, choices=(1, STRIDE), help=f'pixels between labels (default: {STRIDE})')
    parser.add_argument('--seed', type=int, default=1, help='of the order of images (default: 1)')
    parser.add_argument(
        '--size-hw', type=int, nargs=2, metavar=('H', 'W'),
        help="input size (default: what just covers the images; for a published data set of several sizes the network's tile)",
    )  # fmt: skip
    parser.add_argument('--gpu', type=gpu_number, metavar='N', help='compute on this GPU (default: CPU)')
    return _complete(parser, parser.parse_args(argv))


def _complete(parser: argparse.ArgumentParser, args: argparse.Namespace) -> argparse.Namespace:
    """The options completed from the stage's row. Raises an error if the two contradict, or if something is missing."""
    if args.stage:
        row = STAGES[resolve(args.stage, STAGES, 'stage')]
        if row.start == 'data':
            parser.error(f'argument --stage: {args.stage} trains on images, not on maps')
        source = row.features_from
        maker = STAGES[source].net if source and source in STAGES else row.net
        args.split = args.split or (args.list.stem if args.list else train_split(row))
        folder = args.data or (args.list.parent if args.list else DATA / NETS[row.net].folder)
        said = {
            'net': maker, 'blob': row.start, 'out': folder / Path(lmdb_of(row, args.split)).name,
            'label_stride': row.stored_label_stride,
        }  # fmt: skip
        if args.features:
            del said['label_stride']
        for name, value in said.items():
            setattr(args, name, getattr(args, name) or value)
        args.mirror = args.mirror or (row.mirror and not args.features and args.split == train_split(row))
    for name in ('net', 'blob', 'out'):
        if not getattr(args, name):
            parser.error(f'--{name} is not given, nor --stage')
    if args.features and (args.mirror or args.size_hw or args.label_stride):
        parser.error('--mirror, --size-hw and --label-stride are for images; stored maps come as they were stored')
    args.label_stride = args.label_stride or STRIDE
    return args


def main(argv: list[str] | None) -> None:
    """Store the maps, and print what was stored."""
    args = parse_args(argv)
    for path in args.weights:
        if not path.is_file():
            raise UserError(f'no weights at {path}')
    net_name = resolve(args.net, NETS)
    for line in refuse_strange_files(net_name, args.weights):
        print(line, file=sys.stderr)
    store_maps(find_source(args, net_name), net_name, args.weights, args.blob, args.out, args.gpu)
    manifest = read_manifest(args.out)
    height, width = manifest['min_side_hw']
    maps = manifest['channels'] - label_planes(manifest)
    print(f'{args.out}: {manifest["count"]} x {maps} maps of {args.blob}, {height}x{width}')
    faults, total = [Fault(reason) for reason in manifest.get(FAULTS, {}).values()], manifest['count'] + manifest.get(LEFT_OUT, 0)
    end_with_faults(faults, total, 'images', 'the maps of the others are stored; mend these and run the same command again')


def _checked(source: Source, where: Path, facts: Dataset, split: str | None) -> Source:
    """The source, if data set and split are as asked."""
    _check_same(where, (source.dataset, source.split), (facts.name, split or source.split))
    return source


def _check_same(where: Path, found: tuple[str, ...], wanted: tuple[str, ...]) -> None:
    if found != wanted:
        raise UserError(f'{where} holds {" ".join(found)}, but you asked for {" ".join(wanted)}')


if __name__ == '__main__':
    run_command(main, after_stop='the same command goes on')
