#!/usr/bin/env python3
"""Label a split of a data set with a trained network and score the result: IoU of each class and their mean.

Writes to --out: <id>.png (class ids), settings.json, origin.json (which training made the weights, or whose file they are),
scores.json, and pictures/contact_sheet.png (image | truth | prediction | overlay); with --overlay, pictures/<id>.png, such a
strip for every image; with --trimap, pictures/trimap.png, the scores of pixels near boundaries. Where the paper has a row of
this network, training and refinement, its numbers stand beside the scores of a whole split. Label maps that are there
already, made with the same settings, are kept; results of other settings are moved to <out>.1, <out>.2, ...
With --features, the layers after the stored blob are run, not the whole network.
With --crf, the network's scores go to scores/ and its own label maps to plain/, and the dense CRF makes the label maps; their
scores stand beside those of the network alone. Of images whose score maps are there already (--save-scores), made with the same
settings, the network does not run.
A split without ground truth, as the benchmarks' test images, is labelled and not scored (then: tools/submit.py).
Images and labels that cannot be used are left out and named at the end; the others are labelled, nothing is scored, status 1.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tools.support.bootstrap import use_project_python

if __name__ == '__main__':
    use_project_python()

import argparse
import json
from dataclasses import asdict, dataclass
from functools import cached_property, partial

import numpy as np
from tqdm import tqdm

from dataset_prep.datasets import IGNORE_LABEL, Dataset, dataset
from dataset_prep.lmdb_writer import read_manifest
from dataset_prep.parallel import in_order
from dataset_prep.records import Record, load_split, read_image, read_label
from pretrained import caffemodel
from pretrained.weights import seen_in_training
from prototxt.experiments import NETS, Net
from prototxt.networks import deploy
from prototxt.shapes import TRUNK_ENDS
from tools import scoring
from tools.crfs.dense_crf import CrfParameters, load_parameters
from tools.crfs.refining import refine_records
from tools.inference import TILINGS
from tools.inference.label_maps import LabelMaps
from tools.inference.labelling import Job, cores, label_records
from tools.inference.networks import add_net_arguments, network
from tools.inference.origin import ORIGIN, RELEASED, Origin, check_maps_of_snapshot, origin_of, origin_of_all
from tools.inference.pictures import contact_sheet, panels, strip
from tools.inference.score_maps import prepare_folder, score_path
from tools.inference.spread import label_in_processes
from tools.inference.weights import find_weights, say_weights, warn_if_seen
from tools.netinfo.fit import fit_tile, memory_size
from tools.netinfo.free import warn_of_tile
from tools.report.paper_tables import PaperRow, paper_row
from tools.scoring import trimap
from tools.support.atomic import locked, whole_file
from tools.support.errors import Fault, UserError, attempt, end_with_faults, run_command
from tools.support.gpus import check_gpus, gpu_list
from tools.support.hashing import file_sum
from tools.support.made_with import SETTINGS
from tools.support.paths import DATA, ROOT
from tools.support.png import write_png

SCORES = 'scores.json'
PLAIN = 'plain'  # where --crf keeps the network's own label maps
SHEET_IMAGES = 8  # on the contact sheet, spread evenly over the split


@dataclass
class Evaluation:
    """What is tested: a network with its weights, on images or on the maps of a blob that `manifest` describes."""

    net_name: str
    facts: Dataset
    data: Path
    split: str
    weights: list[Path]
    tiling: str
    gpus: tuple[int, ...]
    features: Path | None
    manifest: dict | None
    tile_hw: tuple[int, int] | None = None  # in place of the network's own
    scores: Path | None = None  # where score maps are kept

    @cached_property
    def sums(self) -> tuple[str, ...]:
        """SHA-256 of each file of weights."""
        return tuple(file_sum(path) for path in self.weights)

    @cached_property
    def origin(self) -> Origin:
        """Which training, or whose file, the weights are."""
        return origin_of_all(self.weights)

    def origin_said(self) -> dict:
        """The same as plain JSON, with each file's own; by it `make tables` knows which row of the paper the scores are of."""
        files = [
            {'file': str(path), 'sha256': total, **asdict(origin_of(path))}
            for path, total in zip(self.weights, self.sums, strict=True)
        ]
        return {'kind': self.origin.kind, **asdict(self.origin), 'weights': files}

    def job(self) -> Job:
        """What the processes that label are told; paths are absolute, as they may be elsewhere."""
        weights, gpu = tuple(path.absolute() for path in self.weights), self.gpus[0] if self.gpus else None
        scores = self.scores and self.scores.absolute()
        if not self.features or not self.manifest:
            return Job(self.net_name, weights, self.tiling, self.tile_hw, gpu, scores=scores, weights_sha256=self.sums)
        blob, least_hw = self.manifest['blob'], tuple(self.manifest['min_side_hw'])
        maps = {'features': self.features.absolute(), 'blob': blob, 'blob_hw': least_hw}
        return Job(self.net_name, weights, gpu=gpu, scores=scores, weights_sha256=self.sums, **maps)

    def settings(self) -> dict:
        """What the label maps depend on, as plain JSON."""
        return {
            'net': self.net_name,
            'weights': [[path.name, total] for path, total in zip(self.weights, self.sums, strict=True)],
            'dataset': self.facts.name,
            'split': self.split,
            'split_sha256': file_sum(self.data / f'{self.split}.json'),
            'tiling': None if self.manifest else self.tiling,
            'tile_hw': self.tile_hw and list(self.tile_hw),
            'features': self.manifest,
            'crf': None,
        }


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
    parser.add_argument('--jobs', type=positive, default=1, metavar='N', help='processes on this CPU (default: 1, of all cores)')
    parser.add_argument('--scheduler', metavar='ADDRESS', help='of a Dask cluster whose machines share these folders')
    parser.add_argument('--max-memory', type=memory_size, metavar='SIZE', help='such as 4G: take the largest tile that fits')
    parser.add_argument('--save-scores', type=Path, metavar='DIR', help='keep the score maps there, for tools/crf_search.py')
    parser.add_argument('--crf', type=Path, metavar='FILE', help='dense CRF parameters, by tools/crf_search.py')
    parser.add_argument('--features', type=Path, metavar='LMDB', help='stored maps of a blob, by tools/extract_features.py')
    return parser.parse_args(argv)


def positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f'{number} is not positive')
    return number


def main(argv: list[str] | None) -> None:
    args = parse_args(argv)
    test = describe(args)
    out = args.out or default_out(test, bool(args.crf), args.limit)
    records = load_split(test.data, test.split)[: args.limit]
    check_dataset(records, test)
    has_truth = any(record.label for record in records)
    if has_truth:
        say_lacking(records)
    sizes = {size for record in records if not isinstance(size := attempt(size_of, record), Fault)}
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


def check_dataset(records: list[Record], test: Evaluation) -> None:
    """UserError if the images are of another data set than the network: scores would have the names of other classes."""
    found, net = records[0].dataset, test.net_name
    if found != test.facts.name:
        own = f'{net.partition("@")[0]}@{found}'
        raise UserError(f'{test.data} holds {found}, {net} is for {test.facts.name}; give --net {own}, or another --data')
    if dataset(found).classes != test.facts.classes:
        raise UserError(f'{test.data} has other classes than {DATA / found}, which {net} is for; give one of them a new name')


def report(
    test: Evaluation, records: list[Record], label_maps: LabelMaps, settings: dict, faults: dict[str, Fault],
    *, every: bool, bands: bool,
) -> None:  # fmt: skip
    """Score the maps, write and print the scores, draw the pictures. UserError if there are faults, or labels that have some."""
    out = label_maps.folder
    (matrix, *near), ignored = score(records, label_maps, test.facts, faults, bands=bands)
    plain = score_without_crf(test, records, out / PLAIN, bands=bands) if settings['crf'] else None
    paper, of_categories = rows_beside(test, len(records), crf=settings['crf'] is not None)
    scores = scoring.summary(test.facts.classes, matrix, test.facts.category_ids())
    scores |= {'images': len(records), 'ignored_pixels': ignored}
    if plain is not None:
        measured = scoring.summary(test.facts.classes, plain[0])
        scores['without_crf'] = {name: measured[name] for name in ('mean_iou', 'class_iou', *scoring.OTHER_MEASURES)}
    curves = {}
    if bands:
        curves[''] = scores['trimap'] = trimap.curve(np.array(near))
        if plain is not None:
            curves[' without CRF'] = scores['without_crf']['trimap'] = trimap.curve(plain[1:])
    suffix = suffix_beside(out / SCORES, len(records))
    said = paper and {'table': paper.table, 'row': paper.name, 'mean_iou': paper.mean_iou, 'class_iou': paper.class_iou}
    scores |= {'paper': said, 'origin': test.origin_said(), 'settings': settings}
    write_json(out / SCORES.replace('.', f'{suffix}.'), scores)
    draw(records, label_maps, test.facts, out / f'pictures{suffix}', every)
    print(f'{test.net_name}, {test.facts.name} {test.split}: {len(records)} images, {matrix.sum()} pixels, {ignored} ignored')
    print(scoring.table(test.facts.classes, matrix, paper, None if plain is None else plain[0]))
    if 'category_iou' in scores:
        print(scoring.category_table(scores, of_categories))
    print(scoring.other_measures(scores))
    if bands:
        title = f'{test.net_name}, {test.facts.name} {test.split}'
        trimap.draw(curves, title, out / f'pictures{suffix}' / 'trimap.png')
        print(*(trimap.line(found, name) for name, found in curves.items()), sep='\n')


