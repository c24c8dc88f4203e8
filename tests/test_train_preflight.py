"""What tools/train.py refuses before Caffe starts, because Caffe would abort or train on wrong data."""

import hashlib
import shutil
from dataclasses import replace

import numpy as np
import pytest

from dataset_prep import datasets
from dataset_prep.feature_sources import LmdbSource
from dataset_prep.lmdb_store import LmdbWriter, existing, read_manifest, write_manifest
from pretrained import caffemodel
from prototxt.networks import training, write
from prototxt.shapes import param_shapes
from tests.train_data import asked, begin, maps_lmdb
from tools.support.errors import UserError
from tools.training.initial import weight_files
from tools.training.preflight import check_disk, check_features_source, check_lmdb, check_weights


@pytest.fixture(scope='module')
def full_net():
    """The training net of camvid-front at full width."""
    return training('camvid-front', 'unused')


@pytest.fixture
def copies(toy_images, toy_maps, tmp_path):
    """Copies of both LMDBs that a test may change, by stage."""
    copied = zip(('toy-front', 'toy-basic'), (toy_images, toy_maps), strict=True)
    return {stage: shutil.copytree(lmdb, tmp_path / stage) for stage, lmdb in copied}


def test_fitting_lmdbs_pass(toy_images, toy_maps):
    """Images with the largest crop that fits, and stored maps."""
    assert check_lmdb(asked('toy-front', '--lmdb', toy_images, '--crop-size', 412))['kind'] == 'images'
    assert check_lmdb(asked('toy-basic', '--lmdb', toy_maps))['blob'] == 'final'


def test_an_lmdb_that_lacks_images_says_so(copies, capsys):
    """A line names the number of missing images; for a complete LMDB nothing is printed."""
    lmdb = copies['toy-front']
    words = asked('toy-front', '--lmdb', lmdb, '--crop-size', 412)
    check_lmdb(words)
    assert not capsys.readouterr().err
    write_manifest(lmdb, read_manifest(lmdb) | {'left_out': 2})
    check_lmdb(words)
    assert f'{lmdb} lacks 2 of 8 images' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'changes', 'fault'),
    [
        ('toy-front', {'dataset': 'camvid'}, 'dataset camvid, stage toy-front needs toy'),
        ('toy-front', {'kind': 'features'}, 'kind features, stage toy-front needs images'),
        ('toy-front', {'split': 'val'}, 'split val, stage toy-front needs train'),
        ('toy-front', {'margin_px': 100}, 'margin_px 100, stage toy-front needs 186'),
        ('toy-front --crop-size 420', {}, 'smallest image side has 412 pixels, but crop_size is 420'),  # Caffe would abort
        ('toy-front --crop-size 410', {}, 'the nearest that fit are 404 and 412'),  # 372 + 8 n
        ('toy-basic', {'kind': 'images'}, 'kind images, stage toy-basic needs features'),
        ('toy-basic', {'split': 'val'}, 'split val, stage toy-basic needs train'),
        ('toy-basic', {'classes': 11}, 'classes 11, stage toy-basic needs 7'),
        ('toy-basic', {'blob': 'conv5_3'}, 'blob conv5_3, stage toy-basic needs final'),
        ('toy-basic', {'channels': 12}, 'channels 12, stage toy-basic needs 8'),
        ('toy-basic', {'label_stride': 1}, 'label_stride 1, stage toy-basic needs 8'),
        ('toy-basic --upsample-loss', {}, 'label_stride 8, stage toy-basic needs 1'),
        ('toy-basic', {'mirror': True}, 'mirror True, stage toy-basic needs False'),
    ],
)
def test_lmdb_that_does_not_fit_the_stage(copies, words, changes, fault):
    """The message names both values, whichever fact of the manifest differs."""
    stage, *options = words.split()
    lmdb = copies[stage]
    write_manifest(lmdb, read_manifest(lmdb) | changes)
    with pytest.raises(UserError, match=fault):
        check_lmdb(asked(stage, '--lmdb', lmdb, *options))


def test_lmdb_of_an_earlier_version(copies):
    """Its manifest lacks the hashes of its files; the message names the command that makes it anew."""
    lmdb = copies['toy-front']
    manifest = read_manifest(lmdb)
    del manifest['files_sha256']
    write_manifest(lmdb, manifest)
    with pytest.raises(UserError, match='an earlier version of this toolkit .*no files_sha256.*; run: make lmdb-toy'):
        check_lmdb(asked('toy-front', '--lmdb', lmdb))


@pytest.mark.parametrize('label', [7, 254])
def test_label_that_is_not_a_class(tmp_path, label):
    """Caffe would read beyond the scores; the message names the record."""
    with pytest.raises(UserError, match=rf'record r\d has label {label}; toy uses 0-6, and 255 to ignore'):
        check_lmdb(asked('toy-basic', '--lmdb', maps_lmdb(tmp_path, top_label=label)))


