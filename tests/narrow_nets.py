"""The table's networks with few channels: sizes and labels are the same, and a crop of 1396 takes a second. Data for them."""

from pathlib import Path

import lmdb
import numpy as np
from google.protobuf import text_format

from dataset_prep.datasets import IGNORE_LABEL, dataset
from pretrained import caffemodel
from pretrained.identity import identity_weights
from prototxt.experiments import NETS, STAGES, Stage
from prototxt.front_end import start_channels
from prototxt.lmdb_names import whole_images_of
from prototxt.networks import training, write
from prototxt.shapes import SHRINK, STRIDE, pixels_of
from tools.support.caffe_import import import_caffe

caffe = import_caffe()
CELLS_HW = (5, 6)  # of stored maps
WIDTH = 6  # with 3, the ReLUs of a whole layer may all be shut


def parsed(text: str):
    """A NetParameter from the text of a prototxt."""
    return text_format.Parse(text, caffe.proto.caffe_pb2.NetParameter())


def write_datums(path: Path, arrays) -> Path:
    """Write an LMDB of uint8 (C, H, W) or float (C, h, w) arrays; returns `path`."""
    with lmdb.open(str(path), map_size=2**28) as env, env.begin(write=True) as txn:
        for i, array in enumerate(arrays):
            txn.put(f'{i:08d}'.encode(), caffe.io.array_to_datum(array).SerializeToString())
    return path


def stage_data(stage: Stage, path: Path, label_stride: int, crop_size: int | None) -> Path:
    """Write an LMDB with one record of noise and random labels for a stage, and the images if it reads any; returns `path`."""
    rng, classes = np.random.default_rng(0), dataset(NETS[stage.net].dataset).num_classes
    if stage.start == 'data':
        pair = rng.integers(0, 256, (4, crop_size, crop_size), np.uint8)
        pair[3] = random_labels(rng, pair.shape[1:], classes)
        return write_datums(path, [pair])
    if stage.beside_images:
        label_stride, facts = STRIDE, dataset(NETS[stage.net].dataset)
        for split in (facts.train, facts.val):
            pair = random_labels(rng, (4, *pixels_of(stage.start, map_hw(stage))), classes).astype(np.uint8)
            write_datums(path.with_name(whole_images_of(split)), [pair])
    maps = rng.normal(0, 0.01, (start_channels(NETS[stage.net].front_end, stage.start, classes), *map_hw(stage)))
    labels = random_labels(rng, ((STRIDE // label_stride) ** 2, *map_hw(stage)), classes)
    return write_datums(path, [np.concatenate([maps, labels]).astype(float)])


def random_labels(rng: np.random.Generator, shape, classes: int) -> np.ndarray:
    """Labels of which about a tenth are to be ignored."""
    return np.where(rng.random(shape) < 0.1, IGNORE_LABEL, rng.integers(0, classes, shape))


def map_hw(stage: Stage) -> tuple[int, int]:
    """(height, width) of the maps that stage_data stores, with the border that the layers after them remove."""
    border = {'conv5_3': 24, 'pool3': 42}.get(stage.start, 0)  # 7x7 dilated by 4; and conv4 3 x 2, conv5 3 x 4
    return CELLS_HW[0] + border, CELLS_HW[1] + border


def score_cells(stage: Stage, crop_size: int | None) -> tuple[int, int]:
    """(height, width) of the scores for stage_data, by the paper's arithmetic."""
    return ((crop_size - SHRINK) // STRIDE,) * 2 if crop_size else CELLS_HW


def fresh_net(name: str, source: Path, folder: Path, build=training, phase=caffe.TRAIN, **options):
    """A real Caffe net of a stage. Its context module starts at the identity, all else from its fillers."""
    row = NETS[STAGES[name].net]
    write(build(name, str(source), **options), folder / 'net.prototxt')
    caffe.set_random_seed(1)
    net = caffe.Net(str(folder / 'net.prototxt'), phase)
    if row.context:
        caffemodel.write(folder / 'identity.caffemodel', identity_weights(STAGES[name].net))
        net.copy_from(str(folder / 'identity.caffemodel'))
    return net
