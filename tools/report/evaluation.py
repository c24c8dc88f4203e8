"""A network with its weights on a split, as tools/test.py evaluates it. Labels the images, by the network or by the dense CRF."""

import sys
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from dataset_prep.datasets import Dataset, dataset
from dataset_prep.lmdb_writer import read_manifest
from dataset_prep.records import Record
from pretrained import caffemodel
from prototxt.experiments import NETS, Net
from prototxt.networks import deploy
from prototxt.shapes import TRUNK_ENDS
from tools.crfs.dense_crf import CrfParameters
from tools.crfs.refining import refine_records
from tools.inference.label_maps import LabelMaps
from tools.inference.labelling import Job, cores, label_records
from tools.inference.origin import RELEASED, Origin, check_maps_of_snapshot, origin_of, origin_of_all
from tools.inference.score_maps import prepare_folder, score_path
from tools.inference.spread import label_in_processes
from tools.inference.weights_choice import find_weights, say_weights, warn_if_seen
from tools.support.cpu_engine import OWN, engine_in_use
from tools.support.errors import Fault, UserError
from tools.support.gpus import check_gpus
from tools.support.hashing import file_sum
from tools.support.paths import DATA, ROOT

PLAIN = 'plain'  # folder with the network's own label maps, when the dense CRF makes the results


@dataclass
class Evaluation:
    """A network with its weights and a split: images, or the maps of a blob that `manifest` describes."""

    net_name: str
    facts: Dataset
    data: Path
    split: str
    weights: list[Path]
    tiling: str
    gpus: tuple[int, ...]
    features: Path | None
    manifest: dict | None
    tile_hw: tuple[int, int] | None = None  # replaces the tile of the network
    scores: Path | None = None  # where score maps are kept

    @cached_property
    def sums(self) -> tuple[str, ...]:
        """SHA-256 of each weight file."""
        return tuple(file_sum(path) for path in self.weights)

    @cached_property
    def origin(self) -> Origin:
        """Which stage trained the weights, or whose file they are."""
        return origin_of_all(self.weights)

    def origin_said(self) -> dict:
        """`origin` as plain JSON, with the origin of each file. `make tables` finds the row of the paper by it."""
        files = [
            {'file': str(path), 'sha256': total, **asdict(origin_of(path))}
            for path, total in zip(self.weights, self.sums, strict=True)
        ]
        return {'kind': self.origin.kind, **asdict(self.origin), 'weights': files}

    def job(self) -> Job:
        """The job of the labelling processes. Paths are absolute, because a process may have another working folder."""
        weights, gpu = tuple(path.absolute() for path in self.weights), self.gpus[0] if self.gpus else None
        scores = self.scores and self.scores.absolute()
        if not self.features or not self.manifest:
            return Job(self.net_name, weights, self.tiling, self.tile_hw, gpu, scores=scores, weights_sha256=self.sums)
        blob, least_hw = self.manifest['blob'], tuple(self.manifest['min_side_hw'])
        maps = {'features': self.features.absolute(), 'blob': blob, 'blob_hw': least_hw}
        return Job(self.net_name, weights, gpu=gpu, scores=scores, weights_sha256=self.sums, **maps)

    def settings(self) -> dict:
        """Everything that the label maps depend on, as plain JSON."""
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
            'engine': OWN if self.gpus else engine_in_use(),
        }


def prepare(
    net_name: str, *, tiling: str, data: Path | None = None, split: str | None = None, weights: list[Path] | None = None,
    features: Path | None = None, scores: Path | None = None, gpus: tuple[int, ...] | str = (),
) -> Evaluation:  # fmt: skip
    """The evaluation of a network. Arguments that are None are chosen: the folder of the data set, the split, the newest weights.

    Raises UserError if a file is missing, if weights, maps and network do not fit together, or if Caffe cannot use a GPU.
    """
    facts = dataset(NETS[net_name].dataset)
    data = data or DATA / NETS[net_name].folder
    split = split or default_split(net_name, data, features)
    manifest = features_manifest(features, NETS[net_name], split) if features else None
    start = manifest['blob'] if manifest else 'data'
    weights = find_weights(net_name, start, weights)
    say_weights(weights)
    caffemodel.check(deploy(net_name, start=start), weights)  # before results of other weights are moved aside
    warn_if_seen(weights, facts.name, split)
    if manifest and features:
        check_maps_of_snapshot(weights, features, manifest)
    found = check_gpus(gpus)  # last, as it starts a process of Caffe
    return Evaluation(net_name, facts, data, split, weights, tiling, found, features, manifest, scores=scores)


