"""Whether a training will fit into the memory that is free, said before it starts."""

import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from prototxt.experiments import NETS
from tools.netinfo.fit import SizeHW, gb, tile_memory, usual_tile
from tools.netinfo.inference import layers_of
from tools.netinfo.layer_rules import Unknown
from tools.netinfo.memory import Estimate, estimate

MEMINFO = Path('/proc/meminfo')
CGROUP = Path('/sys/fs/cgroup')  # of a container, where the limit is lower than the machine's memory


def warn_of_memory(stage_name: str, net, batch_per_pass: int, gpus: tuple[int, ...] = ()) -> None:
    """Warn on stderr if training `net` (NetParameter) is estimated to take more memory than is free; a guess, so no error."""
    try:
        found = estimate(layers_of(net, 'train'), training=True, gpu=bool(gpus))
    except Unknown:
        return
    for what, needed, free in _needs(found, gpus):
        if free is not None and needed > free:
            smaller = 'BATCH_PER_PASS= (--batch-per-pass) splits the batch, ' if batch_per_pass > 1 else ''
            print(
                f'warning: {stage_name} takes about {gb(needed)} of {what}, {gb(free)} are free; {smaller}'
                f'CROP_SIZE= (--crop-size) makes images smaller; tools/summarize.py --stage {stage_name} shows where it goes',
                file=sys.stderr,
            )


def warn_of_tile(
    net_name: str, weights: Sequence[Path], images_hw: Iterable[SizeHW], gpus: Sequence[int], tile_hw: SizeHW | None
) -> None:
    """Warn on stderr of each GPU whose free memory the tile is estimated to exceed; `tile_hw` None is the network's own."""
    sizes = list(images_hw)
    tile = tile_hw or usual_tile(NETS[net_name], sizes)
    needed = tile_memory(net_name, max(path.stat().st_size for path in weights), sizes, gpu=True)(tile) if gpus else 0
    for gpu in gpus:
        _warn_of_gpu(f'a tile of {tile[0]}x{tile[1]}', needed, gpu, '--max-memory {free:.1f}G takes the largest tile that fits')


def warn_of_extraction(net, gpu: int) -> None:
    """Warn on stderr if a forward pass of `net` (NetParameter) is estimated to exceed the free memory of a GPU."""
    needed = estimate(layers_of(net, 'test'), training=False, gpu=True).device
    _warn_of_gpu('each image, whole,', needed, gpu, 'CAFFE_COLUMN_MIB=1024 in the environment makes it less')


def _warn_of_gpu(what: str, needed: float, gpu: int, advice: str) -> None:
    free = gpu_free(gpu)
    if free is not None and needed > free:
        said = f'{what} takes about {gb(needed)} of the memory of GPU {gpu}, {gb(free)} are free'
        print(f'warning: {said}; {advice.format(free=free / 1e9)}', file=sys.stderr)


def _needs(found: Estimate, gpus: tuple[int, ...]) -> list[tuple[str, float, float | None]]:
    """(which memory, bytes needed, bytes free or None where nothing tells)."""
    devices = [(f'the memory of GPU {gpu}', found.device, gpu_free(gpu)) for gpu in gpus]
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
