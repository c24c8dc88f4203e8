"""Compares this build of Caffe with the build as released: equal bits, time and memory.

Each measurement runs in its own process, on Dilation8-VOC with the same random weights and input in both builds: forward passes
at full size, then forward and backward at a smaller size, at which the gradients fit into memory too.
"""

import hashlib
import math
import tempfile
import time
from pathlib import Path

import numpy as np

from tools.bench.stopwatch import apart
from tools.support.caffe_import import import_caffe
from tools.support.errors import UserError
from tools.support.memory_use import peak_bytes
from tools.support.paths import ROOT, VENV
from tools.support.text_tables import columns

NET = 'dilation8_pascal_voc'
SIDE, GRADIENT_SIDE = 900, 508  # pixels
BUILDS = {'as released': VENV / 'as-released', 'shared': VENV / 'caffe'}


def compare() -> dict:
    """Measure and print both builds at both sizes; returns the results. Raises UserError if a single bit differs."""
    results = {}
    for side, gradients in ((SIDE, False), (GRADIENT_SIDE, True)):
        found = {name: measure(folder, side, gradients) for name, folder in BUILDS.items()}
        print(report(side, found), flush=True)
        if names := differing(found):
            raise UserError(f'the builds differ in {", ".join(names)}')
        results[side] = {name: {key: value for key, value in row.items() if key != 'hashes'} for name, row in found.items()}
    return results


def measure(build: Path, side: int, gradients: bool) -> dict:
    """The passes() of a build at `side` pixels. Raises UserError if the build is missing or its process fails."""
    if not (build / 'python').is_dir():
        raise UserError(f'no Caffe in {build}; run: make bench PARTS=im2col')
    with tempfile.TemporaryDirectory() as folder:
        deploy = write_deploy(Path(folder), side)
        _, said = apart(passes, str(deploy), gradients, variables={'PYTHONPATH': str(build / 'python')})
    return said


def passes(deploy: str, backward: bool) -> dict:
    """Time, peak memory and a hash of every blob of two forward passes of a net with input `data` and output `prob`.

    With `backward`, also hashes of the gradients. It uses the Caffe that is first on PYTHONPATH.
    """
    net = import_caffe().Net(deploy, 1)  # TEST
    fill(net)
    first, second, peak = timed(net.forward), timed(net.forward), peak_bytes()
    hashes = {name: digest(blob.data) for name, blob in net.blobs.items()}
    if backward:
        hashes |= gradients_of(net)
    return {'first': first, 'second': second, 'peak_bytes': peak, 'hashes': hashes}


def fill(net) -> None:
    """Give a net the same weights and input in every build."""
    random = np.random.default_rng(1)
    fill_weights(net, random)
    net.blobs['data'].data[...] = 50 * random.standard_normal(net.blobs['data'].shape, dtype=np.float32)


def fill_weights(net, random: np.random.Generator) -> None:
    """Give a net random weights: normal, scaled as He et al. (2015) do."""
    for blobs in net.params.values():
        weights = blobs[0].data
        scale = math.sqrt(2 / weights[0].size)
        for row in weights:
            row[...] = scale * random.standard_normal(row.shape, dtype=np.float32)


def gradients_of(net) -> dict[str, str]:
    """Hashes of the gradients of all weights, for a fixed gradient at `prob`."""
    net.blobs['prob'].diff[...] = np.random.default_rng(2).standard_normal(net.blobs['prob'].shape, dtype=np.float32)
    net.backward()
    return {f'{name}[{i}].diff': digest(blob.diff) for name, blobs in net.params.items() for i, blob in enumerate(blobs)}


def timed(call) -> dict[str, float]:
    """Seconds of a call by the clock, and of processor time, which depends less on other programs."""
    start, start_cpu = time.perf_counter(), time.process_time()
    call()
    return {'s': time.perf_counter() - start, 'cpu_s': time.process_time() - start_cpu}


def digest(array: np.ndarray) -> str:
    """SHA-256 of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(array).view(np.uint8).data).hexdigest()


def write_deploy(folder: Path, side: int) -> Path:
    """The network's prototxt for inputs of `side` pixels, in `folder`."""
    text = (ROOT / 'prototxt' / NET / 'deploy.prototxt').read_text(encoding='utf-8')
    path = folder / 'deploy.prototxt'
    path.write_text('force_backward: true\n' + text.replace('dim: 900', f'dim: {side}'), encoding='utf-8')
    return path


def differing(results: dict[str, dict]) -> list[str]:
    """Names of the blobs and gradients that are not the same in all results."""
    first, *others = (result['hashes'] for result in results.values())
    return [name for name in first if any(other.get(name) != first[name] for other in others)]


def report(side: int, results: dict[str, dict]) -> str:
    """A table of the builds, the ratio of their times, and the blobs that differ."""
    lines = [f'{NET} at 1x3x{side}x{side}']
    rows = [('build', 'first forward (CPU time)', 'second (CPU time)', 'peak memory')]
    for name, result in results.items():
        first, second = (f'{result[which]["s"]:.1f} s ({result[which]["cpu_s"]:.1f} s)' for which in ('first', 'second'))
        rows.append((name, first, second, f'{result["peak_bytes"] / 1e9:.2f} GB'))
    lines += columns(rows, '<>')
    wall, cpu = (results['shared']['first'][unit] / results['as released']['first'][unit] for unit in ('s', 'cpu_s'))
    names = differing(results)
    count = len(results['shared']['hashes'])
    lines.append(f'first forward, shared / as released: {wall:.2f} ({cpu:.2f} of the CPU time)')
    lines.append(f'{count} blobs and gradients: ' + (f'DIFFERENT in {", ".join(names)}' if names else 'the same in every bit'))
    return '\n'.join(lines) + '\n'
