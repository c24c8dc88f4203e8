"""One network through one build of Caffe: time, peak memory, and a hash of every blob. Prints one line of JSON.

Run it under the build to be measured, with that build's `python` folder first on PYTHONPATH (compare_builds.py does).
"""

import argparse
import hashlib
import json
import math
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tools.support.caffe_import import import_caffe


def main() -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('deploy', help='prototxt of a network with input `data` and output `prob`')
    parser.add_argument('--backward', action='store_true', help='hash the gradients too')
    arguments = parser.parse_args()
    caffe = import_caffe()
    net = caffe.Net(arguments.deploy, caffe.TEST)
    fill(net)
    first, second = timed(net.forward), timed(net.forward)
    peak = peak_bytes()
    hashes = {name: digest(blob.data) for name, blob in net.blobs.items()}
    if arguments.backward:
        hashes |= gradients(net)
    print(json.dumps({'first': first, 'second': second, 'peak_bytes': peak, 'hashes': hashes}))


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


def gradients(net) -> dict[str, str]:
    """Hashes of the gradients of all weights, for a fixed gradient at `prob`."""
    net.blobs['prob'].diff[...] = np.random.default_rng(2).standard_normal(net.blobs['prob'].shape, dtype=np.float32)
    net.backward()
    return {f'{name}[{i}].diff': digest(blob.diff) for name, blobs in net.params.items() for i, blob in enumerate(blobs)}


def timed(call) -> dict[str, float]:
    """Seconds that a call takes, and seconds of processor time, which other programs on the machine disturb less."""
    start, start_cpu = time.perf_counter(), time.process_time()
    call()
    return {'s': time.perf_counter() - start, 'cpu_s': time.process_time() - start_cpu}


def peak_bytes() -> int:
    """The largest resident memory this process ever had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def digest(array: np.ndarray) -> str:
    """SHA-256 of an array's bytes."""
    return hashlib.sha256(np.ascontiguousarray(array).view(np.uint8).data).hexdigest()


if __name__ == '__main__':
    main()
