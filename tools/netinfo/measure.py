"""One run whose memory is measured: a forward pass in Python as tools/predict.py makes it. Prints its peak in bytes.

.venv/bin/python -m tools.netinfo.measure NET HEIGHT WIDTH WEIGHTS IMAGE_HEIGHT IMAGE_WIDTH
"""

import sys
from pathlib import Path

import numpy as np

from tools.inference import Predictor
from tools.support.memory import peak_bytes


def main(argv: list[str]) -> None:
    """Label one image."""
    net, height, width, weights, *image_hw = argv
    predictor = Predictor(net, [Path(weights)], (int(height), int(width)))
    image = np.random.default_rng(0).integers(0, 256, (*map(int, image_hw), 3), np.uint8)
    predictor.label_map(image)
    print(peak_bytes())


if __name__ == '__main__':
    main(sys.argv[1:])
