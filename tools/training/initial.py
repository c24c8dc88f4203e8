"""Resolves the names in a stage's `init` to weight files, and generates the starting values that no file holds."""

from pathlib import Path

from pretrained import caffemodel
from pretrained.bilinear import bilinear_weights
from pretrained.caffemodel import Weights
from pretrained.identity import identity_weights
from pretrained.weights import WEIGHTS
from prototxt.experiments import NETS, STAGES, VGG_CONVOLUTIONS
from tools.support.errors import UserError
from tools.support.hashing import file_sum
from tools.training.run_folder import newest_snapshot
from tools.training.settings import RANDOM_FC, Settings


def vgg16_convolutions(_net_name: str) -> Weights:
    """A file with VGG-16's convolutions only, for a network with narrower fc6 and fc7."""
    held = caffemodel.stored(_file_of('vgg16'))
    return {name: [blob.array() for blob in held[name]] for name in VGG_CONVOLUTIONS}


# Generated: the identity of eq. 4 and 5 for a context module, FCN's bilinear upsampling, VGG-16 without fc6 and fc7.
GENERATED = {'identity': identity_weights, 'bilinear': bilinear_weights, 'vgg16-trunk': vgg16_convolutions}


def weight_files(settings: Settings, folder: Path) -> list[Path]:
    """The caffemodels to start from, in loading order; GENERATED ones are written to `folder`.

    Raises UserError for a missing file, with the command that makes it, and for a path that Caffe would split.
    """
    given = settings.weights
    paths = list(given) if given is not None else [_resolve(name, settings, folder) for name in settings.stage.init]
    for path in paths:
        if not path.is_file():
            raise UserError(f'no weights at {path}')
        _refuse_split(path)
    if made := _made_anew(settings):
        _refuse_split(settings.run_dir)
        paths.append(folder / 'fresh.caffemodel')
        caffemodel.write(paths[-1], made, f'{settings.stage.net}, fresh layers')
    return paths


def without_fresh(settings: Settings, paths: list[Path], folder: Path) -> list[Path]:
    """The files, or copies in `folder` without the fresh layers, which Caffe would load as well."""
    made = _made_anew(settings)
    files = paths[:-1] if made else paths
    copies = (folder / f'weights_{number}.caffemodel' for number in range(1, len(files) + 1))
    return [_without(path, settings.fresh, copy) for path, copy in zip(files, copies, strict=True)] + paths[len(files) :]


def _without(path: Path, layers: tuple[str, ...], copy: Path) -> Path:
    """`copy`, a copy of `path` without some layers; `path` itself if it has none of them."""
    held = caffemodel.stored(path)
    if not held.keys() & set(layers):
        return path
    kept = {name: [blob.plain() for blob in blobs] for name, blobs in held.items() if blobs and name not in layers}
    caffemodel.write(copy, kept, f'{path.name} without {", ".join(layers)}')
    return copy


def _made_anew(settings: Settings) -> Weights:
    """Starts of fresh layers that have no filler: the identity of a context module, and bilinear upsampling."""
    net_name = settings.stage.net
    if not settings.fresh:
        return {}
    identity = identity_weights(net_name) if NETS[net_name].context else {}
    return {name: blobs for name, blobs in (identity | bilinear_weights(net_name)).items() if name in settings.fresh}


def fresh_layers(settings: Settings) -> tuple[str, ...]:
    """Names of the layers that start from their fillers or from a generated start."""
    named = settings.stage.fresh + (RANDOM_FC if settings.options.random_fc else ())
    return named + tuple(name for name in settings.fresh if name not in named)


def asked_weights(settings: Settings) -> list[str]:
    """What the run starts from, in a form that can be compared: names of the row, or hashes of given files."""
    if settings.weights is None:
        return list(settings.stage.init)
    return [file_sum(path) if path.is_file() else f'{path} (missing)' for path in settings.weights]


def _refuse_split(path: Path) -> None:
    """Raise UserError for a path that Caffe would misread or split in two."""
    if ',' in str(path) or str(path) != str(path).strip():
        raise UserError(
            f'{path}: Caffe splits --weights at commas and strips blanks at its ends; move or link the file to a plain path'
        )


def _resolve(name: str, settings: Settings, folder: Path) -> Path:
    """The file for one name in `init`."""
    if name in GENERATED:
        _refuse_split(settings.run_dir)
        path = folder / f'{name}.caffemodel'
        caffemodel.write(path, GENERATED[name](settings.stage.net), f'{settings.stage.net}, {name}')
        return path
    if name in STAGES:
        return newest_snapshot(settings.run_of(name))
    return _file_of(name)


def _file_of(name: str) -> Path:
    """The file of a row of pretrained.weights."""
    path = WEIGHTS[name].path
    if not path.is_file():
        raise UserError(f'no weights at {path}; run: make weights-{name}')
    return path