def score_without_crf(test: Evaluation, records: list[Record], folder: Path, *, bands: bool) -> np.ndarray | None:
    """What `score` counts of the network's own label maps; None if some lack, of an earlier version's test."""
    plain = LabelMaps(folder, test.settings())
    whole = all(plain.path(record.id).is_file() for record in records)
    return score(records, plain, test.facts, {}, bands=bands)[0] if whole else None


def rows_beside(test: Evaluation, images: int, *, crf: bool) -> tuple[PaperRow | None, PaperRow | None]:
    """The paper's rows of what is tested, by class and by category; none beside a part of a split, or images of the training."""
    seen = seen_in_training([path.name for path in test.weights], test.facts.name, test.split)
    if seen or images < test.facts.splits.get(test.split, 0):
        return None, None
    tested = test.net_name, test.split, test.origin.stage, test.origin.row
    return paper_row(*tested, crf=crf), paper_row(*tested, crf=crf, by_category=True)


def suffix_beside(path: Path, images: int) -> str:
    """What to add to the names of results lest those of a few images replace those of more; nothing where there are none."""
    try:
        more = path.is_file() and json.loads(path.read_text())['images'] > images
    except (ValueError, KeyError, TypeError):
        return ''  # damaged
    if more:
        print(f'{path} has more images and is kept; the scores go to a file beside it', file=sys.stderr)
    return first(images) if more else ''


def first(images: int) -> str:
    """The end of a name of results of a split's first images."""
    return f'-first-{images}'


def size_of(record: Record) -> tuple[int, int]:
    """Height and width of an image."""
    return record.size_hw


def say_lacking(records: list[Record]) -> None:
    """Name on stderr the images that there is no label for, which is better known before they are labelled.

    UserError if there is none for any.
    """
    lacking = [record for record in records if record.label is None or not record.label.is_file()]
    for record in lacking:
        print(f'warning: no label of {record.id} at {record.label}; nothing will be scored without', file=sys.stderr)
    if len(lacking) == len(records):
        raise UserError('no label is there; give a --split that has labels, or label images by tools/predict.py')


def describe(args: argparse.Namespace) -> Evaluation:
    """The test that the command line asks for; UserError if something it needs is not there."""
    net_name = network(args.net, args.dataset)
    facts = dataset(NETS[net_name].dataset)
    if args.features and args.max_memory:
        raise UserError('--max-memory chooses the tile of images; maps of a blob are run whole: leave it out with --features')
    data = args.data or DATA / NETS[net_name].folder
    split = split_of(args, net_name, data)
    manifest = features_manifest(args.features, NETS[net_name], split) if args.features else None
    start = manifest['blob'] if manifest else 'data'
    weights = find_weights(net_name, start, args.weights)
    say_weights(weights)
    caffemodel.check(deploy(net_name, start=start), weights)  # before results of other weights are moved aside
    warn_if_seen(weights, facts.name, split)
    if manifest:
        check_maps_of_snapshot(weights, args.features, manifest)
    gpus = check_gpus(args.gpu)
    return Evaluation(net_name, facts, data, split, weights, args.tiling, gpus, args.features, manifest, scores=args.save_scores)


def default_out(test: Evaluation, with_crf: bool, limit: int | None) -> Path:
    """The authors' weights and ours lie beside each other, so do without and with the dense CRF, a whole split and its start."""
    released = test.origin.kind == RELEASED
    name = test.net_name + ('-crf' if with_crf else '')
    return ROOT / 'out' / ('released' if released else 'test') / name / (test.split + (first(limit) if limit else ''))


def split_of(args: argparse.Namespace, net_name: str, data: Path) -> str:
    """The split asked for, else the one that stored maps are of, or that the paper's tables are on.

    Where there is no test split it is val, which is said on stderr.
    """
    if args.split:
        return args.split
    split = dataset(NETS[net_name].dataset).test
    if args.features:
        stored = read_manifest(args.features).get('split', split)
        if stored != split:
            print(f'split: {stored}, which {args.features} holds maps of', file=sys.stderr)
        return stored
    if split == 'test' and not (data / 'test.json').is_file() and (data / 'val.json').is_file():
        print(f'split: val, as {data} has no test split', file=sys.stderr)
        return 'val'
    return split


def features_manifest(path: Path, net: Net, split: str) -> dict:
    """Manifest of an LMDB of maps; UserError if they are not maps of `split` that layers of `net` take."""
    manifest = read_manifest(path)
    if manifest['kind'] != 'features':
        raise UserError(f'{path} holds {manifest["kind"]}, not maps of a blob; make them by tools/extract_features.py')
    if (manifest['dataset'], manifest['split']) != (net.dataset, split):
        raise UserError(f'{path} holds {manifest["dataset"]} {manifest["split"]}, asked for is {net.dataset} {split}')
    blobs = (*TRUNK_ENDS, net.front_end.final)
    if manifest['blob'] not in blobs:
        raise UserError(f'{path} holds maps of {manifest["blob"]}; this network goes on from {" or ".join(blobs)}')
    return manifest


