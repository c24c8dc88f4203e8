"""Maps of real Caffe stored, labels beside them, killed and resumed, read again by training."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from stored_maps import write_features

from dataset_prep.datasets import dataset
from dataset_prep.feature_geometry import cell_labels, input_size, padded_input
from dataset_prep.lmdb_writer import FeatureWriter, iterate, read_manifest, write_lmdb
from dataset_prep.records import Record, load_split, read_image, read_label, save_split
from pretrained import caffemodel
from prototxt.networks import deploy, training, write
from prototxt.shapes import param_shapes
from tools import extract_features
from tools.support.caffe_import import import_caffe
from tools.support.errors import UserError
from tools.support.paths import ROOT

caffe = import_caffe()
SIZE_HW = (29, 40)  # scores of 4x5 cells
SETTINGS = {'dataset': 'toy', 'split': 'train', 'blob': 'final', 'weights': [], 'classes': 7}


def make_split(folder, sizes_hw):
    """A split `train` of random images."""
    rng = np.random.default_rng(0)
    records = []
    folder.mkdir(parents=True)
    for number, size in enumerate(sizes_hw):
        image, label = folder / f'{number}.png', folder / f'{number}_label.png'
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(image)
        Image.fromarray(rng.integers(0, 7, size, dtype=np.uint8)).save(label)
        records.append(Record(f'r{number}', image, label, 'toy'))
    save_split(folder, 'train', records)
    return folder


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Random weights for all layers of front_toy."""
    rng = np.random.default_rng(1)
    path = tmp_path_factory.mktemp('weights') / 'front.caffemodel'
    shapes = param_shapes(deploy('front_toy'))
    layers = {name: [he_normal(rng, shape) for shape in blobs] for name, blobs in shapes.items()}
    caffemodel.write(path, layers)
    return path


def he_normal(rng, shape):
    """Random weights that keep the scale of what passes through ReLUs; small biases."""
    deviation = (2 / np.prod(shape[1:])) ** 0.5 if len(shape) > 1 else 0.1
    return rng.normal(0, deviation, shape).astype(np.float32)


@pytest.fixture(scope='module')
def split(tmp_path_factory):
    return make_split(tmp_path_factory.mktemp('data') / 'toy é', [SIZE_HW] * 3)


def command(split, weights, blob, out, *options):
    """Run the tool in this process."""
    words = ['--net', 'front_toy', '--weights', str(weights), '--blob', blob, '--data', str(split), '--out', str(out), *options]
    extract_features.main(words)


def whole_net(weights, tmp_path, input_hw):
    """The whole deploy net in Caffe."""
    write(deploy('front_toy', size_hw=input_hw), tmp_path / 'deploy.prototxt')
    return caffe.Net(str(tmp_path / 'deploy.prototxt'), str(weights), caffe.TEST)


def reference_input(image, input_hw):
    """Mean subtracted, 186 pixels reflected, then reflected on below and to the right: np.pad twice."""
    centred = image.astype(np.float32) - np.array(dataset('toy').mean_bgr, np.float32)
    padded = np.pad(centred, ((186, 186), (186, 186), (0, 0)), 'reflect')
    rest = [(0, side - have) for side, have in zip(input_hw, padded.shape, strict=False)]
    return np.pad(padded, (*rest, (0, 0)), 'reflect').transpose(2, 0, 1)


BORDERS = {'pool3': 21, 'conv4_3': 18, 'conv5_3': 12, 'final': 0}  # cells: conv4 3 x 1, conv5 3 x 2, fc6 12


@pytest.mark.parametrize('blob', BORDERS)
def test_maps_are_those_of_the_whole_net(tmp_path, split, weights, blob):
    """Labels lie on the scores' cells, 255 around them."""
    command(split, weights, blob, tmp_path / 'maps')
    net = whole_net(weights, tmp_path, (404, 412))  # 29 rounded up to 32, 40, and 372
    stored = dict(iterate(tmp_path / 'maps'))
    assert len(stored) == 3
    for record in load_split(split, 'train'):
        net.blobs['data'].data[0] = reference_input(read_image(record), (404, 412))
        net.forward()
        np.testing.assert_allclose(stored[record.id][:-1], net.blobs[blob].data[0], rtol=1e-4, atol=1e-4)
        cells = np.pad(read_label(record)[::8, ::8], BORDERS[blob], constant_values=255)
        np.testing.assert_array_equal(stored[record.id][-1], cells)


