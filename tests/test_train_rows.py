"""Each row of the table of stages trains on stock Caffe, by its command, at its own crop and with few channels."""

import numpy as np
import pytest

from dataset_prep.datasets import dataset
from dataset_prep.order import shuffled
from pretrained import caffemodel
from prototxt.experiments import NETS, STAGES
from prototxt.networks import training
from prototxt.shapes import param_shapes, pixels_of
from tests.narrow_nets import map_hw, random_labels
from tests.stored_maps import write_features, write_images_beside
from tests.train_data import finish, images_lmdb, iterations
from tools.training.snapshots import snapshots

IDENTITY_ONLY = ('identity',)
WITH_CRF_RNN = [name for name, stage in STAGES.items() if NETS[stage.net].crf_rnn]
SLOW = [name for name in WITH_CRF_RNN if name not in ('voc-front-crfrnn', 'camvid-cpu-basic-crfrnn')]
ROWS = [name for name in STAGES if name not in SLOW]  # ten seconds each; test_crf_rnn_stages.py trains them


def stage_lmdb(name, folder):
    """An LMDB that fits the row: images or stored maps, with its data set, crop and blob."""
    stage = STAGES[name]
    facts = dataset(NETS[stage.net].dataset)
    if stage.start == 'data':
        return images_lmdb(folder, stage.crop_size, facts.name, split=stage.split or facts.train, count=1)
    random, net = np.random.default_rng(0), training(name, 'unused')
    channels = next(layer.slice_param.slice_point[0] for layer in net.layer if layer.type == 'Slice')
    planes = (8 // stage.stored_label_stride) ** 2
    maps = random.normal(0, 1, (channels, *map_hw(stage))).astype(np.float32)
    labels = random_labels(random, (planes, *map_hw(stage)), facts.num_classes).astype(np.uint8)
    said = {'dataset': facts.name, 'classes': facts.num_classes, 'blob': stage.start, 'split': facts.train}
    said |= {'label_stride': stage.stored_label_stride, 'mirror': stage.mirror, 'weights': 'of no file'}
    rows = [(name, maps, labels[0] if planes == 1 else labels) for name in shuffled(['r0', 'r1'], 1)]
    write_features(folder / 'maps', rows, said)
    if stage.beside_images:
        size_hw = pixels_of(stage.start, map_hw(stage))
        write_images_beside(folder / 'maps', size_hw, dataset=facts.name, split=facts.train, classes=facts.num_classes)
    return folder / 'maps'


def start_weights(name, folder):
    """--weights with random values, if the row starts from files that do not exist here; else no options."""
    stage = STAGES[name]
    if not stage.init or stage.init == IDENTITY_ONLY:
        return ()
    random, shapes = np.random.default_rng(1), param_shapes(training(name, 'unused'))
    blobs = {layer: [random.normal(0, 0.1, shape).astype(np.float32) for shape in found] for layer, found in shapes.items()}
    for layer in stage.fresh:
        del blobs[layer]
    caffemodel.write(folder / 'start.caffemodel', blobs)
    return '--weights', folder / 'start.caffemodel'


@pytest.mark.parametrize('name', ROWS)
def test_row_trains(name, narrow_nets, tmp_path, monkeypatch, capsys):
    """One iteration on one image writes a snapshot of all layers; frozen layers are unchanged."""
    monkeypatch.setattr('pretrained.weights.PRETRAINED', tmp_path)  # else VGG-16 there would count as the maker of the maps
    lmdb, run_dir = stage_lmdb(name, tmp_path), tmp_path / 'runs' / name
    words, start = ('--lmdb', lmdb, '--run-dir', run_dir, '--iters', 1, '--batch', 1), start_weights(name, tmp_path)
    finish(name, *words, *start)
    assert iterations(run_dir) == [0]
    (snapshot,) = snapshots(run_dir)
    held = caffemodel.load(snapshot.caffemodel)
    assert held.keys() == param_shapes(training(name, 'unused')).keys()
    frozen, began = {layer: held[layer] for layer in STAGES[name].frozen}, caffemodel.load(start[1]) if start else {}
    assert all((now == then).all() for layer in frozen for now, then in zip(frozen[layer], began[layer], strict=True))
