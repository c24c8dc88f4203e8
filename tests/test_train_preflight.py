"""What tools/train.py refuses before Caffe starts, because Caffe would abort or train on wrong data."""

import hashlib
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from dataset_prep import datasets
from dataset_prep.feature_sources import LmdbSource
from dataset_prep.lmdb_store import LmdbWriter, existing
from dataset_prep.lmdb_writer import read_manifest
from pretrained import caffemodel
from prototxt.networks import training, write
from prototxt.shapes import param_shapes
from tests.train_data import asked, begin, images_lmdb, maps_lmdb
from tools.support.errors import UserError
from tools.training.initial import weight_files
from tools.training.preflight import check_disk, check_features_source, check_lmdb, check_weights
from tools.training.session import train


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """An LMDB of images whose shortest side is 412."""
    return images_lmdb(tmp_path_factory.mktemp('images'))


@pytest.fixture(scope='module')
def full_net():
    """The front end for CamVid at full width, as trained."""
    return training('camvid-front', 'unused')


def manifest_says(lmdb, **changes):
    """Change an LMDB's manifest."""
    path = lmdb / 'manifest.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_fitting_lmdbs_pass(images, tmp_path):
    """Images with the largest crop that fits, and stored maps."""
    assert check_lmdb(asked('toy-front', '--lmdb', images, '--crop-size', 412))['kind'] == 'images'
    assert check_lmdb(asked('toy-basic', '--lmdb', maps_lmdb(tmp_path)))['blob'] == 'final'


def test_an_lmdb_that_lacks_images_says_so(images, tmp_path, capsys):
    """A line names the number of missing images; for a complete LMDB nothing is printed."""
    lmdb = shutil.copytree(images, tmp_path / 'part')
    manifest_says(lmdb, left_out=2)
    check_lmdb(asked('toy-front', '--lmdb', images, '--crop-size', 412))
    assert not capsys.readouterr().err
    check_lmdb(asked('toy-front', '--lmdb', lmdb, '--crop-size', 412))
    assert f'{lmdb} lacks 2 of {read_manifest(lmdb)["count"] + 2} images' in capsys.readouterr().err


def test_missing_lmdb_names_the_command(tmp_path):
    """The command that makes it."""
    with pytest.raises(UserError, match='run: make lmdb-toy'):
        check_lmdb(asked('toy-front', '--lmdb', tmp_path / 'none'))


@pytest.mark.parametrize(
    ('stage', 'fault'),
    [
        ('camvid-front', 'dataset toy, stage camvid-front needs camvid'),
        ('toy-basic', 'kind images, stage toy-basic needs features'),
    ],
)
def test_lmdb_of_another_kind(images, stage, fault):
    """The message names both values."""
    with pytest.raises(UserError, match=fault):
        check_lmdb(asked(stage, '--lmdb', images))


@pytest.mark.parametrize(
    ('changes', 'fault'),
    [
        ({'classes': 11}, 'classes 11, stage toy-basic needs 7'),
        ({'blob': 'conv5_3'}, 'blob conv5_3, stage toy-basic needs final'),
        ({'channels': 12}, 'channels 12, stage toy-basic needs 8'),
        ({'label_stride': 1}, 'label_stride 1, stage toy-basic needs 8'),
        ({'mirror': True}, 'mirror True, stage toy-basic needs False'),
    ],
)
def test_maps_that_do_not_fit(tmp_path, changes, fault):
    """The message names both values, whichever fact of the manifest differs."""
    lmdb = maps_lmdb(tmp_path)
    manifest_says(lmdb, **changes)
    with pytest.raises(UserError, match=fault):
        check_lmdb(asked('toy-basic', '--lmdb', lmdb))


def test_images_with_another_margin(images, tmp_path):
    """The front end takes off 186 pixels at each side, so no other margin fits."""
    lmdb = shutil.copytree(images, tmp_path / 'copy')
    manifest_says(lmdb, margin_px=100)
    with pytest.raises(UserError, match='margin_px 100, stage toy-front needs 186'):
        check_lmdb(asked('toy-front', '--lmdb', lmdb))


def test_lmdb_of_an_earlier_version(images, tmp_path):
    """Its manifest lacks the hashes of its files; the message names the command that makes it anew."""
    lmdb = shutil.copytree(images, tmp_path / 'copy')
    manifest = json.loads((lmdb / 'manifest.json').read_text())
    del manifest['files_sha256']
    (lmdb / 'manifest.json').write_text(json.dumps(manifest))
    with pytest.raises(UserError, match='an earlier version of this toolkit .*no files_sha256.*; run: make lmdb-toy'):
        check_lmdb(asked('toy-front', '--lmdb', lmdb))


