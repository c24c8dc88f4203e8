"""Options of a stage on stock Caffe: the loss on all pixels, reflection, your own data, layers that start anew."""

import os
import re
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from dataset_prep import toy
from dataset_prep.datasets import Dataset, keep_own
from dataset_prep.lmdb_writer import iterate
from pretrained import caffemodel
from pretrained.identity import identity_weights
from prototxt.experiments import NETS, STAGES
from prototxt.networks import evaluation, training, write
from tests.port_files import as_caffes_hdf5
from tests.toy_nets import random_weights
from tests.train_data import asked, finish, images_lmdb, losses
from tools.support.errors import UserError
from tools.support.paths import CAFFE
from tools.training.initial import weight_files, without_fresh
from tools.training.preflight import check_weights
from tools.training.session import train

FRUIT = Dataset('fruit', ('apple', 'pear', 'fig'), ((0, 0, 0), (255, 0, 0), (0, 255, 0)), (120.0, 121.0, 122.0), {'train': 4})


def cross_entropy(scores, label) -> float:
    """Mean of -log softmax at the label; scores (C, h, w), label (h, w)."""
    log_softmax = scores - np.log(np.exp(scores).sum(axis=0))
    return -np.take_along_axis(log_softmax, label[None], axis=0).mean()


def test_upsampled_loss_on_images(toy_images, tmp_path):
    """--upsample-loss trains on the labels of all pixels; the run cannot continue without it."""
    words = ('toy-front', '--lmdb', toy_images, '--run-dir', tmp_path / 'run', '--crop-size', 380, '--iters', 2)
    finish(*words, '--upsample-loss')
    assert losses(tmp_path / 'run')[0] == pytest.approx(np.log(7), abs=0.1)
    assert 'upsample' in (tmp_path / 'run' / 'train.prototxt').read_text()
    with pytest.raises(UserError, match='upsample_loss True, but this command asks for False'):
        train(asked(*words, '--iters', 3))


def test_reflection_in_stock_caffe(basic, toy_maps, tmp_path, monkeypatch):
    """The program `caffe` finds the Python layer. The module starts as the identity, so the first loss is that of its input."""
    monkeypatch.setitem(NETS, 'basic_toy', replace(NETS['basic_toy'], context=replace(NETS['basic_toy'].context, pad='reflect')))
    finish(*basic, '--iters', 1)
    assert 'ReflectPad' in (tmp_path / 'run' / 'train.prototxt').read_text()
    passed_on = np.mean([cross_entropy(np.maximum(record[:7], 0), record[7].astype(int)) for _, record in iterate(toy_maps)])
    assert losses(tmp_path / 'run') == [pytest.approx(passed_on, rel=0.02)]


@pytest.fixture
def fruit_words(tmp_path):
    """The words of a command that trains toy-front@fruit on noise with three classes."""
    keep_own(FRUIT)
    return 'toy-front@fruit', '--lmdb', images_lmdb(tmp_path, name='fruit'), '--run-dir', tmp_path / 'run', '--crop-size', 380


def test_own_data(fruit_words, tmp_path):
    """The stage is its row with the classes of fruit."""
    settings = asked(*fruit_words, '--iters', 2)
    assert settings.stage == replace(STAGES['toy-front@fruit'], crop_size=380, max_iter=2)
    assert train(settings) == 0
    assert losses(tmp_path / 'run')[0] == pytest.approx(np.log(3), abs=0.1)


@pytest.mark.parametrize('form', ['caffemodel', 'caffemodel.h5'])
def test_layers_start_anew_for_other_classes(fruit_words, tmp_path, form):
    """Weights of seven classes, also in Caffe's HDF5: the message names --fresh, which works and keeps the other layers.

    The single iteration has a learning rate of 1e-12, so the snapshot holds the starting values.
    """
    path = random_weights('front_toy', tmp_path / 'seven.caffemodel')
    seven = caffemodel.load(path)
    if form == 'caffemodel.h5':
        path = tmp_path / 'seven.caffemodel.h5'
        as_caffes_hdf5(seven, path)
    words = (*fruit_words, '--iters', 1, '--base-lr', 1e-12, '--weights', path)
    with pytest.raises(UserError, match=r'layer final has .*FRESH=final with make \(--fresh final\)$'):
        train(asked(*words))
    finish(*words, '--fresh', 'final')
    (made,) = (tmp_path / 'run').glob('*_iter_1.caffemodel')
    found = caffemodel.load(made)
    assert found['final'][0].shape == (3, 96, 1, 1) and found['final'][0].std() > 0
    for name in seven.keys() - {'final'}:
        assert np.allclose(found[name][0], seven[name][0], atol=1e-6), name


def test_a_context_module_that_starts_anew_is_the_identity(tmp_path):
    """The message names all layers that depend on the number of classes; ctx_* selects the whole module."""
    keep_own(FRUIT)
    path = random_weights('basic_toy', tmp_path / 'seven.caffemodel')
    net = training('toy-basic@fruit', 'unused')
    with pytest.raises(UserError, match='FRESH=ctx_conv1_1,ctx_conv1_2,.*,ctx_fc1,ctx_final with make'):
        check_weights(asked('toy-basic@fruit', '--weights', path), net, [path])
    settings = asked('toy-basic@fruit', '--weights', path, '--fresh', 'final ctx_*')
    files = weight_files(settings, tmp_path)
    check_weights(replace(settings, fresh=settings.fresh[1:]), net, files)
    kept, made = without_fresh(settings, files, tmp_path)
    assert not any(name.startswith('ctx_') or name == 'final' for name in caffemodel.load(kept))
    assert caffemodel.load(made).keys() == identity_weights('basic_toy@fruit').keys()
    assert caffemodel.load(made)['ctx_final'][0].shape == (3, 3, 1, 1)


def test_test_net_runs_in_the_program_caffe(tmp_path):
    """`caffe test` reads test.prototxt, trained weights and the LMDB of --val-lmdb, and prints loss and accuracy."""
    toy.main(['--out', str(tmp_path), '--train', '2', '--val', '2', '--test', '1', '--crop-size', '564', '--val-lmdb'])
    finish('toy-front', '--lmdb', tmp_path / 'train_564', '--run-dir', tmp_path / 'run', '--iters', 1)
    write(evaluation('toy-front', str(tmp_path / 'val_564')), tmp_path / 'test.prototxt')
    (made,) = (tmp_path / 'run').glob('*_iter_1.caffemodel')
    command = [CAFFE, 'test', '-model', tmp_path / 'test.prototxt', '-weights', made, '-iterations', '1']
    log = {'GLOG_logtostderr': '1', 'GLOG_minloglevel': '0'}  # pycaffe asks for less
    said = subprocess.run(command, env=os.environ | log, capture_output=True, text=True, check=True).stderr
    values = {name: float(value) for name, value in re.findall(r'\] (accuracy|loss) = (\S+)', said)}
    assert values['loss'] == pytest.approx(np.log(7), abs=0.5) and 0 <= values['accuracy'] <= 1
