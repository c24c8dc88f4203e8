"""From an image to a label map, as the authors' test.py does it: tile, forward, stitch, zoom, argmax, colorize.

A notebook needs three of these names: Predictor, colorize and dataset (tools/README.md, "From Python").
"""

from dataset_prep.datasets import dataset
from tools.inference.pictures import colorize
from tools.inference.predictor import MapPredictor, Predictor
from tools.inference.tiling import TILINGS, pad, stitch, tight_size, tile_size, tiles
from tools.inference.upsampling import argmax, zoom

__all__ = [
    'TILINGS', 'MapPredictor', 'Predictor', 'argmax', 'colorize', 'dataset', 'pad', 'stitch', 'tight_size', 'tile_size', 'tiles',
    'zoom',
]  # fmt: skip
