"""What fits into memory: the largest tile of a network, and warnings before a run that will not fit."""

import argparse
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from math import prod
from pathlib import Path

from dataset_prep.datasets import dataset
from prototxt.experiments import NETS, Net
from prototxt.framing import input_hw
from prototxt.networks import deploy
from prototxt.shapes import SHRINK, STRIDE
from tools.netinfo.memory_estimate import VALUE_BYTES, Estimate, estimate
from tools.netinfo.setup import Sizes, layers_of
from tools.support.errors import UserError
from tools.support.memory_use import available_bytes

SizeHW = tuple[int, int]
UNITS = {'': 1, 'K': 10**3, 'M': 10**6, 'G': 10**9, 'T': 10**12, 'Ki': 2**10, 'Mi': 2**20, 'Gi': 2**30, 'Ti': 2**40}


def memory_size(text: str) -> int:
    """Bytes from a text such as 4G, 800M or 3.5GiB: powers of ten, or of two with an i. An argparse type."""
    found = re.fullmatch(r'([0-9]*\.?[0-9]+)\s*([KMGT]i?)?B?', text.strip(), re.IGNORECASE)
    if not found:
        raise argparse.ArgumentTypeError(f'{text} is no amount of memory; write it as 4G or 800M')
    unit = (found[2] or '').capitalize()
    return int(float(found[1]) * UNITS[unit])


def fit_tile(
    net_name: str, weights: Sequence[Path], images_hw: Iterable[SizeHW], max_memory: int | None, gpu: int | None = None
) -> SizeHW | None:
    """The largest tile (height, width) that fits into `max_memory` bytes, for images of the sizes `images_hw`.

    None means the network's own tile: without a limit, or if it fits. The choice is printed on stderr. Raises UserError if even
    the smallest tile needs more.
    """
    if max_memory is None:
        return None
    sizes = list(images_hw)
    need = tile_memory(net_name, max(path.stat().st_size for path in weights), sizes, gpu is not None)
    row = NETS[net_name]
    own = usual_tile(row, sizes)
    if need(own) <= max_memory:
        _say(f'a tile of {own[0]}x{own[1]} takes {gb(need(own))} of {gb(max_memory)}')
        return None
    if row.whole:
        raise UserError(
            f'--max-memory {gb(max_memory)}: {net_name} takes images whole, and {own[0]}x{own[1]} '
            f'needs {gb(need(own))}; give as much, or another network'
        )
    tile = largest_tile(own, max_memory, need)
    if tile is None:
        least = need((SHRINK + STRIDE, SHRINK + STRIDE))
        raise UserError(f'--max-memory {gb(max_memory)}: {net_name} needs {gb(least)} for its smallest tile; give as much')
    _say(
        f'tiles of {tile[0]}x{tile[1]} take {gb(need(tile))} of {gb(max_memory)}; {own[0]}x{own[1]}, the usual, would take '
        f'{gb(need(own))}'
        + ('; context at the edges of tiles ends sooner, so labels can differ' if NETS[net_name].context else '')
    )
    return tile


def usual_tile(row: Net, images_hw: Iterable[SizeHW]) -> SizeHW:
    """Tile (height, width) without a limit: the network's own, or the largest image for a network that takes whole images."""
    sizes = (input_hw(row, size, fill=True) for size in images_hw) if row.whole else ()
    return max(sizes, key=prod, default=row.input_size_hw)


