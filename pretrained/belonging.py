"""Whose layers a weight file holds: those of a network, of other networks, or of none."""

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
    """Raise UserError if a file has layers that `net_name` does not have, with the networks that do take it."""
    net = deploy(net_name)
    for path in paths:
        if over := caffemodel.left_over(net, path):
            fits = networks_of(caffemodel.stored(path))
            raise UserError(
                f'{path}: left over: {caffemodel.named(over)}; {net_name} does not have {"it" if len(over) == 1 else "them"}. '
                + (f'These are weights of {", ".join(fits)}: give that as --net' if fits else f'Give weights of {net_name}')
                + f', or take out what {net_name} has: .venv/bin/python -m pretrained.layers join {net_name} {path} --out FILE'
            )


def refuse_strangers(net_name: str, paths: Sequence[Path], more: Layers) -> None:
    """Raise UserError if among layers that `net_name` does not have is one that no network here has, but for scores of a task."""
    if unknown := [name for name, blobs in more.items() if name not in known_layers() and not scores(blobs)]:
        raise UserError(
            f'{", ".join(map(str, paths))}: left over: {caffemodel.named(unknown)}, which no network here has; '
            f'give weights of {net_name}'
        )


def refuse_strange_files(net_name: str, paths: Iterable[Path]) -> list[str]:
    """The same of caffemodels that another network may lend layers from; what to say of layers that are not used."""
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
    """Names of the layers with weights of all networks, and of VGG-16's scores."""
    return frozenset({name for net_name in NETS for name in param_shapes(deploy(net_name))} | {'fc8', *UPSAMPLINGS})


def networks_of(held: Mapping[str, Sequence[Any]]) -> list[str]:
    """The networks that take all of these layers and need no other."""
    shapes = {name: [blob.shape for blob in blobs] for name, blobs in held.items() if name not in UPSAMPLINGS}
    return [name for name in NETS if _without_fixed(name) == shapes]


def _without_fixed(net_name: str) -> dict[str, list[Shape]]:
    return {name: shapes for name, shapes in param_shapes(deploy(net_name)).items() if name not in UPSAMPLINGS}
