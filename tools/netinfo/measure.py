"""One run whose memory is measured: a forward pass in Python as tools/predict.py makes it. Prints its peak in bytes.

.venv/bin/python -m tools.netinfo.measure NET HEIGHT WIDTH WEIGHTS IMAGE_HEIGHT IMAGE_WIDTH
"""

import sys
from pathlib import Path

import numpy as np

from tools.inference import Predictor


def peak_bytes(pid: str | int = 'self') -> int:
    """The most memory that a process has had, with pages of files it maps, without what it inherited at a fork."""
    lines = Path(f'/proc/{pid}/status').read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith('VmHWM')).split()[1])


def main(argv: list[str]) -> None:
    """Label one image."""
    net, height, width, weights, *image_hw = argv
    predictor = Predictor(net, [Path(weights)], (int(height), int(width)))
    image = np.random.default_rng(0).integers(0, 256, (*map(int, image_hw), 3), np.uint8)
    predictor.label_map(image)
    print(peak_bytes())


if __name__ == '__main__':
    main(sys.argv[1:])
