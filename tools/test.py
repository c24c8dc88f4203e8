#!/usr/bin/env python3
"""Label a split of a data set with a trained network and score the result: IoU of each class and their mean.

--out gets <id>.png (class ids), settings.json, origin.json (which training made the weights, or whose file they are),
scores.json, and pictures/contact_sheet.png (image | truth | prediction | overlay). --overlay adds pictures/<id>.png, such a strip
for every image; --trimap adds pictures/trimap.png, the scores of pixels near boundaries. If the paper has a row of this network,
training and refinement, its numbers stand beside the scores of a whole split. Label maps made with the same settings are kept;
results of other settings are moved to <out>.1, <out>.2, ...
With --features, only the layers after the stored blob run.
With --crf, the dense CRF makes the label maps; the network's scores go to scores/ and its own label maps to plain/. The scores
with and without CRF stand side by side. If score maps of the same settings exist (--save-scores), the network does not run.
A split without ground truth, such as the benchmarks' test images, is labelled and not scored (then: tools/submit.py).
Images and labels that cannot be used are left out and named at the end. The others are labelled, nothing is scored, and the
status is 1.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

import argparse
from dataclasses import asdict
from pathlib import Path

from dataset_prep.records import load_split
from tools.crfs.dense_crf import load_parameters
from tools.inference import TILINGS
from tools.inference.label_maps import LabelMaps
from tools.inference.net_choice import add_net_arguments, network
from tools.inference.origin import ORIGIN
from tools.netinfo.fit import fit_tile, memory_size, warn_of_tile
from tools.report.evaluation import check_dataset, default_out, label, label_by_crf, prepare, say_lacking
from tools.report.split_scores import report
from tools.support.arguments import positive
from tools.support.atomic import locked, write_json
from tools.support.errors import Fault, UserError, attempt, end_with_faults, run_command
from tools.support.gpus import gpu_list
from tools.support.made_with import SETTINGS


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_net_arguments(parser)
    parser.add_argument(
        '--weights', action='extend', nargs='+', type=Path, metavar='FILE',
        help='caffemodels, loaded in this order (default: newest snapshot, else pretrained/<net>.caffemodel)',
    )  # fmt: skip
    parser.add_argument('--data', type=Path, metavar='DIR', help='folder written by dataset_prep (default: data/<dataset>)')
    parser.add_argument(
        '--split',
        help="default: that of --features; else the paper's: val of VOC and Cityscapes, else test; val where there is no test",
    )
    parser.add_argument(
        '--out', type=Path, metavar='DIR', help='results (default: out/{test,released}/<net>[-crf]/<split>[-first-N])'
    )
    parser.add_argument('--limit', type=positive, metavar='N', help='only the first N images of the split')
    parser.add_argument('--overlay', action='store_true', help='write a strip of pictures for every image')
    parser.add_argument('--trimap', action='store_true', help='also score the pixels within 1 to 40 pixels of a boundary')
    parser.add_argument('--tiling', choices=TILINGS, default='reference', help='size of the tiles (default: %(default)s)')
    parser.add_argument('--gpu', type=gpu_list, default=(), metavar='N', help='a GPU, or several as 0,1 or all (default: CPU)')
    parser.add_argument(
        '--jobs', type=positive, default=1, metavar='N', help='processes on this CPU (default: 1, which uses all cores)'
    )
    parser.add_argument('--scheduler', metavar='ADDRESS', help='address of a Dask cluster whose machines share these folders')
    parser.add_argument('--max-memory', type=memory_size, metavar='SIZE', help='such as 4G: take the largest tile that fits')
    parser.add_argument('--save-scores', type=Path, metavar='DIR', help='keep the score maps there, for tools/crf_search.py')
    parser.add_argument('--crf', type=Path, metavar='FILE', help='dense CRF parameters, by tools/crf_search.py')
    parser.add_argument('--features', type=Path, metavar='LMDB', help='stored maps of a blob, by tools/extract_features.py')
    return parser.parse_args(argv)


def main(argv: list[str] | None) -> None:
    args = parse_args(argv)
    net_name = network(args.net, args.dataset)
    if args.features and args.max_memory:
        raise UserError('--max-memory chooses the tile of images; maps of a blob are run whole: leave it out with --features')
    test = prepare(
        net_name, tiling=args.tiling, data=args.data, split=args.split, weights=args.weights,
        features=args.features, scores=args.save_scores, gpus=args.gpu,
    )  # fmt: skip
    out = args.out or default_out(test, bool(args.crf), args.limit)
    records = load_split(test.data, test.split)[: args.limit]
    check_dataset(records, test)
    has_truth = any(record.label for record in records)
    if has_truth:
        say_lacking(records)
    sizes = {size for record in records if not isinstance(size := attempt(lambda one: one.size_hw, record), Fault)}
    test.tile_hw = fit_tile(test.net_name, test.weights, sizes, args.max_memory, test.gpus[0] if test.gpus else None)
    warn_of_tile(test.net_name, test.weights, sizes, test.gpus, test.tile_hw)
    crf = load_parameters(args.crf) if args.crf else None
    settings = test.settings() | {'crf': crf and asdict(crf)}
    out.mkdir(parents=True, exist_ok=True)
    with locked(out / SETTINGS):  # another network's maps would be scored as this one's
        label_maps = LabelMaps(out, settings)
        write_json(out / ORIGIN, test.origin_said())
        if crf:
            faults = label_by_crf(test, records, label_maps, crf, args.jobs, args.scheduler)
        else:
            faults = label(test, records, label_maps, args.jobs, args.scheduler)
        if has_truth:
            report(test, records, label_maps, settings, faults, every=args.overlay, bands=args.trimap)
        else:
            end_with_faults(list(faults.values()), len(records), 'images', f'the others are labelled in {out}')
            print(f'{test.facts.name} {test.split} has no ground truth: {len(records)} images labelled, not scored')
    print(f'written to {out}')


if __name__ == '__main__':
    run_command(main, after_stop='the same command goes on')
