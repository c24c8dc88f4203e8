#!/usr/bin/env python3
"""Score any label maps: IoU of each class and their mean, by the rules of the data set's benchmark.

--pred and --gt are folders, searched with their subfolders, of PNGs with one channel of class ids (of a palette PNG the index).
A ground-truth file and its prediction have the same name. CamVid's <id>_L.png belongs to <id>.png. Cityscapes'
<id>_gtFine_labelIds.png belongs to <id>*.png with label ids; with --dataset cityscapes_train_ids it and
<id>_gtFine_labelTrainIds.png belong to <id>*.png with ids 0 to 18. The <id>_color.png of tools/predict.py is skipped.
Pixels whose truth is void do not count: 255, and for Cityscapes the ids that its evaluator leaves out. A class in neither truth
nor predictions has no score and does not enter the mean.
--trimap also scores the pixels near boundaries, in bands of 1 to 40 pixels, and draws both curves.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

import argparse
import json

import numpy as np
from tqdm import tqdm

from dataset_prep.datasets import own_names
from dataset_prep.lists import read_ids
from dataset_prep.records import load_split
from tools.scoring import trimap
from tools.scoring.benchmarks import BENCHMARKS, OWN_ENCODINGS, benchmark
from tools.scoring.folders import find_pairs, other_numbering, score_pairs
from tools.scoring.score_tables import summary, summary_table
from tools.support.atomic import write_json
from tools.support.errors import Fault, UserError, end_with_faults, run_command
from tools.support.made_with import SETTINGS


def parse_args(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        '--dataset', required=True, choices=[*BENCHMARKS, *own_names()], help="data set whose rules apply; your own follow VOC's"
    )
    parser.add_argument('--pred', required=True, type=Path, metavar='DIR', help='folder of predicted label maps')
    parser.add_argument('--gt', required=True, type=Path, metavar='DIR', help='folder of ground truth')
    parser.add_argument('--gt-encoding', default='ids', metavar='NAME', help=f'how ground truth names classes: {encodings()}')
    parser.add_argument(
        '--list',
        type=Path,
        metavar='FILE',
        help="ids to score, one a line, as VOC's ImageSets/Segmentation/val.txt; or a split, data/NAME/val.json (default: all)",
    )
    parser.add_argument('--json', type=Path, metavar='FILE', help='write the scores there too, as fractions')
    parser.add_argument(
        '--trimap', type=Path, metavar='PNG', help='draw the scores of pixels near boundaries there; --json has the numbers'
    )
    return parser.parse_args(argv)


def encodings() -> str:
    """The choices of --gt-encoding by data set."""
    several = {name: row.encodings for name, row in BENCHMARKS.items() if len(row.encodings) > 1} | {'your own': OWN_ENCODINGS}
    return '; '.join(f'{", ".join(choices)} for {name}' for name, choices in several.items()) + ' (default: %(default)s)'


def main(argv: list[str] | None) -> None:
    args = parse_args(argv)
    rules = benchmark(args.dataset)
    if args.gt_encoding not in rules.encodings:
        raise UserError(f'--gt-encoding {args.gt_encoding}: {args.dataset} has {", ".join(rules.encodings)}')
    check_dataset(args.pred, rules.dataset)
    pairs = find_pairs(rules, args.pred, args.gt, listed(args.list) if args.list else None)
    scores = score(args.dataset, pairs, args.gt_encoding, bands=bool(args.trimap)) | {'images': len(pairs)}
    if args.trimap:
        trimap.draw({'': scores['trimap']}, f'{args.dataset}, {len(pairs)} images', args.trimap)
    if args.json:
        write_json(args.json, scores)
    if said := other_numbering(rules, np.array(scores['confusion'])):
        print(f'warning: {said}', file=sys.stderr)
    print(f'{args.dataset}: {len(pairs)} images, {scores["pixels"]} pixels')
    print(summary_table(scores))
    if args.trimap:
        print(trimap.line(scores['trimap']))


def listed(path: Path) -> list[str]:
    """The ids in a list, or in a split file of dataset_prep."""
    return [record.id for record in load_split(path.parent, path.stem)] if path.suffix == '.json' else read_ids(path)


def check_dataset(folder: Path, dataset: str) -> None:
    """Raise UserError if the settings.json of tools/test.py says that the label maps belong to another data set."""
    try:
        made_for = json.loads((folder / SETTINGS).read_text())['dataset']
    except (OSError, ValueError, KeyError, TypeError):
        return
    if made_for != dataset:
        raise UserError(f'{folder} holds label maps of {made_for}, whose classes differ from those of {dataset}')


def score(name: str, pairs: list, encoding: str, *, bands: bool = False) -> dict:
    """Scores over all pairs, as in tools.scoring.summary; with `bands` also `trimap`, the scores near boundaries.

    Raises UserError with all pairs that cannot be scored.
    """
    rules = benchmark(name)
    matrices, faults = np.zeros((1 + bands * len(trimap.WIDTHS), rules.ids, rules.ids), np.int64), []
    parts = score_pairs(rules, pairs, encoding, bands=bands)
    for part in tqdm(parts, total=len(pairs), unit='image', desc='scoring', disable=None):
        if isinstance(part, Fault):
            faults.append(part)
        else:
            matrices += part
    end_with_faults(faults, len(pairs), 'images', 'nothing is scored')
    scores = summary(rules.classes, matrices[0], rules.categories)
    return scores | {'trimap': trimap.curve(matrices[1:], list(rules.classes.values()))} if bands else scores


if __name__ == '__main__':
    run_command(main)
