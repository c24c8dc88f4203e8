"""Child of the benchmark: one training pass of a full-size stage on the CPU, forward and backward, on pixels that are made up.

Prints its seconds.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from prototxt.networks import training, write
from tools.lmdb_bench.children import answer
from tools.support.caffe_import import import_caffe
from tools.support.errors import run_command

caffe = import_caffe()


def main(argv: list[str] | None) -> None:
    """Measure as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('stage')
    parser.add_argument('lmdb', type=Path)
    parser.add_argument('--crop-size', type=int, required=True)
    args = parser.parse_args(argv)
    with TemporaryDirectory() as folder:
        write(training(args.stage, str(args.lmdb), args.crop_size, 1), Path(folder) / 'train.prototxt')
        net = caffe.Net(str(Path(folder) / 'train.prototxt'), caffe.TRAIN)
    net.forward()
    net.backward()
    begun = time.perf_counter()
    net.forward()
    net.backward()
    answer(seconds=time.perf_counter() - begun)


if __name__ == '__main__':
    run_command(main)