@pytest.mark.parametrize('bad', ['r0', 'r2'])
@pytest.mark.parametrize('left', [2 / 3, 0], ids=['cut', 'empty'])
def test_an_image_that_cannot_be_read_is_left_out(tmp_path, weights, bad, left):
    """And named, again by the same command, which takes it in when it is mended; a run that was stopped goes on without it."""
    split, out = make_split(tmp_path / 'in', [SIZE_HW] * 3), tmp_path / 'maps'
    path = split / f'{bad[1:]}.png'
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content))])
    named = rf'1 of 3 images cannot be used; the maps of the others are stored; .*\n  .*{path.name} cannot be read'
    for _ in range(2):
        with pytest.raises(UserError, match=named):
            command(split, weights, 'final', out)
        assert sorted(name for name, _ in iterate(out)) == sorted({'r0', 'r1', 'r2'} - {bad})
        assert (read_manifest(out)['count'], read_manifest(out)['left_out']) == (2, 1)
    path.write_bytes(content)
    command(split, weights, 'final', out)
    command(split, weights, 'final', tmp_path / 'whole')
    assert [(name, array.tolist()) for name, array in iterate(out)] == [
        (name, array.tolist()) for name, array in iterate(tmp_path / 'whole')
    ]
    for file in split.glob('?.png'):
        file.write_bytes(b'')
    with pytest.raises(UserError, match='3 of 3 images cannot be used; nothing is stored'):
        command(split, weights, 'final', tmp_path / 'none')
    assert not (tmp_path / 'none').exists()


def test_a_stopped_run_remembers_what_it_left_out(tmp_path):
    """The keys go on after the records that are there, whether the image left out came before the last of them or after."""
    maps, label = np.zeros((7, 4, 5), np.float32), np.zeros((4, 5), np.uint8)
    ids, out = list('abcd'), tmp_path / 'maps'
    with FeatureWriter(out, ids, SETTINGS) as writer:
        writer.leave_out('a is bad')
        writer.add(maps, label)
        writer.leave_out('c is bad')
    with FeatureWriter(out, ids, SETTINGS) as writer:
        assert (writer.missing(), writer.faults) == (['c', 'd'], {'a': 'a is bad'})
        writer.leave_out('c is bad')
        writer.add(maps, label)
    manifest = read_manifest(out)
    assert ([name for name, _ in iterate(out)], manifest['faults']) == (['b', 'd'], {'a': 'a is bad', 'c': 'c is bad'})
    with FeatureWriter(out, ids, SETTINGS) as writer:
        assert not writer.missing()


@pytest.mark.parametrize('trunk', ['pool3', 'conv5_3'])
def test_scores_from_stored_maps_equal_scores_from_images(tmp_path, split, weights, trunk):
    command(split, weights, trunk, tmp_path / 'trunk')
    command(split, weights, 'final', tmp_path / 'direct')
    extract_features.main([
        '--net', 'front_toy', '--weights', str(weights), '--blob', 'final', '--features', str(tmp_path / 'trunk'),
        '--out', str(tmp_path / 'stored'),
    ])  # fmt: skip
    for (name, array), (direct_name, direct) in zip(iterate(tmp_path / 'stored'), iterate(tmp_path / 'direct'), strict=True):
        assert name == direct_name
        np.testing.assert_allclose(array, direct, rtol=1e-4, atol=1e-4)
    assert read_manifest(tmp_path / 'stored')['made_from']['blob'] == trunk


