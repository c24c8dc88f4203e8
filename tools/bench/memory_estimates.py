"""Compares the memory estimate with the measured peak, for large and small nets, forward and in training.

Each case runs in its own process on random weights and data: as tools/predict.py does, or `caffe train` for one iteration and a
snapshot. All take minutes, and the largest takes 6 GB.
"""

import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dataset_prep.datum import float_datum, raw_datum
from dataset_prep.lmdb_store import LmdbWriter, key
from pretrained import caffemodel
from pretrained.random_values import random_blobs
from prototxt import networks
from prototxt.experiments import NETS, STAGES
from prototxt.shapes import param_shapes
from prototxt.solver import solver
from tools.bench.stopwatch import apart
from tools.inference import Predictor
from tools.netinfo.fit import tile_memory
from tools.netinfo.memory_estimate import estimate
from tools.netinfo.setup import layers_of
from tools.netinfo.stages import label_planes
from tools.support.errors import UserError
from tools.support.memory_use import Peak
from tools.support.paths import CAFFE
from tools.training.process import start

SizeHW = tuple[int, int]
THREADS = {'OPENBLAS_NUM_THREADS': '2'}  # each thread has its own memory for packed matrices


@dataclass(frozen=True)
class Forward:
    """Labelling an image of `image_hw` in tiles of `tile_hw`."""

    net: str
    tile_hw: SizeHW
    image_hw: SizeHW

    @property
    def title(self) -> str:
        return f'`{self.net}` forward, tile {self.tile_hw[0]}x{self.tile_hw[1]}'

    def run(self, folder: Path) -> tuple[float, int]:
        """(estimate, measured peak) in bytes."""
        weights = random_weights(networks.deploy(self.net), folder / 'w.caffemodel')
        found, _ = apart(label_noise, self.net, self.tile_hw, str(weights), self.image_hw, variables=THREADS)
        need = tile_memory(self.net, weights.stat().st_size, [self.image_hw], False)
        return need(self.tile_hw), found.peak_bytes


@dataclass(frozen=True)
class Training:
    """Training a stage at a crop and batch, or on stored `maps` (channels with the label, height, width)."""

    stage: str
    crop_size: int | None
    batch: int
    maps: tuple[int, int, int] | None = None

    @property
    def title(self) -> str:
        size = f'crop {self.crop_size}' if self.crop_size else 'maps {1}x{2}'.format(*self.maps or ())
        return f'`{self.stage}` training, {size}, batch {self.batch}'

    def run(self, folder: Path) -> tuple[float, int]:
        """(estimate, measured peak of the program `caffe`) in bytes."""
        lmdb = random_lmdb(self, folder / 'lmdb')
        net = networks.training(self.stage, str(lmdb), self.crop_size, self.batch)
        networks.write(net, folder / 'train.prototxt')
        message = solver(replace(STAGES[self.stage], max_iter=1, iter_size=1), 'train.prototxt', 'snapshot')
        networks.write(message, folder / 'solver.prototxt')
        with (folder / 'log').open('wb') as log:
            child = start([str(CAFFE), 'train', '--solver', 'solver.prototxt'], folder, log, variables=THREADS)
            peak = watched_peak(child)
        if child.returncode:
            raise UserError(
                f'{self.title}: ended with status {child.returncode}: {(folder / "log").read_text().splitlines()[-1:]}'
            )
        return estimate(layers_of(net, 'train'), training=True).host, peak


CASES: dict[str, Forward | Training] = {
    'voc': Forward('dilation8_pascal_voc', (900, 900), (375, 500)),
    'small-tile': Forward('dilation8_camvid', (508, 508), (360, 480)),
    'kitti': Forward('dilation7_kitti', (852, 1640), (376, 1241)),
    'cityscapes': Forward('dilation10_cityscapes', (1396, 1396), (1024, 2048)),
    'toy': Forward('large_toy', (564, 756), (192, 384)),
    'toy-front': Training('toy-front', 564, 2),
    'toy-basic': Training('toy-basic', None, 8, (8, 64, 64)),
    'camvid-front': Training('camvid-front', 628, 1),
    'camvid-small': Training('camvid-front', 396, 1),
    'camvid-joint': Training('camvid-joint', 852, 1),
    'voc-front': Training('voc-front', 500, 2),
    'voc-basic-reflect': Training('voc-context-basic-reflect', None, 4, (22, 66, 66)),
    'voc-front-crfrnn': Training('voc-front-crfrnn', 628, 1),
    'cityscapes-context': Training('cityscapes-context', None, 1, (83, 128, 256)),
}


def label_noise(net: str, tile_hw: SizeHW, weights: str, image_hw: SizeHW) -> None:
    """Label one image as tools/predict.py does."""
    image = np.random.default_rng(0).integers(0, 256, (*image_hw, 3), np.uint8)
    own = tuple(tile_hw) == NETS[net].input_size_hw
    Predictor(net, [Path(weights)], None if own else (tile_hw[0], tile_hw[1])).label_map(image)


def watched_peak(child: subprocess.Popen) -> int:
    """The peak memory of a process in bytes; waits until it ends."""
    peak = Peak(child.pid)
    while child.poll() is None:
        peak.look()
        time.sleep(0.02)
    return peak.bytes


def random_weights(net, path: Path) -> Path:
    """Write a caffemodel with small random values for a net; returns `path`."""
    caffemodel.write(path, random_blobs(param_shapes(net)))
    return path


def random_lmdb(case: Training, path: Path) -> Path:
    """Write an LMDB of four records of noise with one label; returns `path`."""
    random = np.random.default_rng(0)
    writer = LmdbWriter(path)
    for index in range(4):
        if case.maps:
            record = random.normal(0, 1, case.maps).astype(np.float32)
            record[-label_planes(STAGES[case.stage]) :] = 1
            writer.put(key(index, 'r'), float_datum(record))
        else:
            record = random.integers(0, 256, (4, case.crop_size or 0, case.crop_size or 0), np.uint8)
            record[3] = 1
            writer.put(key(index, 'r'), raw_datum(record))
    writer.flush()
    writer.close()
    return path


def compare(names: Sequence[str] = ()) -> dict:
    """Print a table of the cases `names`, by default of all; returns the results."""
    results = {}
    print('| case | estimated | measured | difference |\n| --- | --- | --- | --- |')
    for name in names or CASES:
        with tempfile.TemporaryDirectory() as folder:
            guess, peak = CASES[name].run(Path(folder))
        print(f'| {CASES[name].title} | {guess / 1e9:.2f} GB | {peak / 1e9:.2f} GB | {guess / peak - 1:+.0%} |', flush=True)
        results[name] = {'estimated': guess, 'measured': peak}
    return results
