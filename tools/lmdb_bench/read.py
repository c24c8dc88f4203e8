"""Child of the benchmark: stock Caffe's Data layer reads batches of random mirrored crops. Prints the seconds a batch takes."""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from prototxt.layers import L, P, caffe
from prototxt.networks import write
from tools.lmdb_bench.children import answer
from tools.support.errors import run_command

WARM, TIMED = 3, 12  # batches; Caffe reads some ahead before the first is asked for


def main(argv: list[str] | None) -> None:
    """Read as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('lmdb', type=Path)
    parser.add_argument('--crop-size', type=int, required=True)
    parser.add_argument('--batch', type=int, required=True)
    args = parser.parse_args(argv)
    spec = caffe.NetSpec()
    transform = dict(crop_size=args.crop_size, mirror=True, mean_value=[100, 100, 100, 0])
    spec.pair = L.Data(source=str(args.lmdb), backend=P.Data.LMDB, batch_size=args.batch, transform_param=transform)
    with TemporaryDirectory() as folder:
        write(spec.to_proto(), Path(folder) / 'data.prototxt')
        net = caffe.Net(str(Path(folder) / 'data.prototxt'), caffe.TRAIN)
    for _ in range(WARM):
        net.forward()
    begun = time.perf_counter()
    for _ in range(TIMED):
        net.forward()
    answer(seconds=(time.perf_counter() - begun) / TIMED)


if __name__ == '__main__':
    run_command(main)