def default_split(net_name: str, data: Path, features: Path | None) -> str:
    """The split of the stored maps, else the split of the paper's tables; val, said on stderr, if there is no test split."""
    split = dataset(NETS[net_name].dataset).test
    if features:
        stored = read_manifest(features).get('split', split)
        if stored != split:
            print(f'split: {stored}, which {features} holds maps of', file=sys.stderr)
        return stored
    if split == 'test' and not (data / 'test.json').is_file() and (data / 'val.json').is_file():
        print(f'split: val, as {data} has no test split', file=sys.stderr)
        return 'val'
    return split


def features_manifest(path: Path, net: Net, split: str) -> dict:
    """Manifest of an LMDB of maps. Raises UserError if `net` does not take these maps, or if they are of another split."""
    manifest = read_manifest(path)
    if manifest['kind'] != 'features':
        raise UserError(f'{path} holds {manifest["kind"]}, not maps of a blob; make them with tools/extract_features.py')
    if (manifest['dataset'], manifest['split']) != (net.dataset, split):
        raise UserError(f'{path} holds {manifest["dataset"]} {manifest["split"]}, but you asked for {net.dataset} {split}')
    blobs = (*TRUNK_ENDS, net.front_end.final)
    if manifest['blob'] not in blobs:
        raise UserError(f'{path} holds maps of {manifest["blob"]}; this network goes on from {" or ".join(blobs)}')
    return manifest


def default_out(test: Evaluation, with_crf: bool, limit: int | None) -> Path:
    """out/{test,released}/<net>[-crf]/<split>[-first-N]: one folder for each kind of result."""
    released = test.origin.kind == RELEASED
    name = test.net_name + ('-crf' if with_crf else '')
    return ROOT / 'out' / ('released' if released else 'test') / name / (test.split + (first(limit) if limit else ''))


def first(images: int) -> str:
    """The end of the name of a folder or file about the first images of a split."""
    return f'-first-{images}'


def check_dataset(records: list[Record], test: Evaluation) -> None:
    """Raise UserError if the images belong to another data set than the network: the classes would not match."""
    found, net = records[0].dataset, test.net_name
    if found != test.facts.name:
        own = f'{net.partition("@")[0]}@{found}'
        raise UserError(f'{test.data} holds {found}, {net} is for {test.facts.name}; give --net {own}, or another --data')
    if dataset(found).classes != test.facts.classes:
        raise UserError(f'{test.data} has other classes than {DATA / found}, which {net} is for; give one of them a new name')


def say_lacking(records: list[Record]) -> None:
    """Warn on stderr of images without a label file, before hours of labelling. Raises UserError if no image has one."""
    lacking = [record for record in records if record.label is None or not record.label.is_file()]
    for record in lacking:
        print(f'warning: no label of {record.id} at {record.label}; nothing will be scored without', file=sys.stderr)
    if len(lacking) == len(records):
        raise UserError('no image has a label; give a --split that has labels, or label the images with tools/predict.py')


def label(test: Evaluation, records: list[Record], label_maps: LabelMaps, jobs: int, scheduler: str | None) -> dict[str, Fault]:
    """Make the missing label maps; returns by id the faults of images that cannot be labelled."""
    if test.scores:
        prepare_folder(test.scores, test.settings())
        for record in records:
            if not score_path(test.scores, record.id).exists():
                label_maps.path(record.id).unlink(missing_ok=True)  # score map and label map come from one pass of the network
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
    """Make the missing label maps by the dense CRF from score maps; the network makes missing score maps.

    Returns by id the faults of images that cannot be labelled.
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
