"""Writes weights for a first stage: VGG-16's if they are in pretrained/, small random values otherwise."""

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
    """Write a caffemodel with all layers that are not fresh. Small random values make all classes alike, with a loss of ln C."""
    wanted = start_shapes(stage)
    caffemodel.write(path, random_blobs(wanted) | _known(stage, wanted))


def start_shapes(stage: Stage) -> dict[str, list[caffemodel.Shape]]:
    """Blob shapes of the layers that do not start from their fillers, by layer."""
    shapes = param_shapes(networks.deploy(stage.net))
    return {layer: blobs for layer, blobs in shapes.items() if layer not in stage.fresh}


def _known(stage: Stage, wanted: dict[str, list[caffemodel.Shape]]) -> dict:
    """Blobs of the layers that a file in pretrained/ holds in the right shape."""
    files = [WEIGHTS[name].path for name in stage.init if name in WEIGHTS and WEIGHTS[name].path.is_file()]
    return {
        layer: [blob.view() for blob in blobs]
        for path in files
        for layer, blobs in caffemodel.stored(path).items()
        if layer in wanted and not caffemodel.misfits(layer, blobs, wanted[layer])
    }
