"""Whether a training will fit into the memory that is free, said before it starts."""

import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from prototxt.experiments import NETS
from tools.netinfo.fit import SizeHW, gb, tile_memory, usual_tile
from tools.netinfo.memory import Estimate, estimate
from tools.netinfo.setup import layers_of

MEMINFO = Path('/proc/meminfo')
CGROUP = Path('/sys/fs/cgroup')  # of a container, where the limit is lower than the machine's memory


def warn_of_memory(stage_name: str, net, batch_per_pass: int, gpus: tuple[int, ...] = ()) -> None:
    """Warn on stderr if training `net` (NetParameter) is estimated to take more memory than is free; a guess, so no error."""
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
    """Warn on stderr of each GPU whose free memory the tile is estimated to exceed; `tile_hw` None is the network's own."""
    if not gpus:
        return  # before images are opened for their sizes
    tile = tile_hw or usual_tile(NETS[net_name], images_hw)
    needed = tile_memory(net_name, max(path.stat().st_size for path in weights), (), gpu=True)(tile)
    for gpu in gpus:
        free = gpu_free(gpu)
        advice = f'--max-memory {(free or 0) / 1e9:.1f}G takes the largest tile that fits'
        _warn(f'a tile of {tile[0]}x{tile[1]}', _memory_of(gpu), needed, free, advice)


def warn_of_extraction(net, gpu: int) -> None:
    """Warn on stderr if a forward pass of `net` (NetParameter) is estimated to exceed the free memory of a GPU."""
    needed = estimate(layers_of(net, 'test'), training=False, gpu=True).device
    advice = 'CAFFE_COLUMN_MIB=1024 in the environment makes it less'
    _warn('each image, whole,', _memory_of(gpu), needed, gpu_free(gpu), advice)


def _warn(who: str, memory: str, needed: float, free: float | None, advice: str) -> None:
    """Say on stderr that `who` needs more than is free; nothing where that is not so, or not known."""
    if free is not None and needed > free:
        print(f'warning: {who} takes about {gb(needed)} of {memory}, {gb(free)} are free; {advice}', file=sys.stderr)


def _memory_of(gpu: int) -> str:
    return f'the memory of GPU {gpu}'


def _needs(found: Estimate, gpus: tuple[int, ...]) -> list[tuple[str, float, float | None]]:
    """(which memory, bytes needed, bytes free or None where nothing tells)."""
    devices = [(_memory_of(gpu), found.device, gpu_free(gpu)) for gpu in gpus]
    return [('memory', found.host, host_free()), *devices]


def host_free() -> float | None:
    """Bytes that the system can give to a new process; in a container, no more than its limit leaves."""
    try:
        line = next(line for line in MEMINFO.read_text().splitlines() if line.startswith('MemAvailable'))
    except (OSError, StopIteration):
        return None
    available = 1024.0 * int(line.split()[1])
    try:
        limit, used = (int((CGROUP / name).read_text()) for name in ('memory.max', 'memory.current'))
    except (OSError, ValueError):  # no container, or 'max': no limit
        return available
    return min(available, limit - used)


def gpu_free(gpu: int) -> float | None:
    """Bytes free on a GPU, as its driver's program tells; None without it."""
    command = ['nvidia-smi', f'--id={gpu}', '--query-gpu=memory.free', '--format=csv,noheader,nounits']
    try:
        return 2**20 * float(subprocess.run(command, capture_output=True, text=True, check=True, timeout=20).stdout.strip())
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
