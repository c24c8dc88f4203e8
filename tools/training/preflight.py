"""The checks before Caffe starts: everything that would make Caffe abort."""

import shutil
from contextlib import suppress
from itertools import islice
from math import prod
from pathlib import Path

import lmdb
import numpy as np

from dataset_prep.datasets import DATASETS, IGNORE_LABEL, how_to_prepare
from dataset_prep.lmdb_store import LEFT_OUT, check_current, opened, read_sizes, stored_ids
from dataset_prep.lmdb_writer import iterate, read_manifest
from pretrained import caffemodel
from pretrained.belonging import refuse_strange_files
from pretrained.weights import WEIGHTS
from prototxt.experiments import NETS, NIGHT, RECIPE, STAGES, VGG_CONVOLUTIONS, FrontEnd, Stage
from prototxt.front_end import start_channels
from prototxt.lmdb_names import train_split, whole_images_of
from prototxt.names import make_train
from prototxt.shapes import MARGIN, STRIDE, check_crop_size, param_shapes, pixels_of
from tools.support.errors import UserError
from tools.support.hashing import file_sum
from tools.training.initial import fresh_layers
from tools.training.run_folder import newest_snapshot
from tools.training.settings import RANDOM_FC, Settings
from tools.training.snapshots import snapshots
from tools.training.storing import how_to_store
from tools.training.training_bar import say

_SAMPLED = 4  # Datums whose labels are checked; their order is shuffled
_MAPS_MADE_BY = {RECIPE: 'make camvid-cpu DATA=FOLDER', NIGHT: 'make camvid-night DATA=FOLDER'}
_TWO_MOMENTA = ('Adam', 'AdaDelta')  # Caffe's solvers that keep two floats per weight; the others keep one


def check_lmdb(settings: Settings) -> dict:
    """The manifest of the stage's LMDB. Raises UserError if it does not fit the stage or Caffe cannot open it."""
    path, stage = settings.lmdb, settings.stage
    if not (path / 'data.mdb').is_file():
        raise UserError(f'no LMDB at {path}; run: {_how_to_make(settings)}')
    manifest = read_manifest(path)
    check_current(path, manifest, f'run: {_how_to_make(settings)}')
    images = stage.start == 'data'
    _expect(settings, manifest, 'kind', 'images' if images else 'features')
    _expect(settings, manifest, 'dataset', settings.dataset.name)
    _expect(settings, manifest, 'split', train_split(stage))
    _expect(settings, manifest, 'classes', settings.dataset.num_classes)
    check = _check_images if images else _check_features
    check(settings, manifest)
    _expect(settings, manifest, 'channels', _channels(settings))
    _check_opens(path)
    if stage.beside_images:
        _check_images_are_those_of_maps(settings, manifest)
    _check_labels(settings)
    if left_out := manifest.get(LEFT_OUT):
        say(f'{path} lacks {left_out} of {left_out + manifest["count"]} images, which could not be used when it was written')
    return manifest


def check_features_source(settings: Settings, manifest: dict) -> None:
    """Raise UserError if other weights made the stored maps than those that the stage names, if those exist."""
    source = settings.stage.features_from
    if source is None or not (weights := _source_weights(settings, source)).is_file():
        return
    if manifest.get('weights_sha256') != file_sum(weights):
        raise UserError(f'{settings.lmdb} was not made with {weights}; run: {_how_to_make(settings)}')


def check_weights(settings: Settings, net, paths: list[Path]) -> None:
    """Raise UserError unless each learnable layer is fresh or has weights of the right shape in one of `paths`."""
    held = {layer for path in paths for layer, blobs in caffemodel.stored(path).items() if blobs}
    wanted = [layer for layer in RANDOM_FC if layer in param_shapes(net) and layer not in settings.stage.fresh]
    lacking = [layer for layer in wanted if layer not in held]
    if paths and lacking and not settings.options.random_fc:
        made = [name for name in settings.stage.init if name in WEIGHTS] or ['vgg16']
        raise UserError(
            f'{", ".join(map(str, paths))}: no {" and ".join(lacking)}; put VGG_ILSVRC_16_layers.caffemodel into pretrained/ '
            f'(make weights-VGG_ILSVRC_16_layers) and run make weights-{made[0]}, or start them from random values: '
            'RANDOM_FC=1 with make (--random-fc)'
        )
    if settings.options.random_fc and lacking != list(RANDOM_FC):
        raise UserError(f'--random-fc: {" and ".join(RANDOM_FC)} already have starting values here; leave the option out')
    try:
        caffemodel.check(net, paths, fresh_layers(settings), dropped=settings.fresh)
    except UserError as error:
        raise UserError(f'{error}{_anew(settings, net, paths)}') from error
    for line in refuse_strange_files(settings.stage.net, paths):
        if settings.weights:
            say(line)