def test_mirrored_images_are_stored_beside_the_others(tmp_path, split, weights):
    command(split, weights, 'final', tmp_path / 'maps', '--mirror')
    stored = dict(iterate(tmp_path / 'maps'))
    net = whole_net(weights, tmp_path, (404, 412))
    assert set(stored) == {'r0', 'r1', 'r2', 'r0+mirror', 'r1+mirror', 'r2+mirror'}
    record = load_split(split, 'train')[1]
    net.blobs['data'].data[0] = reference_input(read_image(record)[:, ::-1], (404, 412))
    np.testing.assert_allclose(stored['r1+mirror'][:-1], net.forward(end='final')['final'][0], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(stored['r1+mirror'][-1], read_label(record)[:, ::-1][::8, ::8])


def test_size_given_leaves_cells_outside_the_image_unlabelled(tmp_path, split, weights):
    command(split, weights, 'final', tmp_path / 'maps', '--size-hw', '420', '436')
    for _, array in iterate(tmp_path / 'maps'):
        assert array.shape == (8, 6, 8)
        assert (array[-1, :4, :5] < 7).all() and (array[-1, 4:] == 255).all() and (array[-1, :, 5:] == 255).all()


@pytest.mark.parametrize(
    ('stage', 'blob', 'channels'),
    [('camvid-night-front', 'pool3', 256), ('camvid-cpu-front', 'conv5_3', 512), ('camvid-cpu-basic', 'final', 11)],
)
def test_training_nets_read_maps_with_labels_on_their_scores(tmp_path, stage, blob, channels):
    """Label of a cell is written into its maps; after Slice and Crop each label must still lie on its own cell."""
    border = BORDERS[blob]
    rng = np.random.default_rng(2)
    rows = []
    for number in range(3):
        cells = rng.integers(0, 11, (3, 4)).astype(np.uint8)
        label = np.pad(cells, border, constant_values=255)
        rows.append((f'r{number}', np.broadcast_to(label.astype(np.float32), (channels, *label.shape)), label))
    write_features(tmp_path / 'maps', rows, {**SETTINGS, 'dataset': 'camvid', 'blob': blob})
    write(training(stage, str(tmp_path / 'maps')), tmp_path / 'train.prototxt')
    net = caffe.Net(str(tmp_path / 'train.prototxt'), caffe.TRAIN)
    for _, maps, _ in rows:
        net.forward()
        np.testing.assert_array_equal(net.blobs[blob].data[0], maps)
        np.testing.assert_array_equal(net.blobs['label'].data[0, 0], maps[0, border : border + 3, border : border + 4])


def test_killed_run_goes_on_without_doing_finished_maps_again(tmp_path):
    """The first process ends as by kill -9 after two maps reached the disk; its third was only queued."""
    script = (
        'import os, sys, numpy as np\n'
        'from dataset_prep.lmdb_writer import FeatureWriter\n'
        f'writer = FeatureWriter(sys.argv[1], list("abcd"), {SETTINGS!r})\n'
        'for number in range(3):\n'
        '    writer.add(np.full((2, 3, 4), number, np.float32), np.zeros((3, 4), np.uint8))\n'
        '    if number == 1:\n'
        '        writer._store.flush()\n'
        'os._exit(9)\n'
    )
    target = tmp_path / 'maps'
    assert subprocess.run([sys.executable, '-c', script, str(target)], cwd=ROOT, check=False).returncode == 9
    assert not target.exists()
    with FeatureWriter(target, list('abcd'), SETTINGS) as writer:
        assert writer.missing() == ['c', 'd']
        for number in (2, 3):
            writer.add(np.full((2, 3, 4), number, np.float32), np.zeros((3, 4), np.uint8))
    assert [(name, array[0, 0, 0]) for name, array in iterate(target)] == [('a', 0), ('b', 1), ('c', 2), ('d', 3)]
    assert sorted(os.listdir(tmp_path)) == ['maps']
    assert sorted(os.listdir(target)) == ['data.mdb', 'lock.mdb', 'manifest.json']


def test_error_keeps_the_finished_part_and_other_settings_start_again(tmp_path, capsys):
    maps, label = np.ones((2, 3, 4), np.float32), np.zeros((3, 4), np.uint8)
    with pytest.raises(KeyboardInterrupt), FeatureWriter(tmp_path / 'x', list('abc'), SETTINGS) as writer:
        writer.add(maps, label)
        raise KeyboardInterrupt
    with pytest.raises(KeyboardInterrupt), FeatureWriter(tmp_path / 'x', list('abc'), SETTINGS) as writer:
        assert writer.missing() == ['b', 'c']
        raise KeyboardInterrupt
    with FeatureWriter(tmp_path / 'x', list('abc'), {**SETTINGS, 'blob': 'conv5_3'}) as writer:
        assert writer.missing() == ['a', 'b', 'c']
    assert 'starting again, an unfinished run had other settings (blob)' in capsys.readouterr().err
    assert os.listdir(tmp_path) == []  # nothing was written, so nothing is left


def test_two_processes_cannot_write_to_the_same_place(tmp_path):
    first = FeatureWriter(tmp_path / 'x', list('abc'), SETTINGS)
    with pytest.raises(UserError, match='is being written by another process'):
        FeatureWriter(tmp_path / 'x', list('abc'), SETTINGS)
    with first:
        assert first.done == 0


def test_finished_maps_are_not_made_again_but_new_weights_make_new_ones(tmp_path, split, weights):
    command(split, weights, 'final', tmp_path / 'maps')
    written = (tmp_path / 'maps' / 'data.mdb').stat().st_mtime_ns
    command(split, weights, 'final', tmp_path / 'maps')
    assert (tmp_path / 'maps' / 'data.mdb').stat().st_mtime_ns == written
    other = tmp_path / 'other.caffemodel'
    caffemodel.write(other, {name: [2 * blob for blob in blobs] for name, blobs in caffemodel.load(weights).items()})
    command(split, other, 'final', tmp_path / 'maps')
    manifest = read_manifest(tmp_path / 'maps')
    assert (tmp_path / 'maps' / 'data.mdb').stat().st_mtime_ns > written
    assert manifest['weights'] == [{'file': 'other.caffemodel', 'sha256': manifest['weights_sha256']}]
    assert (manifest['channels'], manifest['min_side_hw'], manifest['blob'], manifest['kind']) == (8, [4, 5], 'final', 'features')


def test_maps_of_two_sizes_are_refused(tmp_path):
    rows = [('a', np.zeros((2, 3, 4)), np.zeros((3, 4))), ('b', np.zeros((2, 3, 5)), np.zeros((3, 5)))]
    with pytest.raises(UserError, match=r'b: 3 channels of 3x5, but the maps before it have 3 of 3x4'):
        write_features(tmp_path / 'x', rows, SETTINGS)
    assert not (tmp_path / 'x').exists()


def test_images_of_two_sizes_are_put_into_the_least_input_that_covers_all(tmp_path, weights, capsys):
    """193 rows are 25 cells, more than the network's tile has, 40 columns 5; what is no image has no label."""
    split = make_split(tmp_path / 'toy', [(29, 40), (193, 24)])
    command(split, weights, 'final', tmp_path / 'maps')
    labels = {name: array[-1] for name, array in iterate(tmp_path / 'maps')}
    assert labels['r0'].shape == (25, 5)
    assert (labels['r0'][:4] < 7).all() and (labels['r0'][4:] == 255).all()
    assert (labels['r1'][:, :3] < 7).all() and (labels['r1'][:, 3:] == 255).all()
    assert 'several sizes: all are put into an input of 572x412' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--size-hw', '396', '412'], r'0.png is 29x40 pixels \(height x width\) and needs an input of at least 404x412'),
        (['--size-hw', '405', '412'], 'crop_size 405 is .*the nearest that fit are 404 and 412'),
        (['--blob', 'fc7'], 'front_toy can store maps of pool3 or conv4_3 or conv5_3 or final, not of fc7'),
        (['--net', 'front_camvid'], 'holds toy train, but you asked for camvid train'),
        (['--split', 'val'], 'no val split at'),
        (['--weights', 'gone.caffemodel'], 'no weights at gone.caffemodel'),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, split, weights, options, words):
    with pytest.raises(UserError, match=words):
        command(split, weights, 'final', tmp_path / 'maps', *options)
    assert os.listdir(tmp_path) == []


