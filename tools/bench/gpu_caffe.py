"""Times a network in Caffe and prints the result as JSON: python gpu_caffe.py JOB.json

The job has `deploy` or `solver` (a prototxt), `gpu` (a number, or null for the CPU), `repeat`, and `save` (the file for the
probabilities of a forward pass).
"""

import json
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tools.bench.builds import fill_weights, timed
from tools.support.caffe_import import import_caffe
from tools.support.memory_use import peak_bytes

WARM_UP = 2  # the first pass allocates, and cuBLAS chooses


def main() -> None:
    """Measure as the job says."""
    job = json.loads(Path(sys.argv[1]).read_text(encoding='utf-8'))
    caffe = import_caffe()
    if job['gpu'] is not None:
        caffe.set_device(job['gpu'])
        caffe.set_mode_gpu()
    caffe.set_random_seed(1)
    step = training(caffe, job['solver']) if 'solver' in job else forward(caffe, job['deploy'], job.get('save'))
    seconds = [timed(step)['s'] for _ in range(WARM_UP + job['repeat'])][WARM_UP:]
    print(json.dumps({'seconds': seconds, 'host_bytes': peak_bytes()}))


def forward(caffe, deploy: str, save: str | None):
    """A function that runs one forward pass and copies the probabilities to the host; the first pass writes them to `save`."""
    net = caffe.Net(deploy, caffe.TEST)
    random = np.random.default_rng(1)
    fill_weights(net, random)
    blob = net.blobs[net.inputs[0]]
    blob.data[...] = 50 * random.standard_normal(blob.shape, dtype=np.float32)

    def step() -> None:
        prob = net.forward()['prob']
        if save:
            np.save(save, prob[0])

    step()
    save = None
    return step


def training(caffe, solver_prototxt: str):
    """A function that runs one training step and waits for its update."""
    solver = caffe.get_solver(solver_prototxt)
    fill_weights(solver.net, np.random.default_rng(1))
    last = next(iter(solver.net.params.values()))[0]

    def step() -> None:
        solver.step(1)
        last.data.flat[0]  # waits for the update

    return step


if __name__ == '__main__':
    main()