def test_crop_larger_than_the_images(images):
    """Caffe would abort at CHECK_GE(datum_height, crop_size)."""
    with pytest.raises(UserError, match='smallest image side has 412 pixels, but crop_size is 420'):
        check_lmdb(asked('toy-front', '--lmdb', images, '--crop-size', 420))


def test_crop_that_is_not_a_whole_number_of_cells(images):
    """Crop sizes are 372 + 8 n."""
    with pytest.raises(UserError, match='the nearest that work are 404 and 412'):
        check_lmdb(asked('toy-front', '--lmdb', images, '--crop-size', 410))


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
        ('camvid-front', 'make lmdb-camvid DATA=FOLDER'),
        ('voc-fcn32s', 'make lmdb-voc DATA=FOLDER CROP_SIZE=884'),
        ('camvid-cpu-basic', 'make camvid-cpu DATA=FOLDER'),
        ('camvid-night-front', 'make camvid-night DATA=FOLDER'),
        ('toy-large', 'make train-toy-large CHAIN=1, which makes what it starts from too'),
    ],
)
def test_missing_data_names_the_command_that_makes_it(tmp_path, stage, command):
    """The message ends with the complete command."""
    with pytest.raises(UserError, match=f'run: {command}$'):
        check_lmdb(asked(stage, '--lmdb', tmp_path / 'none'))


@pytest.mark.parametrize(
    ('stage', 'command'),
    [
        ('camvid-cpu-front@mine', 'make train-camvid-cpu-front DATASET=mine CHAIN=1'),
        ('toy-basic@mine', 'make train-toy-basic DATASET=mine CHAIN=1'),
        ('toy-front@mine', 'make lmdb-custom NAME=mine DATA=FOLDER CLASSES=FILE CROP_SIZE=564'),
    ],
)
def test_missing_own_data_does_not_name_the_command_of_another_data_set(tmp_path, monkeypatch, stage, command):
    """The recipes and the demo only make maps of their own images."""
    monkeypatch.setitem(datasets._own, 'mine', replace(datasets.dataset('toy'), name='mine'))
    with pytest.raises(UserError, match=f'run: {command}(, which makes what it starts from too|$)'):
        check_lmdb(asked(stage, '--lmdb', tmp_path / 'none'))


@pytest.mark.parametrize('kind', ['maps', 'images'])
def test_data_of_another_split(tmp_path, kind):
    """Training on validation images would spoil every later test of the network."""
    lmdb, stage = (maps_lmdb, 'toy-basic') if kind == 'maps' else (images_lmdb, 'toy-front')
    with pytest.raises(UserError, match=f'has split val, stage {stage} needs train'):
        check_lmdb(asked(stage, '--lmdb', lmdb(tmp_path, split='val')))


def test_lmdb_that_does_not_open(tmp_path):
    """Caffe would abort at MDB_CHECK."""
    lmdb = maps_lmdb(tmp_path)
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
def test_lmdb_that_is_damaged(images, tmp_path, damage, fault):
    """Cut off, overwritten in the pages of its keys, or not an LMDB: the message does not blame the lock."""
    lmdb = shutil.copytree(images, tmp_path / 'images')
    (lmdb / 'data.mdb').write_bytes(damage((lmdb / 'data.mdb').read_bytes()))
    for use in (lambda: check_lmdb(asked('toy-front', '--lmdb', lmdb, '--crop-size', 412)), lambda: LmdbSource(lmdb, None)):
        with pytest.raises(UserError, match=fault):
            use()


def test_writing_does_not_continue_an_lmdb_that_is_cut_off(images, tmp_path):
    """It does not count as written, and a writer refuses it: reading its first record would kill the process."""
    lmdb = shutil.copytree(images, tmp_path / 'images')
    (lmdb / 'data.mdb').write_bytes((lmdb / 'data.mdb').read_bytes()[:20000])
    assert existing(images, {}) and existing(lmdb, {}) is None
    with pytest.raises(UserError, match='data.mdb is cut off'):
        LmdbWriter(lmdb)


def weights_of(net, path, *, without):
    """A caffemodel with zeros for all layers of a net except `without`."""
    shapes = {layer: shape for layer, shape in param_shapes(net).items() if layer not in without}
    caffemodel.write(path, {layer: [np.zeros(side, np.float32) for side in shape] for layer, shape in shapes.items()})
    return path


def test_convolutions_alone_need_random_fc(full_net, tmp_path):
    """VGG-16 without fc6 and fc7: the message names two remedies, and the second one works."""
    path = weights_of(full_net, tmp_path / 'vgg16.caffemodel', without=('fc6', 'fc7', 'final'))
    with pytest.raises(UserError, match=r'no fc6 and fc7; put .*run make weights-vgg16, or .*RANDOM_FC=1 .*--random-fc'):
        check_weights(asked('camvid-front'), full_net, [path])
    check_weights(asked('camvid-front', '--random-fc'), full_net, [path])