def test_weights_that_leave_a_layer_random_are_refused(tmp_path, split, weights):
    layers = caffemodel.load(weights)
    del layers['conv4_2']
    caffemodel.write(tmp_path / 'part.caffemodel', layers)
    with pytest.raises(UserError, match='conv4_2'):
        command(split, tmp_path / 'part.caffemodel', 'final', tmp_path / 'maps')
    assert os.listdir(tmp_path) == ['part.caffemodel']


@pytest.mark.parametrize(('side', 'expected'), [(1, 380), (8, 380), (9, 388), (360, 732), (480, 852), (500, 876)])
def test_input_covers_the_image_with_whole_cells(side, expected):
    assert input_size((side, side)) == (expected, expected)


def test_short_input_is_reflected_on_and_labels_beyond_the_image_ignored():
    image = np.random.default_rng(3).normal(size=(29, 40, 3)).astype(np.float32)
    padded = padded_input(image, (404, 412))
    np.testing.assert_array_equal(padded[401:], padded[397:400][::-1])  # 29 + 372 = 401 rows, then back
    [labels] = cell_labels(np.arange(29 * 40, dtype=np.uint16).reshape(29, 40).astype(np.uint8), (412, 412))
    assert labels[:4].tolist() == [[(40 * 8 * i + 8 * j) % 256 for j in range(5)] for i in range(4)]
    assert labels[4].tolist() == [255] * 5


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    """A split of images of three sizes, one smaller than the crop that its LMDB is padded for, and that LMDB."""
    split = make_split(tmp_path_factory.mktemp('small') / 'toy', [(29, 40), (8, 61), (40, 33)])
    write_lmdb(split / 'train_420', load_split(split, 'train'), dataset='toy', split='train', crop_size=420, encoding='png')
    return split


