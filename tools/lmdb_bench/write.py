"""Child of the benchmark: write the LMDB of a folder of drawn pictures. Prints its seconds, without those of the imports.

Its peak memory too: what the kernel tells the parent begins with the memory of the parent.
"""

import argparse
import time
from pathlib import Path

from dataset_prep.lmdb_writer import ENCODINGS, write_lmdb
from dataset_prep.records import Record
from tools.lmdb_bench.children import answer
from tools.support.errors import run_command
from tools.support.memory import peak_bytes


def main(argv: list[str] | None) -> None:
    """Write as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('pictures', type=Path)
    parser.add_argument('out', type=Path)
    parser.add_argument('--suffix', required=True)
    parser.add_argument('--dataset', required=True)
    parser.add_argument('--margin', type=int, required=True)
    parser.add_argument('--crop-size', type=int, required=True)
    parser.add_argument('--encoding', choices=ENCODINGS, required=True)
    args = parser.parse_args(argv)
    names = [path.name.removesuffix('_label.png') for path in sorted(args.pictures.glob('*_label.png'))]
    folder = args.pictures
    records = [Record(name, folder / f'{name}{args.suffix}', folder / f'{name}_label.png', args.dataset) for name in names]
    begun, begun_cpu = time.perf_counter(), time.process_time()
    manifest = write_lmdb(
        args.out, records, dataset=args.dataset, split='train',
        crop_size=args.crop_size, margin_px=args.margin, encoding=args.encoding,
    )  # fmt: skip
    seconds, cpu = time.perf_counter() - begun, time.process_time() - begun_cpu
    answer(seconds=seconds, cpu=cpu, count=manifest['count'], peak=peak_bytes())


if __name__ == '__main__':
    run_command(main)