def test_layer_without_starting_values_is_named(full_net, tmp_path):
    """No file holds the layer, and it is not fresh."""
    path = weights_of(full_net, tmp_path / 'part.caffemodel', without=('fc6', 'fc7', 'final', 'conv4_2'))
    with pytest.raises(UserError, match='no weights for conv4_2'):
        check_weights(asked('camvid-front', '--random-fc'), full_net, [path])


def test_weights_of_another_depth_are_refused(full_net, tmp_path):
    """VGG-19 holds every layer of the net in its shape, and three that no network here has."""
    path = weights_of(full_net, tmp_path / 'vgg19.caffemodel', without=('final',))
    more = {f'conv{group}_4': [np.zeros((9, 9, 3, 3)), np.zeros(9)] for group in (3, 4, 5)}
    caffemodel.write(path, caffemodel.load(path) | more)
    with pytest.raises(UserError, match=r'left over: conv3_4, conv4_4, conv5_4, which no network here has'):
        check_weights(asked('camvid-front', '--weights', path), full_net, [path])


def test_layers_of_another_network_are_named_and_not_used(full_net, tmp_path, capsys):
    """The front end of a trained network is a good start; its other layers are ignored with a message."""
    path = weights_of(full_net, tmp_path / 'joint.caffemodel', without=())
    caffemodel.write(
        path, caffemodel.load(path) | {'ctx_final': [np.zeros((11, 11, 1, 1))], 'fc8-SEC': [np.zeros((21, 4096, 1, 1))]}
    )
    check_weights(asked('camvid-front', '--weights', path), full_net, [path])
    assert f'{path}: not used: ctx_final, fc8-SEC, which front_camvid does not have' in capsys.readouterr().err


def test_weights_that_are_not_finite_are_refused(full_net, tmp_path):
    """The message names file and layer."""
    path = weights_of(full_net, tmp_path / 'w.caffemodel', without=('final',))
    layers = caffemodel.load(path)
    layers['conv4_2'][1][7] = np.inf
    caffemodel.write(path, layers)
    with pytest.raises(UserError, match=r'w\.caffemodel: values that are not finite in conv4_2;'):
        check_weights(asked('camvid-front', '--weights', path), full_net, [path])


def test_random_fc_is_refused_if_fc6_and_fc7_do_not_need_it(images):
    """The toy front end starts all its layers from fillers."""
    with pytest.raises(UserError, match='already have starting values'):
        check_weights(asked('toy-front', '--random-fc'), training('toy-front', str(images)), [])


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


def test_maps_of_other_weights(tmp_path):
    """Maps must come from the newest snapshot of the stage that the row names, if that stage has one."""
    net, run_dir, lmdb = training('toy-front', 'unused'), tmp_path / 'toy-front', maps_lmdb(tmp_path)
    settings = asked('toy-basic', '--lmdb', lmdb, '--run-dir', tmp_path / 'toy-basic')
    write(net, run_dir / 'train.prototxt')
    check_features_source(settings, {'weights_sha256': 'anything, as there is no snapshot'})
    snapshot = weights_of(net, run_dir / 'toy-front_iter_3.caffemodel', without=())
    check_features_source(settings, {'weights_sha256': hashlib.sha256(snapshot.read_bytes()).hexdigest()})
    with pytest.raises(UserError, match=r'was not made with .*toy-front_iter_3\.caffemodel'):
        check_features_source(settings, read_manifest(lmdb))


def test_disk_without_room(tmp_path):
    """10^12 snapshots of 64 x 7^2 + 8 x 7 = 3,192 weights and as many momenta, of 4 bytes each."""
    net = training('toy-basic', 'unused')
    check_disk(asked('toy-basic', '--run-dir', tmp_path), net)
    with pytest.raises(UserError, match=r'need 25536000\.0 GB more'):
        check_disk(asked('toy-basic', '--run-dir', tmp_path, '--keep', 10**12 - 1), net)


def test_gpu_that_is_not_there(tmp_path):
    """No machine has a GPU 999."""
    with pytest.raises(UserError, match='cannot use GPU 999'):
        train(asked('toy-basic', '--gpu', 999, '--run-dir', tmp_path / 'run'))
    assert not (tmp_path / 'run').exists()


def test_refusal_is_one_line(tmp_path):
    """tools/train.py exits with status 1, prints one line and leaves no run folder."""
    words = 'toy-basic', '--lmdb', maps_lmdb(tmp_path, top_label=9), '--run-dir', tmp_path / 'run'
    process = begin(*words)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (1, '')
    assert err.startswith('error: ') and err.count('\n') == 1
    assert not (tmp_path / 'run').exists()