def test_ignored_label_passes(tmp_path):
    """255 is not a class, but allowed."""
    assert check_lmdb(asked('toy-basic', '--lmdb', maps_lmdb(tmp_path, top_label=255)))


@pytest.mark.parametrize(
    ('stage', 'command'),
    [
        ('toy-front', 'make lmdb-toy'),
        ('camvid-front', 'make lmdb-camvid DATA=FOLDER'),
        ('voc-fcn32s', 'make lmdb-voc DATA=FOLDER CROP_SIZE=884'),
        ('camvid-cpu-basic', 'make camvid-cpu DATA=FOLDER'),
        ('camvid-night-front', 'make camvid-night DATA=FOLDER'),
        ('toy-large', 'make train-toy-large CHAIN=1, which makes what it starts from too'),
        # The recipes and the demo make maps of their own images only.
        ('camvid-cpu-front@mine', 'make train-camvid-cpu-front DATASET=mine CHAIN=1, which makes what it starts from too'),
        ('toy-basic@mine', 'make train-toy-basic DATASET=mine CHAIN=1, which makes what it starts from too'),
        ('toy-front@mine', 'make lmdb-custom NAME=mine DATA=FOLDER CLASSES=FILE CROP_SIZE=564'),
    ],
)
def test_missing_data_names_the_command_that_makes_it(tmp_path, monkeypatch, stage, command):
    """The complete command, and the one that stores maps if only they are missing."""
    monkeypatch.setitem(datasets._own, 'mine', replace(datasets.dataset('toy'), name='mine'))
    with pytest.raises(UserError, match=f'run: {command}(; or .* --split train)?$'):
        check_lmdb(asked(stage, '--lmdb', tmp_path / 'none'))


def test_lmdb_that_does_not_open(copies):
    """Caffe would abort at MDB_CHECK."""
    lmdb = copies['toy-basic']
    (lmdb / 'lock.mdb').unlink(missing_ok=True)
    (lmdb / 'lock.mdb').mkdir()
    with pytest.raises(UserError, match='cannot be opened'):
        check_lmdb(asked('toy-basic', '--lmdb', lmdb))


@pytest.mark.parametrize(
    ('damage', 'fault'),
    [
        (lambda whole: whole[:-1], 'data.mdb is cut off: it has .* bytes of .*; copy it again'),  # Caffe and Python: Bus error
        (lambda whole: whole[:8192] + bytes(range(256)) * 32 + whole[16384:], 'cannot be read .*; copy it again'),
        (lambda _whole: b'hello', 'not an LMDB file.*; copy it again'),
    ],
)
def test_lmdb_that_is_damaged(copies, damage, fault):
    """Cut off, overwritten in the pages of its keys, or not an LMDB: the message does not blame the lock."""
    lmdb = copies['toy-front']
    (lmdb / 'data.mdb').write_bytes(damage((lmdb / 'data.mdb').read_bytes()))
    for use in (lambda: check_lmdb(asked('toy-front', '--lmdb', lmdb, '--crop-size', 412)), lambda: LmdbSource(lmdb, None)):
        with pytest.raises(UserError, match=fault):
            use()


def test_writing_does_not_continue_an_lmdb_that_is_cut_off(toy_images, copies):
    """It does not count as written, and a writer refuses it: reading its first record would kill the process."""
    lmdb = copies['toy-front']
    (lmdb / 'data.mdb').write_bytes((lmdb / 'data.mdb').read_bytes()[:20000])
    assert existing(toy_images, {}) and existing(lmdb, {}) is None
    with pytest.raises(UserError, match='data.mdb is cut off'):
        LmdbWriter(lmdb)


def weights_of(net, path, *, without=(), more=None):
    """A caffemodel with zeros for all layers of a net except `without`, and with the layers `more`."""
    shapes = {layer: shape for layer, shape in param_shapes(net).items() if layer not in without}
    zeros = {layer: [np.zeros(side, np.float32) for side in shape] for layer, shape in shapes.items()}
    caffemodel.write(path, zeros | (more or {}))
    return path


DEEPER = {f'conv{group}_4': [np.zeros((9, 9, 3, 3)), np.zeros(9)] for group in (3, 4, 5)}
NOT_FINITE = {'conv4_2': [np.zeros((512, 512, 3, 3), np.float32), np.full(512, np.inf, np.float32)]}