@pytest.mark.parametrize('options', [[], ['--mirror', '--label-stride', '1']])
def test_images_of_an_lmdb_a_list_and_a_folder_give_the_same_maps(tmp_path, small, weights, options):
    """Images of several sizes, --size-hw for all; the LMDB does without the files."""
    size = ['--size-hw', '420', '436']
    command(small, weights, 'final', tmp_path / 'folder', *size, *options)
    sources = {'list': ['--list', str(small / 'train.json')], 'lmdb': ['--lmdb', str(tmp_path / 'copy')]}
    shutil.copytree(small / 'train_420', tmp_path / 'copy')
    for name, source in sources.items():
        words = ['--net', 'front_toy', '--weights', str(weights), '--blob', 'final', '--out', str(tmp_path / name)]
        extract_features.main([*words, *source, *size, *options])
        for one, other in zip(iterate(tmp_path / name), iterate(tmp_path / 'folder'), strict=True):
            assert one[0] == other[0]
            np.testing.assert_array_equal(one[1], other[1])
    made, again = read_manifest(tmp_path / 'lmdb'), read_manifest(tmp_path / 'folder')
    differing = {name for name in made if made[name] != again[name]}
    assert not differing


def test_a_list_of_another_sort_is_refused(tmp_path, small, weights):
    """train.json lies beside it, and is not what was asked for."""
    words = ['--net', 'front_toy', '--weights', str(weights), '--blob', 'final', '--out', str(tmp_path / 'x')]
    with pytest.raises(UserError, match=r'train.txt: give a list that dataset_prep wrote, a .json file'):
        extract_features.main([*words, '--list', str(small / 'train.txt')])


def test_labels_of_all_pixels_lie_as_the_loss_on_upsampled_scores_reads_them(tmp_path, small, weights):
    """Plane 8a+b of cell (i, j) is pixel (8i+a, 8j+b), by plain loops; 255 beyond the image; mirrored with the maps."""
    command(small, weights, 'final', tmp_path / 'maps', '--size-hw', '420', '436', '--mirror', '--label-stride', '1')
    stored = dict(iterate(tmp_path / 'maps'))
    assert len(stored) == 6 and read_manifest(tmp_path / 'maps')['label_stride'] == 1
    for record in load_split(small, 'train'):
        for suffix, label in (('', read_label(record)), ('+mirror', read_label(record)[:, ::-1])):
            planes = stored[record.id + suffix][7:]
            assert planes.shape == (64, 6, 8)
            for plane, i, j in np.ndindex(planes.shape):
                row, column = 8 * i + plane // 8, 8 * j + plane % 8
                inside = row < label.shape[0] and column < label.shape[1]
                assert planes[plane, i, j] == (label[row, column] if inside else 255)


def test_images_of_several_sizes_take_the_tile_of_the_network_where_it_covers_them(tmp_path, small, weights):
    """front_toy's tile, 564x756, gives 24x48 scores."""
    command(small, weights, 'final', tmp_path / 'maps')
    assert read_manifest(tmp_path / 'maps')['min_side_hw'] == [24, 48]


def test_stage_says_all_but_the_weights(tmp_path):
    """cityscapes-context trains dilation10 on mirrored final scores of front_cityscapes, its loss on all pixels."""
    args = extract_features.parse_args(['--stage', 'cityscapes-context', '--weights', 'x'])
    assert (args.net, args.blob, args.split, args.mirror, args.label_stride) == ('front_cityscapes', 'final', 'train', True, 1)
    assert args.out.parts[-2:] == ('cityscapes', 'train_final_cityscapes-front_stride1')
    args = extract_features.parse_args(['--stage', 'voc-context-large', '--weights', 'x', '--out', 'here'])
    assert (args.net, args.blob, args.split, args.mirror, args.label_stride) == (
        'front_pascal_voc',
        'fc-final',
        'train_aug',
        True,
        8,
    )
    assert str(args.out) == 'here'