def largest_tile(own: SizeHW, max_memory: float, need: Callable[[SizeHW], float]) -> SizeHW | None:
    """The tile with the most cells whose `need` is at most `max_memory` and whose sides do not exceed `own`; None if none fits.

    Of tiles with equally many cells, the one closest to a square, which has the least edge.
    """
    rows, columns = ((side - SHRINK) // STRIDE for side in own)
    best: SizeHW | None = None
    width = columns
    for height in range(1, rows + 1):
        while width and need(_tile(height, width)) > max_memory:
            width -= 1  # a higher tile cannot be as wide
        if not width:
            break
        if best is None or (height * width, -abs(height - width)) > (best[0] * best[1], -abs(best[0] - best[1])):
            best = height, width
    return _tile(*best) if best else None


def tile_memory(net_name: str, file_bytes: int, images_hw: Iterable[SizeHW], gpu: bool) -> Callable[[SizeHW], float]:
    """Bytes for labelling images, as a function of the tile; on a GPU, bytes of its memory."""
    net, pictures = Sizes(deploy(net_name)), 0 if gpu else max((picture_bytes(net_name, size) for size in images_hw), default=0)

    def need(tile: SizeHW) -> float:
        found: Estimate = estimate(net.layers(tile), training=False, gpu=gpu, file_bytes=file_bytes)
        return found.device if gpu else max(found.host, found.program + found.working + pictures)

    return need


def picture_bytes(net_name: str, size_hw: SizeHW) -> int:
    """Bytes outside the net while an image of `size_hw` pixels is labelled: its pixels and its enlarged scores.

    They are: pixels with and without margin, stitched scores, and scores of cells at three times their width while interpolated.
    """
    row, (height, width) = NETS[net_name], size_hw
    zoom = 1 if row.pixels else STRIDE
    cells = (height // zoom + STRIDE) * (width // zoom + STRIDE)
    enlarged = 0 if zoom == 1 else (height // zoom + STRIDE) * width  # scores of pixels are not interpolated
    pixels = 3 * (height * width + (height + SHRINK) * (width + SHRINK))
    return VALUE_BYTES * (pixels + dataset(row.dataset).num_classes * (2 * cells + 3 * enlarged))


def gb(size: float) -> str:
    """A size in GB, as text."""
    return f'{size / 1e9:.2f} GB' if size >= 1e8 else f'{size / 1e6:.1f} MB'


def _tile(rows: int, columns: int) -> SizeHW:
    return SHRINK + STRIDE * rows, SHRINK + STRIDE * columns


def _say(line: str) -> None:
    print(f'memory: {line}', file=sys.stderr)


def warn_of_memory(stage_name: str, net, batch_per_pass: int, gpus: tuple[int, ...] = ()) -> None:
    """Warn on stderr if training `net` (NetParameter) seems to need more memory than is free. It is an estimate, so no error."""
    found = estimate(layers_of(net, 'train'), training=True, gpu=bool(gpus))
    for what, needed, free in _needs(found, gpus):
        smaller = 'BATCH_PER_PASS= (--batch-per-pass) splits the batch, ' if batch_per_pass > 1 else ''
        advice = (
            f'{smaller}CROP_SIZE= (--crop-size) makes images smaller; tools/summarize.py --stage {stage_name} shows where it goes'
        )
        _warn(stage_name, what, needed, free, advice)


def warn_of_tile(
    net_name: str, weights: Sequence[Path], images_hw: Iterable[SizeHW], gpus: Sequence[int], tile_hw: SizeHW | None
) -> None:
    """Warn on stderr of each GPU whose free memory the tile seems to exceed. `tile_hw` None means the network's own tile."""
    if not gpus:
        return  # before images are opened for their sizes
    tile = tile_hw or usual_tile(NETS[net_name], images_hw)
    needed = tile_memory(net_name, max(path.stat().st_size for path in weights), (), gpu=True)(tile)
    for gpu in gpus:
        free = gpu_free(gpu)
        advice = f'--max-memory {(free or 0) / 1e9:.1f}G takes the largest tile that fits'
        _warn(f'a tile of {tile[0]}x{tile[1]}', _memory_of(gpu), needed, free, advice)


def warn_of_extraction(net, gpu: int) -> None:
    """Warn on stderr if a forward pass of `net` (NetParameter) seems to exceed the free memory of a GPU."""
    needed = estimate(layers_of(net, 'test'), training=False, gpu=True).device
    advice = 'CAFFE_COLUMN_MIB=1024 in the environment makes it less'
    _warn('each image, whole,', _memory_of(gpu), needed, gpu_free(gpu), advice)


def _warn(who: str, memory: str, needed: float, free: float | None, advice: str) -> None:
    """Warn on stderr if `who` needs more than is free; nothing if it fits or if free memory is unknown."""
    if free is not None and needed > free:
        print(f'warning: {who} takes about {gb(needed)} of {memory}, {gb(free)} are free; {advice}', file=sys.stderr)


def _memory_of(gpu: int) -> str:
    return f'the memory of GPU {gpu}'


def _needs(found: Estimate, gpus: tuple[int, ...]) -> list[tuple[str, float, float | None]]:
    """Tuples (which memory, bytes needed, bytes free or None if unknown)."""
    devices = [(_memory_of(gpu), found.device, gpu_free(gpu)) for gpu in gpus]
    return [('memory', found.host, available_bytes()), *devices]


def gpu_free(gpu: int) -> float | None:
    """Free bytes on a GPU, from nvidia-smi; None without that program."""
    command = ['nvidia-smi', f'--id={gpu}', '--query-gpu=memory.free', '--format=csv,noheader,nounits']
    try:
        return 2**20 * float(subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