@pytest.mark.parametrize(
    ('without', 'more', 'words', 'fault'),
    [
        (('fc6', 'fc7', 'final'), {}, (), r'no fc6 and fc7; put .*run make weights-vgg16, or .*RANDOM_FC=1 .*--random-fc'),
        (('fc6', 'fc7', 'final', 'conv4_2'), {}, ('--random-fc',), 'no weights for conv4_2'),
        (('final',), DEEPER, ('--weights', 'w'), 'left over: conv3_4, conv4_4, conv5_4, which no network here has'),  # VGG-19
        (('final',), NOT_FINITE, ('--weights', 'w'), r'w\.caffemodel: values that are not finite in conv4_2;'),
    ],
)
def test_weights_that_are_refused(full_net, tmp_path, without, more, words, fault):
    """A layer has no starting values, belongs to no network, or holds numbers that are not finite."""
    path = weights_of(full_net, tmp_path / 'w.caffemodel', without=without, more=more)
    with pytest.raises(UserError, match=fault):
        check_weights(asked('camvid-front', *words), full_net, [path])


def test_convolutions_alone_train_with_random_fc(full_net, tmp_path):
    """This is the second remedy that the message names for VGG-16 without fc6 and fc7."""
    path = weights_of(full_net, tmp_path / 'vgg16.caffemodel', without=('fc6', 'fc7', 'final'))
    check_weights(asked('camvid-front', '--random-fc'), full_net, [path])


def test_layers_of_another_network_are_named_and_not_used(full_net, tmp_path, capsys):
    """The front end of a trained network is a good start; its other layers are ignored with a message."""
    more = {'ctx_final': [np.zeros((11, 11, 1, 1))], 'fc8-SEC': [np.zeros((21, 4096, 1, 1))]}
    path = weights_of(full_net, tmp_path / 'joint.caffemodel', more=more)
    check_weights(asked('camvid-front', '--weights', path), full_net, [path])
    assert f'{path}: not used: ctx_final, fc8-SEC, which front_camvid does not have' in capsys.readouterr().err


def test_random_fc_is_refused_if_fc6_and_fc7_do_not_need_it():
    """The toy front end starts all its layers from fillers."""
    with pytest.raises(UserError, match='already have starting values'):
        check_weights(asked('toy-front', '--random-fc'), training('toy-front', 'unused'), [])


def test_weights_with_a_comma(tmp_path):
    """Caffe would read the path as two files."""
    path = tmp_path / 'a,b.caffemodel'
    path.touch()
    with pytest.raises(UserError, match='splits --weights at commas'):
        weight_files(asked('toy-basic', '--weights', path), tmp_path)


def test_stage_to_start_from_was_not_run(tmp_path):
    """The message names the command that makes its weights."""
    (tmp_path / 'camvid-front').mkdir()
    with pytest.raises(UserError, match=r'run: python3 tools/train\.py camvid-front'):
        weight_files(asked('camvid-joint', '--run-dir', tmp_path / 'joint'), tmp_path)


def test_identity_is_written_to_the_folder(tmp_path):
    """The file holds all layers of the context module, and no others."""
    (path,) = weight_files(asked('toy-basic'), tmp_path)
    assert path.parent == tmp_path
    assert caffemodel.load(path).keys() == param_shapes(training('toy-basic', 'unused')).keys()


def test_maps_of_other_weights(toy_maps, tmp_path):
    """Maps must come from the newest snapshot of the stage that the row names, if that stage has one."""
    net, run_dir = training('toy-front', 'unused'), tmp_path / 'toy-front'
    settings = asked('toy-basic', '--lmdb', toy_maps, '--run-dir', tmp_path / 'toy-basic')
    write(net, run_dir / 'train.prototxt')
    check_features_source(settings, {'weights_sha256': 'anything, as there is no snapshot'})
    snapshot = weights_of(net, run_dir / 'toy-front_iter_3.caffemodel')
    check_features_source(settings, {'weights_sha256': hashlib.sha256(snapshot.read_bytes()).hexdigest()})
    with pytest.raises(UserError, match=r'was not made with .*toy-front_iter_3\.caffemodel'):
        check_features_source(settings, read_manifest(toy_maps))


def test_disk_without_room(tmp_path):
    """10^12 snapshots of 64 x 7^2 + 8 x 7 = 3,192 weights and, for Adam, twice as many momenta, of 4 bytes each."""
    net = training('toy-basic', 'unused')
    check_disk(asked('toy-basic', '--run-dir', tmp_path), net)
    with pytest.raises(UserError, match=r'need 38304000\.0 GB more'):
        check_disk(asked('toy-basic', '--run-dir', tmp_path, '--keep', 10**12 - 1), net)


def test_refusal_is_one_line(tmp_path):
    """tools/train.py exits with status 1, prints one line and leaves no run folder."""
    process = begin('toy-basic', '--lmdb', maps_lmdb(tmp_path, top_label=9), '--run-dir', tmp_path / 'run')
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, '')
    assert err.startswith('error: ') and err.count('\n') == 1
    assert not (tmp_path / 'run').exists()