def label(test: Evaluation, records: list[Record], label_maps: LabelMaps, jobs: int, scheduler: str | None) -> dict[str, Fault]:
    """Make the label maps that are not there yet; by id, the faults of images that cannot be labelled."""
    if test.scores:
        prepare_folder(test.scores, test.settings())
        for record in records:
            if not score_path(test.scores, record.id).exists():
                label_maps.path(record.id).unlink(missing_ok=True)  # both come from one run of the network
    pending = [record for record in records if not label_maps.path(record.id).exists()]
    if not pending:
        return {}
    if scheduler or jobs > 1 or len(test.gpus) > 1:
        jobs = len(test.gpus) or min(jobs, cores())
        return label_in_processes(test.job(), pending, label_maps.folder.absolute(), jobs, test.gpus, scheduler)
    return label_records(test.job(), pending, label_maps.folder)


def label_by_crf(
    test: Evaluation, records: list[Record], label_maps: LabelMaps, crf: CrfParameters, jobs: int, scheduler: str | None
) -> dict[str, Fault]:
    """Make the label maps that are not there yet by the dense CRF, from score maps; the network makes those that are missing.

    By id, the faults of images that cannot be labelled.
    """
    pending = [record for record in records if not label_maps.path(record.id).exists()]
    if not pending:
        return {}
    test.scores = test.scores or label_maps.folder / 'scores'
    prepare_folder(test.scores, test.settings())
    unscored = [record for record in pending if not score_path(test.scores, record.id).exists()]
    plain = LabelMaps(label_maps.folder / PLAIN, test.settings())
    faults = label(test, unscored, plain, jobs, scheduler) if unscored else {}
    scored = [record for record in pending if record.id not in faults]
    return faults | refine_records(test.scores, scored, crf, label_maps.folder, plain.folder)


def score(
    records: list[Record], label_maps: LabelMaps, facts: Dataset, faults: dict[str, Fault], *, bands: bool = False
) -> tuple[np.ndarray, int]:
    """Confusion matrix over all records, int64 (1, classes, classes), and the number of pixels that do not count.

    With `bands`, the matrices of the bands along boundaries (tools.scoring.trimap) follow it.
    UserError that names all `faults`, those of images without a map, and those of labels and maps: part of a split has no score.
    """

    def count(record: Record) -> tuple[np.ndarray, int]:
        truth, prediction = read_label(record), label_maps.read(record.id)
        try:
            whole = scoring.confusion(truth, prediction, facts.num_classes)[np.newaxis]
        except ValueError as error:
            raise UserError(f'{label_maps.path(record.id)} against {record.label}: {error}') from error
        if not bands:
            return whole, truth.size
        near = trimap.confusions(truth, prediction, facts.num_classes, IGNORE_LABEL, void_rims=facts.void_rims)
        return np.concatenate([whole, near]), truth.size

    shape = 1 + bands * len(trimap.WIDTHS), facts.num_classes, facts.num_classes
    total, pixels, found = np.zeros(shape, np.int64), 0, list(faults.values())
    mapped = [record for record in records if record.id not in faults]
    counts = in_order(partial(attempt, count), mapped)
    for counted in tqdm(counts, total=len(mapped), unit='image', desc='scoring', disable=None):
        if isinstance(counted, Fault):
            found.append(counted)
        else:
            total += counted[0]
            pixels += counted[1]
    end_with_faults(found, len(records), 'images', f'the others are labelled in {label_maps.folder}; nothing is scored')
    return total, pixels - int(total[0].sum())


def write_json(path: Path, content: dict) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + '\n')


def draw(records: list[Record], label_maps: LabelMaps, facts: Dataset, out: Path, every: bool) -> None:
    """The contact sheet, and with `every` a strip for each image, in the folder `out`."""
    chosen = np.unique(np.linspace(0, len(records) - 1, SHEET_IMAGES).round().astype(int))
    rows = [(records[i].id, pictures_of(records[i], label_maps, facts)) for i in chosen]
    write_png(out / 'contact_sheet.png', contact_sheet(rows, facts))
    if every:
        for record in tqdm(records, unit='image', desc='drawing', disable=None):
            write_png(out / f'{record.id}.png', strip(record.id, pictures_of(record, label_maps, facts)))


def pictures_of(record: Record, label_maps: LabelMaps, facts: Dataset) -> list[np.ndarray]:
    """image | truth | prediction | overlay."""
    return panels(read_image(record), read_label(record), label_maps.read(record.id), facts)


if __name__ == '__main__':
    run_command(main, after_stop='the same command goes on')