@pytest.mark.parametrize(
    ('options', 'place'),
    [
        (['--split', 'val'], ROOT / 'data' / 'cityscapes'),
        (['--split', 'val', '--data', 'some/city'], Path('some/city')),
        (['--list', 'some/city/val.json'], Path('some/city')),
    ],
)
def test_maps_of_another_split_than_the_stages_have_a_place_of_their_own(options, place):
    """And only those that are trained on are mirrored."""
    args = extract_features.parse_args(['--stage', 'cityscapes-context', '--weights', 'x', *options])
    assert (args.out, args.split, args.mirror) == (place / 'val_final_cityscapes-front_stride1', 'val', False)


def test_maps_of_another_split_are_never_written_over(tmp_path, split, weights):
    """Neither a whole LMDB nor one that was begun."""
    write_features(
        tmp_path / 'maps', [('r', np.zeros((7, 4, 5), np.float32), np.zeros((4, 5), np.uint8))], {**SETTINGS, 'split': 'val'}
    )
    with pytest.raises(
        UserError, match='maps holds features toy val and would be replaced by features toy train; write elsewhere'
    ):
        command(split, weights, 'final', tmp_path / 'maps')
    assert read_manifest(tmp_path / 'maps')['split'] == 'val'
    (tmp_path / 'maps').rename(tmp_path / '.others.part')
    (tmp_path / '.others.part' / 'settings.json').write_text((tmp_path / '.others.part' / 'manifest.json').read_text())
    with pytest.raises(UserError, match='.others.part holds features toy val'):
        command(split, weights, 'final', tmp_path / 'others')


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--stage', 'camvid-front'], 'camvid-front trains on images'),
        (['--net', 'front_toy', '--out', 'x'], '--blob is not given, nor --stage'),
        (['--net', 'front_toy', '--out', 'x', '--blob', 'final', '--features', 'y', '--mirror'], 'are for images'),
        (['--net', 'front_toy', '--out', 'x', '--blob', 'final', '--features', 'y', '--lmdb', 'z'], 'not allowed with'),
    ],
)
def test_wrong_usage_is_refused(capsys, options, words):
    with pytest.raises(SystemExit, match='2'):
        extract_features.parse_args(['--weights', 'x', *options])
    assert words in capsys.readouterr().err


def test_lmdb_of_another_kind_or_version_is_refused(tmp_path, small, weights):
    copy = tmp_path / 'copy'
    shutil.copytree(small / 'train_420', copy)
    words = ['--net', 'front_toy', '--weights', str(weights), '--blob', 'final', '--out', str(tmp_path / 'maps')]
    with pytest.raises(UserError, match='copy holds images, but features are needed'):
        extract_features.main([*words, '--features', str(copy)])
    manifest = json.loads((copy / 'manifest.json').read_text())
    del manifest['files_sha256']
    (copy / 'manifest.json').write_text(json.dumps(manifest))
    with pytest.raises(
        UserError, match=r'copy was written by an earlier version of this toolkit \(.* has no files_sha256\); write it'
    ):
        extract_features.main([*words, '--lmdb', str(copy)])
    with pytest.raises(UserError, match='copy holds toy, but you asked for camvid'):
        extract_features.main([*words, '--lmdb', str(copy), '--net', 'front_camvid'])


def test_killed_extraction_goes_on_with_the_maps_that_are_missing(tmp_path, small, weights):
    """Killed by -9 after the first maps reached the disk; the next run makes the rest, and all are those of one run."""
    script = (
        'import os, sys\n'
        'from dataset_prep import growing\n'
        'growing.FLUSH_SECONDS = 0\n'
        'from tools import extract_features\n'
        'put = growing.GrowingLmdb.put\n'
        'def counted(self, value, note=None):\n'
        '    put(self, value, note)\n'
        '    if self.done == 2: os._exit(9)\n'
        'growing.GrowingLmdb.put = counted\n'
        'extract_features.main(sys.argv[1:])\n'
    )
    words = ['--net', 'front_toy', '--weights', str(weights), '--blob', 'final', '--lmdb', str(small / 'train_420')]
    killed = [sys.executable, '-c', script, *words, '--out', str(tmp_path / 'maps')]
    assert subprocess.run(killed, cwd=ROOT, capture_output=True, check=False).returncode == 9
    assert not (tmp_path / 'maps').exists()
    extract_features.main([*words, '--out', str(tmp_path / 'maps')])
    extract_features.main([*words, '--out', str(tmp_path / 'whole')])
    for one, other in zip(iterate(tmp_path / 'maps'), iterate(tmp_path / 'whole'), strict=True):
        assert one[0] == other[0]
        np.testing.assert_array_equal(one[1], other[1])