def _anew(settings: Settings, net, paths: list[Path]) -> str:
    """The end of a message: how to train another number of classes, if only layers that depend on it do not fit."""
    held = {name for path in paths for name in caffemodel.stored(path)}
    needed = param_shapes(net).keys() - held - set(fresh_layers(settings)) - caffemodel.bilinear(net)
    needed |= {name for path in paths for name in caffemodel.misshapen(net, path)} - set(settings.fresh)
    if not paths or not needed or needed & {*VGG_CONVOLUTIONS, *RANDOM_FC}:
        return ''
    names = ','.join(name for name in param_shapes(net) if name in needed)
    return f'; to train another number of classes, start these layers anew: FRESH={names} with make (--fresh {names})'


def check_restart(settings: Settings) -> None:
    """Raise UserError if the weights to start from lie in the folder that --restart moves aside."""
    for path in settings.weights or ():
        if settings.options.restart and path.is_relative_to(settings.run_dir):
            raise UserError(f'{path} is in the run that --restart moves aside; give a copy of it, or another --run-dir')


def check_disk(settings: Settings, net) -> None:
    """Raise UserError if the disk has no room for the kept snapshots and one more."""
    weights = sum(prod(shape) for shapes in param_shapes(net).values() for shape in shapes)
    floats = 1 + (2 if settings.stage.solver in _TWO_MOMENTA else 1)  # in the caffemodel, in the solverstate
    replaced = [] if settings.options.restart else snapshots(settings.run_dir)  # a run that is moved aside keeps its own
    there = sum(path.stat().st_size for snapshot in replaced for path in snapshot.files())
    count = settings.options.keep + 1
    needed = count * weights * floats * 4 - there
    free = shutil.disk_usage(settings.run_dir).free
    if needed > free:
        raise UserError(
            f'{settings.run_dir}: {count} snapshots need {needed / 1e9:.1f} GB more, {free / 1e9:.1f} GB are free; '
            'make room, or give a smaller --keep or another --run-dir'
        )


def _source_weights(settings: Settings, source: str) -> Path:
    """The file that `source`, a stage or a weights row, stands for now; for a stage that was not run, its folder's name."""
    if source not in STAGES:
        return WEIGHTS[source].path
    run_dir = settings.run_of(source)
    return newest_snapshot(run_dir) if snapshots(run_dir) else run_dir


def _check_images(settings: Settings, manifest: dict) -> None:
    """Check crop size and margin of an LMDB of images."""
    crop_size = check_crop_size(settings.stage.crop_size or 0)
    _expect(settings, manifest, 'margin_px', MARGIN)
    smallest = min(manifest['min_side_hw'])
    if smallest < crop_size:
        command = how_to_prepare(settings.dataset.name, settings.stage.split).removeprefix('run: ')
        command = f'{command} CROP_SIZE={crop_size}, with the options as before'
        raise UserError(
            f'{settings.lmdb}: its smallest image side has {smallest} pixels, but crop_size is {crop_size}; '
            f'give a smaller --crop-size, or run: {command}'
        )


def _check_features(settings: Settings, manifest: dict) -> None:
    """Check blob, labels and mirror images of an LMDB of maps."""
    _expect(settings, manifest, 'blob', settings.stage.start)
    _expect(settings, manifest, 'label_stride', settings.stage.stored_label_stride)
    _expect(settings, manifest, 'mirror', settings.stage.mirror)


def check_images_beside(settings: Settings) -> Path:
    """The LMDB of the images that CRF-RNN reads beside stored maps. Raises UserError unless they have one size that fits."""
    path = settings.lmdb.with_name(whole_images_of(train_split(settings.stage)))
    if not (path / 'data.mdb').is_file():
        raise UserError(f'no LMDB at {path}, from which CRF-RNN reads images without a margin; {_how_to_make_whole(settings)}')
    sizes = read_sizes(path)
    first = next(iter(sizes.values()), (STRIDE, STRIDE))
    for name, (height, width) in sizes.items():
        if (height, width) != first or height % STRIDE or width % STRIDE:
            raise UserError(
                f'{path}: {name} has {height}x{width} pixels; CRF-RNN on stored maps takes images of one size, both sides '
                f'multiples of {STRIDE}: prepare the data set with SIZE=WxH'
            )
    return path


