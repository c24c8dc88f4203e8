"""Weights that a first stage starts from: VGG-16's as far as they are in pretrained/, small random values elsewhere."""

from pathlib import Path

from pretrained import caffemodel
from pretrained.random_values import random_blobs
from pretrained.weights import WEIGHTS
from prototxt import networks
from prototxt.experiments import Stage
from prototxt.shapes import param_shapes


def needs_file(stage: Stage) -> bool:
    """Whether a stage starts from a weight file that no stage makes."""
    return any(name in WEIGHTS for name in stage.init)


def write_start(stage: Stage, path: Path) -> None:
    """Write a caffemodel of all layers that are not fresh. From small random values all classes are alike, and the loss ln C."""
    wanted = start_shapes(stage)
    caffemodel.write(path, random_blobs(wanted) | _known(stage, wanted))


def start_shapes(stage: Stage) -> dict[str, list[caffemodel.Shape]]:
    """Shapes of the blobs that a stage does not start from their fillers, by layer."""
    shapes = param_shapes(networks.deploy(stage.net))
    return {layer: blobs for layer, blobs in shapes.items() if layer not in stage.fresh}


def _known(stage: Stage, wanted: dict[str, list[caffemodel.Shape]]) -> dict:
    """The blobs of the layers that a file in pretrained/ holds in the right shape."""
    files = [WEIGHTS[name].path for name in stage.init if name in WEIGHTS and WEIGHTS[name].path.is_file()]
    return {
        layer: [blob.view() for blob in blobs]
        for path in files
        for layer, blobs in caffemodel.stored(path).items()
        if layer in wanted and not caffemodel.misfits(layer, blobs, wanted[layer])
    }
