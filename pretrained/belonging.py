"""Finds out whether the layers of a weight file belong to a network, to other networks, or to none."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from pretrained import caffemodel
from pretrained.caffemodel import Shape
from pretrained.values import Layers, scores
from prototxt.experiments import NETS
from prototxt.networks import deploy
from prototxt.shapes import UPSAMPLINGS, param_shapes
from tools.support.errors import UserError


def check_nothing_left_over(net_name: str, paths: Iterable[Path]) -> None:
    """Raise UserError if a file has layers that `net_name` lacks, and name the networks that take the file."""
    net = deploy(net_name)
    for path in paths:
        if over := caffemodel.left_over(net, path):
            fits = networks_of(caffemodel.stored(path))
            raise UserError(
                f'{path}: left over: {caffemodel.named(over)}; {net_name} does not have {"it" if len(over) == 1 else "them"}. '
                + (f'These are weights of {", ".join(fits)}: use it as --net' if fits else f'Give weights of {net_name}')
                + f', or keep what {net_name} has: .venv/bin/python -m pretrained.net_surgery join {net_name} {path} --out FILE'
            )


def refuse_strangers(net_name: str, paths: Sequence[Path], more: Layers) -> None:
    """Raise UserError if a layer that `net_name` lacks belongs to no network here; scoring layers are allowed."""
    if unknown := [name for name, blobs in more.items() if name not in known_layers() and not scores(blobs)]:
        raise UserError(
            f'{", ".join(map(str, paths))}: left over: {caffemodel.named(unknown)}, which no network here has; '
            f'give weights of {net_name}'
        )


def refuse_strange_files(net_name: str, paths: Iterable[Path]) -> list[str]:
    """refuse_strangers() for caffemodels that may lend layers; returns lines about the unused layers."""
    net, said = deploy(net_name), []
    for path in paths:
        held = caffemodel.stored(path)
        more: Layers = {name: [blob.plain() for blob in held[name]] for name in caffemodel.left_over(net, path)}
        refuse_strangers(net_name, [path], more)
        if more:
            said.append(f'{path}: not used: {caffemodel.named(list(more))}, which {net_name} does not have')
    return said


@cache
def known_layers() -> frozenset[str]:
    """Names of all networks' layers with weights, and of VGG-16's scoring layer."""
    return frozenset({name for net_name in NETS for name in param_shapes(deploy(net_name))} | {'fc8', *UPSAMPLINGS})


def networks_of(held: Mapping[str, Sequence[Any]]) -> list[str]:
    """The networks that have exactly these layers."""
    shapes = {name: [blob.shape for blob in blobs] for name, blobs in held.items() if name not in UPSAMPLINGS}
    return [name for name in NETS if _without_fixed(name) == shapes]


def _without_fixed(net_name: str) -> dict[str, list[Shape]]:
    return {name: shapes for name, shapes in param_shapes(deploy(net_name)).items() if name not in UPSAMPLINGS}
