"""Measures the time of each layer of a net on this CPU, and finds the layers that wait for memory rather than arithmetic."""

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from statistics import median

import numpy as np

from tools.netinfo.setup import Layer, data_as_input
from tools.support.caffe_import import import_caffe, net_of

VALUE_BYTES = 4
MOST_OF_ITS_TIME = 0.5  # a layer that needs at least this fraction of its time to move data is bound by memory
IMAGE_CHANNELS = 3, 4  # blue, green, red, and perhaps the label
COPIED_BYTES = 1 << 28  # far more than caches hold


@dataclass(frozen=True)
class Seconds:
    """Seconds of one layer in a forward and in a backward pass."""

    forward: float
    backward: float


def net_to_time(message, layers: list[Layer]):
    """The NetParameter `message`, whose layers after setup are `layers`, with Input layers in place of its Data layers."""
    return data_as_input(message, {layer.name: layer.shapes for layer in layers})


def layer_seconds(message, phase: str, passes: int) -> dict[str, Seconds]:
    """Median seconds of each layer over `passes`, after one uncounted pass, with the Split layers that Caffe adds.

    Weights and inputs are random. A layer without a gradient takes almost no time backward.
    """
    import_caffe().set_mode_cpu()
    net = net_of(message, phase)
    random = np.random.default_rng(0)
    for blobs in net.params.values():
        weight = blobs[0].data
        weight[...] = random.standard_normal(weight.shape, np.float32) * np.float32(np.sqrt(2 / max(1, prod(weight.shape[1:]))))
    for name in net.inputs:
        data = net.blobs[name].data
        data[...] = random.integers(0, 2, data.shape)  # labels of two classes, which every net has; or maps
        if data.ndim == 4 and data.shape[1] in IMAGE_CHANNELS:
            data[:, :3] = random.integers(0, 256, data[:, :3].shape)
    count = len(net.layers)
    _one_pass(net, count)
    taken = [_one_pass(net, count) for _ in range(passes)]
    return {
        name: Seconds(median(forward[i] for forward, _ in taken), median(backward[i] for _, backward in taken))
        for i, name in enumerate(net._layer_names)
    }


def forward_seconds(net) -> list[float]:
    """Seconds of each layer in one forward pass of a caffe.Net."""
    return [_clocked(net._forward, i) for i in range(len(net.layers))]


def bytes_moved(layer: Layer, bottoms: Mapping[str, tuple[int, ...]]) -> int:
    """Bytes that a layer reads and writes in a forward pass without caches: blobs, weights, and twice the im2col columns.

    `bottoms` are the shapes of its inputs.
    """
    images = (layer.shapes[0] or (1,))[0] if layer.shapes else 1
    values = sum(prod(bottoms[name]) for name in layer.bottoms) + sum(map(prod, layer.shapes)) + sum(map(prod, layer.params))
    return VALUE_BYTES * (values + 2 * images * layer.costs.column)


def bound_by_memory(layers: list[Layer], seconds: Mapping[str, Seconds], bytes_per_s: float) -> set[str]:
    """Names of the layers whose forward pass spends most of its time moving data."""
    shapes: dict[str, tuple[int, ...]] = {}
    found = set()
    for layer in layers:
        if layer.name in seconds and layer.bottoms and not layer.costs.shares_input:
            needed = bytes_moved(layer, shapes) / bytes_per_s
            if needed >= MOST_OF_ITS_TIME * seconds[layer.name].forward:
                found.add(layer.name)
        shapes.update(zip(layer.tops, layer.shapes, strict=False))
    return found


def memory_speed() -> float:
    """Bytes per second that all cores read and write while they copy an array; the best of five."""
    cores = len(os.sched_getaffinity(0))
    source = np.ones(COPIED_BYTES // 8)
    target = np.zeros_like(source)
    parts = list(zip(np.array_split(target, cores), np.array_split(source, cores), strict=True))
    with ThreadPoolExecutor(cores) as pool:
        taken = [_timed(lambda: list(pool.map(lambda part: np.copyto(*part), parts))) for _ in range(5)]
    return 2 * COPIED_BYTES / min(taken)


def _one_pass(net, count: int) -> tuple[list[float], list[float]]:
    """Seconds of each layer forward, then backward."""
    forward = forward_seconds(net)
    backward = [_clocked(net._backward, i) for i in reversed(range(count))]
    return forward, backward[::-1]


def _clocked(step: Callable[[int, int], object], layer: int) -> float:
    return _timed(lambda: step(layer, layer))


def _timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