def _check_images_are_those_of_maps(settings: Settings, manifest: dict) -> None:
    """Raise UserError unless the LMDB beside the maps holds their images in the same order and sizes."""
    path = check_images_beside(settings)
    images, how_to_make = read_manifest(path), _how_to_make_whole(settings)
    if (images['kind'], images.get('margin_px')) != ('images', 0) or stored_ids(path) != stored_ids(settings.lmdb):
        raise UserError(
            f'{path} does not hold the same images as {settings.lmdb}, in the same order and without a margin; {how_to_make}'
        )
    covered = pixels_of(settings.stage.start, manifest['min_side_hw'])
    name, size_hw = next(iter(read_sizes(path).items()))
    if size_hw != covered:
        raise UserError(
            f'{settings.lmdb} covers {covered[0]}x{covered[1]} pixels, {name} has {size_hw[0]}x{size_hw[1]}; store the maps again'
        )


def _how_to_make_whole(settings: Settings) -> str:
    """The command that makes the LMDB of images without a margin."""
    return f'{how_to_prepare(settings.dataset.name, settings.stage.split)} WHOLE=1, with the options as before'


def _check_opens(path: Path) -> None:
    """Open the LMDB as Caffe does, with its lock file, which must be writable on a writable file system.

    First it is opened without the lock file, so that another fault is not blamed on that file.
    """
    with opened(path):
        pass
    try:
        lmdb.open(str(path), readonly=True, create=False).close()
    except lmdb.Error as error:
        raise UserError(f'{path} cannot be opened ({error}); the folder must be writable for its lock.mdb') from error


def _check_labels(settings: Settings) -> None:
    """Raise UserError for an empty LMDB, or if a label of the first records is no class of the data set."""
    classes, sampled = settings.dataset.num_classes, 0
    for name, array in islice(iterate(settings.lmdb), _SAMPLED):
        labels = np.unique(array[_blob_channels(settings) :])
        wrong = labels[(labels >= classes) & (labels != IGNORE_LABEL) | (labels < 0)]
        if wrong.size:
            raise UserError(
                f'{settings.lmdb}: record {name} has label {wrong[0]:g}; {settings.dataset.name} uses 0-{classes - 1}, '
                f'and {IGNORE_LABEL} to ignore; prepare the data set again'
            )
        sampled += 1
    if not sampled:
        raise UserError(f'{settings.lmdb} is empty; run: {_how_to_make(settings)}')


def _expect(settings: Settings, manifest: dict, name: str, wanted: object) -> None:
    """Raise UserError if the manifest does not say what the stage needs."""
    if manifest.get(name) != wanted:
        raise UserError(
            f'{settings.lmdb} has {name} {manifest.get(name)}, stage {settings.stage_name} needs {wanted}; '
            f'give another --lmdb, or run: {_how_to_make(settings)}'
        )


def _channels(settings: Settings) -> int:
    """Channels of a Datum: those of the blob, and the label, which at stride 1 has one channel per pixel of a cell."""
    stage = settings.stage
    planes = 1 if stage.start == 'data' else (STRIDE // stage.stored_label_stride) ** 2
    return _blob_channels(settings) + planes


def _blob_channels(settings: Settings) -> int:
    """Channels of the blob that the stage starts from."""
    stage = settings.stage
    return start_channels(NETS[stage.net].front_end, stage.start, settings.dataset.num_classes)


def _how_to_make(settings: Settings) -> str:
    """The command that makes the stage's LMDB."""
    stage, name = settings.stage, settings.stage_name
    if stage.start == 'data':
        return images_made_by(stage, settings.dataset.name)
    if '@' not in name and stage.source in _MAPS_MADE_BY:
        return _MAPS_MADE_BY[stage.source]
    chain = f'{make_train(name, "CHAIN=1")}, which makes what it starts from too'
    with suppress(UserError):  # the stage that makes the maps has not been trained yet
        runs = settings.run_of(str(stage.features_from)).parent
        return f'{chain}; or {how_to_store(stage, train_split(stage), settings.data, runs)}'
    return chain


def images_made_by(stage: Stage, dataset_name: str) -> str:
    """The command that makes the LMDB of images that `stage` trains on."""
    command = how_to_prepare(dataset_name, stage.split).removeprefix('run: ')
    net = NETS[stage.net]  # crop sizes that the data set's command only writes on request
    if net.images_wh:
        return f'{command} SIZE={"{}x{}".format(*net.images_wh)} OUT=data/{net.folder} CROP_SIZE={stage.crop_size}'
    own_crop = dataset_name not in DATASETS or net.crf_rnn or not (stage.split or isinstance(net.front_end, FrontEnd))
    return f'{command} CROP_SIZE={stage.crop_size}' if own_crop else command
