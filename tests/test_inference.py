"""The Predictor on real Caffe against the authors' procedure in plain loops; weight files; pictures of label maps."""

import re
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from math import ceil

import cv2
import h5py
import numpy as np
import pytest

from dataset_prep.datasets import dataset
from pretrained import caffemodel
from prototxt.experiments import NETS
from prototxt.networks import deploy, training, write
from prototxt.shapes import param_shapes
from tests.toy_nets import make_split, random_image
from tools import extract_features, predict
from tools import test as evaluate
from tools.inference import MapPredictor, Predictor, argmax, colorize, tight_size, tiles, upsampling, zoom
from tools.inference import weights_choice as weight_files
from tools.inference.caffe_net import load_net
from tools.inference.pictures import column, contact_sheet, overlay, panels
from tools.support.errors import UserError
from tools.support.paths import ROOT
from tools.training import run_folder

MARGIN = 186
TILE = (372 + 16, 372 + 24)  # an input that leaves 16 x 24 pixels: 2 x 3 cells
SIZES = [(1, 1), (9, 13), (16, 24), (17, 25), (16, 25), (35, 50)]  # images smaller than a tile, as large, and larger


# The authors' procedure (fyu/dilation predict.py, util.py) in plain loops


def mirrored(i, length):
    """Index that reflect-101 gives for position i of a line of `length`: ... 2 1 | 0 1 2 ... n-1 | n-2 n-3 ..."""
    if length == 1:
        return 0
    while not 0 <= i < length:
        i = -i if i < 0 else 2 * (length - 1) - i
    return i


def padded(image, top, bottom, left, right):
    """The image with so many mirrored pixels on each side."""
    height, width = image.shape[:2]
    rows = [mirrored(y, height) for y in range(-top, height + bottom)]
    columns = [mirrored(x, width) for x in range(-left, width + right)]
    return image[rows][:, columns]


def plain_tiles(image, input_hw):
    """The tiles of an image as a list of rows."""
    height, width = image.shape[:2]
    out_h, out_w = input_hw[0] - 2 * MARGIN, input_hw[1] - 2 * MARGIN
    whole = padded(image, MARGIN, MARGIN, MARGIN, MARGIN)
    grid = []
    for i in range(height // out_h + (1 if height % out_h else 0)):
        grid.append([])
        for j in range(width // out_w + (1 if width % out_w else 0)):
            tile = whole[out_h * i : out_h * i + input_hw[0], out_w * j : out_w * j + input_hw[1]]
            grid[-1].append(padded(tile, 0, input_hw[0] - tile.shape[0], 0, input_hw[1] - tile.shape[1]))
    return grid


def plain_zoom(prob, factor, height, width):
    """interp_map of the authors. A cell beyond the map is the last one."""
    channels, cells_h, cells_w = prob.shape
    out = np.zeros((channels, height, width), np.float32)
    prob = prob.astype(np.float64)
    for c in range(channels):
        for h in range(height):
            for w in range(width):
                r0, c0 = h // factor, w // factor
                r1, c1 = min(r0 + 1, cells_h - 1), min(c0 + 1, cells_w - 1)
                rt, ct = h / factor - r0, w / factor - c0
                v0 = rt * prob[c, r1, c0] + (1 - rt) * prob[c, r0, c0]
                v1 = rt * prob[c, r1, c1] + (1 - rt) * prob[c, r0, c1]
                out[c, h, w] = (1 - ct) * v0 + ct * v1
    return out


def plain_prob(net, image, mean_bgr, input_hw):
    """The stitched `prob` maps of an image."""
    rows = []
    for row in plain_tiles(image.astype(np.float32) - np.array(mean_bgr, np.float32), input_hw):
        maps = []
        for tile in row:
            net.blobs['data'].data[0] = tile.transpose(2, 0, 1)
            maps.append(net.forward()['prob'][0].copy())
        rows.append(np.concatenate(maps, axis=2))
    return np.concatenate(rows, axis=1)


# Parts


@pytest.mark.parametrize('size', SIZES, ids=str)
def test_tiles_are_the_authors(size):
    """They are equal in every pixel."""
    image = random_image(*size).astype(np.float32)
    expected = [tile for row in plain_tiles(image, TILE) for tile in row]
    got = list(tiles(image, TILE))
    assert len(got) == len(expected) == ceil(size[0] / 16) * ceil(size[1] / 24)
    for tile, plain in zip(got, expected, strict=True):
        np.testing.assert_array_equal(tile, plain)


@pytest.fixture(params=['compiled', 'numpy'])
def either_code(request, monkeypatch):
    """Runs a test with zoom.c, then with NumPy, which replaces it if there is no compiler."""
    if request.param == 'numpy':
        monkeypatch.setattr(upsampling, 'compiled', lambda: None)
    else:
        assert upsampling.compiled()


@pytest.mark.parametrize(
    'cells, size, factor',
    [
        ((3, 4), (17, 25), 8),
        ((3, 4), (24, 32), 8),  # ends with the map, so its last cell is repeated
        ((2, 2), (9, 16), 8),
        ((1, 1), (1, 8), 8),
        ((10, 2), (77, 11), 8),  # more rows than one band
        ((16, 24), (9, 13), 1),  # a network that upsamples: its map is cropped
    ],
)
def test_zoom_is_the_authors_formula(cells, size, factor, either_code):
    """Probabilities and labels are those of plain loops."""
    prob = np.random.default_rng(1).random((3, *cells), np.float32)
    expected = plain_zoom(prob, factor, *size)
    np.testing.assert_array_equal(zoom(prob, size, factor), expected)
    np.testing.assert_array_equal(argmax(prob, size, factor), expected.argmax(axis=0))


def test_equal_probabilities_give_the_first_class(either_code):
    """Classes are equal on the border between two cells and where a map is flat."""
    prob = np.zeros((4, 2, 3), np.float32)
    prob[2, :, 0], prob[1, :, 2] = 1, 1
    labels = argmax(prob, (8, 24), 8)
    assert labels[0, [0, 7, 8, 9, 16]].tolist() == [2, 2, 0, 1, 1]


def test_threads_give_the_same_labels(either_code):
    """The image has several bands and enough pixels for threads."""
    prob = np.random.default_rng(2).random((5, 40, 41), np.float32)
    np.testing.assert_array_equal(argmax(prob, (315, 321), 8), zoom(prob, (315, 321), 8).argmax(axis=0))


def test_tight_tile_of_camvid():
    """Pixel 359 of 360 lies between cells 44 and 45, so 46 cells are needed; 480 columns need 61. A side is 8 cells + 372."""
    assert tight_size((360, 480), (900, 1100)) == (46 * 8 + 372, 61 * 8 + 372)


@pytest.mark.parametrize('size', [(1, 1), (528, 528), (529, 600), (1024, 2048), (1269, 3000)])
@pytest.mark.parametrize('reference', [(900, 900), (852, 1640)])
def test_tight_tiles_cover_the_image_with_as_many_tiles(size, reference):
    """They are no more than the authors' tiles and no larger than those rounded up to a whole cell."""
    for side, tight, given in zip(size, tight_size(size, reference), reference, strict=True):
        count = ceil(side / (given - 372))
        assert (tight - 372) % 8 == 0
        assert (count - 1) * (tight - 372) < side <= count * (tight - 372)
        assert tight <= given + 7


# The whole, on real Caffe


@pytest.mark.parametrize('size', SIZES, ids=str)
def test_probabilities_and_labels_are_the_authors(basic_weights, size):
    """Front end and context module give float32 (C, H, W) and uint8 (H, W), equal in every pixel."""
    predictor = Predictor('basic_toy', [basic_weights], size_hw=TILE)
    image = random_image(*size)
    net = load_net(deploy('basic_toy', size_hw=TILE), [basic_weights])
    expected = plain_zoom(plain_prob(net, image, dataset('toy').mean_bgr, TILE), 8, *size)
    prob, labels = predictor.probabilities(image), predictor.label_map(image)
    assert (prob.dtype, labels.dtype) == (np.float32, np.uint8)
    np.testing.assert_array_equal(prob, expected)
    np.testing.assert_array_equal(labels, expected.argmax(axis=0))


def test_an_upsampling_network_is_cropped(basic_weights, monkeypatch):
    """Its tiles have full resolution. The label map is the argmax of their upper left part."""
    monkeypatch.setitem(NETS, 'up_toy', replace(NETS['basic_toy'], upsample=True))
    predictor = Predictor('up_toy', [basic_weights], size_hw=TILE)
    image = random_image(17, 25)
    prob = plain_prob(predictor.net, image, dataset('toy').mean_bgr, TILE)
    expected = prob[:, :17, :25].argmax(axis=0)
    assert prob.shape[1:] == (32, 48) and len(np.unique(expected)) > 1
    np.testing.assert_array_equal(predictor.label_map(image), expected)


@pytest.mark.parametrize('size', [(9, 13), (40, 50), (41, 73)], ids=str)
def test_tight_tiles_leave_the_front_ends_scores_alone(basic_weights, size):
    """A front end sees only 186 pixels around a cell, so its scores do not depend on the tile."""
    reference = (372 + 40, 372 + 48)
    image = random_image(*size)
    cells = tuple(ceil((side - 1) / 8) + 1 for side in size)  # that the interpolation reads
    loose = Predictor('front_toy', [basic_weights], size_hw=reference).predict_scores(image)
    tight = Predictor('front_toy', [basic_weights], size_hw=reference, tiling='tight').predict_scores(image)
    both = tuple(slice(0, min(side)) for side in zip(cells, loose.shape[1:], tight.shape[1:], strict=True))
    np.testing.assert_allclose(tight[:, *both], loose[:, *both], atol=1e-5)


def test_kitti_tiles_meet_in_the_middle_of_a_cell_in_reference_only(basic_weights, monkeypatch):
    """1640 - 372 = 1268 pixels are 158.5 cells, so the authors' second tile begins 4 pixels before cell 159.

    The tiles of an image 2000 pixels wide are compared with one input of the whole width.
    """
    monkeypatch.setitem(NETS, 'kitti_toy', replace(NETS['front_toy'], input_size_hw=(372 + 16, 1640)))
    image = random_image(16, 2000)
    whole = Predictor('front_toy', [basic_weights], size_hw=(372 + 16, 372 + 2000)).predict_scores(image)
    tight = Predictor('kitti_toy', [basic_weights], tiling='tight').predict_scores(image)
    np.testing.assert_allclose(tight[:, :2, :250], whole, atol=1e-5)
    reference = Predictor('kitti_toy', [basic_weights]).predict_scores(image)
    np.testing.assert_allclose(reference[:, :, :158], whole[:, :, :158], atol=1e-5)  # the 159th meets the tile's border
    shifted = Predictor('front_toy', [basic_weights], size_hw=(372 + 16, 372 + 2000)).predict_scores(image[:, 4:])
    np.testing.assert_allclose(reference[:, :, 159 + 30 : 159 + 60], shifted[:, :, 158 + 30 : 158 + 60], atol=1e-5)


@pytest.mark.parametrize('blob', ['conv5_3', 'final'])
def test_maps_of_a_blob_give_the_same_labels(basic_weights, blob):
    """The layers after a stored blob give what the whole network gives."""
    image = random_image(12, 20)
    whole = Predictor('basic_toy', [basic_weights], size_hw=TILE)
    expected = whole.label_map(image)
    maps = whole.net.blobs[blob].data[0].copy()
    rest = MapPredictor('basic_toy', [basic_weights], blob, maps.shape[1:])
    np.testing.assert_array_equal(rest.label_map(maps, (12, 20)), expected)


@pytest.mark.parametrize(
    ('make', 'error', 'message'),
    [
        (
            lambda _: argmax(np.zeros((3, 2, 3), np.float32), (17, 24), 8),
            ValueError,
            '2x3 cells of 8 pixels does not cover 17x24',
        ),
        (
            lambda weights: MapPredictor('basic_toy', [weights], 'final', (4, 4)).label_map(np.zeros((3, 4, 4)), (8, 8)),
            ValueError,
            '3 channels for blob final, which has 7',
        ),
        (lambda weights: MapPredictor('basic_toy', [weights], 'conv5_3', (24, 30)), UserError, '24x30 cells'),  # fc6 spans 25
        (lambda weights: Predictor('front_toy', [weights], size_hw=(381, 388)), UserError, '380 and 388'),  # 9 pixels of cells
    ],
    ids=['map smaller than the image', 'other channels', 'map smaller than fc6', 'tile of broken cells'],
)
def test_sizes_that_do_not_fit_are_refused(basic_weights, make, error, message):
    """Caffe would end the process."""
    with pytest.raises(error, match=message):
        make(basic_weights)


# In a notebook


def test_the_example_of_the_readme_runs(front_weights, tmp_path):
    """It runs in any folder. The test only replaces its network and weights by those of a toy."""
    section = (ROOT / 'tools' / 'README.md').read_text().split('## From Python\n')[1]
    lines = re.search(r'```python\n(.*?)```', section, re.DOTALL)[1]
    assert "'dilation8_camvid'" in lines and "'pretrained/dilation8_camvid.caffemodel'" in lines
    lines = lines.replace('pretrained/dilation8_camvid.caffemodel', str(front_weights)).replace('dilation8_camvid', 'front_toy')
    image = random_image(21, 34)
    cv2.imwrite(str(tmp_path / 'street.png'), image)
    command = [sys.executable, '-c', lines.replace("'camvid'", "'toy'")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    labels = Predictor('front_toy', [front_weights]).label_map(image)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / 'street_color.png')), colorize(labels, dataset('toy')))
    shares = [float(line.split(': ')[1].split('%')[0]) for line in done.stdout.splitlines()]
    assert shares == pytest.approx([100 * (labels == label).mean() for label in range(7)], abs=0.051)


@pytest.mark.parametrize('files', [str, lambda path: path, lambda path: [path], lambda path: [str(path)]])
def test_weights_may_be_a_path_or_a_list(files, front_weights):
    """A path may be a str, and the network's name may be short."""
    assert Predictor('front-toy', files(front_weights), tiling='tight').label_map(random_image(9, 13)).shape == (9, 13)


@pytest.mark.parametrize('image', [
    np.zeros((9, 13), np.uint8), np.zeros((9, 13, 4), np.uint8), np.zeros((9, 13, 3)), np.zeros((0, 13, 3), np.uint8),
])  # fmt: skip
def test_arrays_that_are_no_image_are_refused(image, front_weights):
    """Grey, with alpha, float, empty."""
    with pytest.raises(ValueError, match=r'an image is uint8 \(H, W, 3\), blue first; this array is '):
        Predictor('front_toy', front_weights, tiling='tight').label_map(image)


def test_a_large_image_is_not_copied_as_floats(basic_weights, monkeypatch):
    """1,600 x 1,600 pixels take 7.7 MB, padded 11.7 MB; both as floats would take 78 MB."""
    image, predictor = random_image(1600, 1600), Predictor('front_toy', [basic_weights])
    monkeypatch.setattr('tools.inference.predictor.forward', lambda net, tile: np.zeros((7, 24, 72), np.float32))
    tracemalloc.start()
    predictor.predict_scores(image)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6


# Weights


def test_weights_in_other_files_give_the_same_scores(basic_weights, tmp_path):
    """Two files; HDF5 as real Caffe writes it; HDF5 in compressed pieces, as another program may write it."""
    layers, image = caffemodel.load(basic_weights), random_image(16, 24)
    front, context, hdf5, packed = (tmp_path / name for name in ('front.caffemodel', 'context.caffemodel', 'w.h5', 'packed.h5'))
    caffemodel.write(front, {name: blobs for name, blobs in layers.items() if not name.startswith('ctx')})
    caffemodel.write(context, {name: blobs for name, blobs in layers.items() if name.startswith('ctx')})
    with h5py.File(packed, 'w') as file:
        for name, blobs in layers.items():
            for number, blob in enumerate(blobs):
                file.create_dataset(f'data/{name}/{number}', data=blob, compression='gzip')
    whole = Predictor('basic_toy', [basic_weights], size_hw=TILE)
    whole.net.save_hdf5(str(hdf5))
    for files in ([front, context], [hdf5], [packed]):
        scores = Predictor('basic_toy', files, size_hw=TILE).predict_scores(image)
        np.testing.assert_array_equal(scores, whole.predict_scores(image))
        assert weight_files.find_weights('basic_toy', given=files) == files
    found = caffemodel.load(hdf5)
    assert all(np.array_equal(*pair) for name in layers for pair in zip(found[name], layers[name], strict=True))


@pytest.mark.parametrize('keep', [0.3, 0.9])
def test_hdf5_that_is_cut_off_is_refused(basic_weights, tmp_path, keep):
    """The message names the file."""
    load_net(deploy('front_toy'), [basic_weights]).save_hdf5(str(tmp_path / 'w.h5'))
    whole = (tmp_path / 'w.h5').read_bytes()
    (tmp_path / 'w.h5').write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(UserError, match=r'w\.h5: cut off \(.*; copy or download it again'):
        weight_files.find_weights('front_toy', given=[tmp_path / 'w.h5'])


def test_missing_layers_are_named(front_weights):
    """The file of a front end has no context module."""
    with pytest.raises(UserError, match='no weights for 8 layers: ctx_conv1_1, ctx_conv1_2, .*front_toy.caffemodel'):
        Predictor('basic_toy', [front_weights], size_hw=TILE)


def test_weights_of_another_network_are_refused(basic_weights, tmp_path):
    """If a context module is left over, the message names the network that has one, and how to get the front end alone."""
    with pytest.raises(UserError, match=r'left over: 8 layers: ctx_conv1_1, .*weights of basic_toy: use it as --net, or .* join'):
        weight_files.find_weights('front_toy', given=[basic_weights])
    caffemodel.write(tmp_path / 'deeper', caffemodel.load(basic_weights) | {'conv3_4': [np.zeros((9, 9, 3, 3))]})
    with pytest.raises(UserError, match='left over: conv3_4; basic_toy does not have it. Give weights of basic_toy'):
        weight_files.find_weights('basic_toy', given=[tmp_path / 'deeper'])


def test_fixed_layers_are_not_left_over(front_weights, tmp_path):
    """The fixed upsampling of training on all pixels; the Scale layers in FCN's file, for which the net has Power layers."""
    caffemodel.write(tmp_path / 'snapshot', caffemodel.load(front_weights) | {'upsample': [np.ones((7, 1, 16, 16))]})
    assert weight_files.find_weights('front_toy', given=[tmp_path / 'snapshot'])
    scales = {'scale_pool4': [np.full(512, 0.01)], 'scale_pool3': [np.full(256, 0.0001)]}
    caffemodel.write(tmp_path / 'fcn', scales)
    assert weight_files.find_weights('fcn8s_pascal_voc_at_once', given=[tmp_path / 'fcn'])
    caffemodel.write(tmp_path / 'fcn', scales | {'scale_pool3': [np.full(256, 0.01)]})
    with pytest.raises(UserError, match='left over: scale_pool3'):
        weight_files.find_weights('fcn8s_pascal_voc_at_once', given=[tmp_path / 'fcn'])


@pytest.mark.parametrize(('main', 'words'), [
    (predict.main, ['{0}/split/a.png']), (evaluate.main, ['--data', '{0}/split', '--split', 'test']),
    (extract_features.main, ['--blob', 'conv5_3', '--data', '{0}/split', '--split', 'test']),
])  # fmt: skip
def test_values_that_are_not_finite_are_refused(front_weights, tmp_path, main, words):
    """One value is enough. Every command names the file and the layer."""
    layers = caffemodel.load(front_weights)
    layers['conv3_2'][0][0, 0, 0, 0] = np.nan
    caffemodel.write(tmp_path / 'w.caffemodel', layers)
    make_split(tmp_path / 'split', {'a': (20, 28)})
    words = ['--net', 'front_toy', '--weights', '{0}/w.caffemodel', '--out', '{0}/out', *words]
    with pytest.raises(UserError, match=r'w\.caffemodel: values that are not finite in conv3_2;'):
        main([word.format(tmp_path) for word in words])


@pytest.fixture
def snapshots(tmp_path, monkeypatch):
    """Writes a snapshot of a stage into its run folder, as training does."""
    monkeypatch.setattr(run_folder, 'RUNS', tmp_path / 'runs')
    monkeypatch.setattr(weight_files, 'PRETRAINED', tmp_path / 'pretrained')

    def snapshot(stage):
        folder = tmp_path / 'runs' / stage
        net = training(stage, 'unused')
        write(net, folder / run_folder.TRAIN_PROTOTXT)
        path = folder / f'{stage}_iter_7.caffemodel'
        shapes = param_shapes(net)
        caffemodel.write(path, {layer: [np.zeros(blob, np.float32) for blob in blobs] for layer, blobs in shapes.items()})
        return path

    return snapshot


def test_a_context_module_comes_after_its_front_end(snapshots):
    """toy-basic is trained on scores of toy-front. The network needs both files, its stored scores only need the second."""
    front, basic = snapshots('toy-front'), snapshots('toy-basic')
    assert weight_files.find_weights('basic_toy') == [front, basic]
    assert weight_files.find_weights('basic_toy', 'final') == [basic]


def test_weights_of_a_frozen_trunk_are_cut_to_the_trunk(snapshots, tmp_path):
    """VGG-16's own wide fc6 would not fit a narrow network. A file without it is used as it is."""
    trained = snapshots('camvid-cpu-front')
    vgg16 = tmp_path / 'pretrained' / 'vgg16.caffemodel'
    caffemodel.write(vgg16, {'conv1_1': [np.ones(3)], 'fc6': [np.ones(4)]})
    trunk, last = weight_files.find_weights('front_camvid_fc128')
    assert last == trained and caffemodel.load(trunk).keys() == {'conv1_1'}
    caffemodel.write(vgg16, {'conv1_1': [np.ones(3)]})
    assert weight_files.find_weights('front_camvid_fc128') == [vgg16, trained]


@pytest.mark.usefixtures('snapshots')
def test_without_weights_the_message_says_what_to_run(tmp_path):
    """Nothing was trained or fetched. A fetched file is used."""
    for net, command in (
        ('dilation8_camvid', 'make weights-dilation8_camvid, or make train-camvid-joint'),
        ('front_toy', 'make train-toy-front'),
        ('front_toy@mine', 'make train-toy-front DATASET=mine'),
    ):
        with pytest.raises(UserError, match=f'{net}.caffemodel; run: {command}$'):
            weight_files.find_weights(net)
    fetched = tmp_path / 'pretrained' / 'dilation8_camvid.caffemodel'
    caffemodel.write(fetched, {'conv1_1': [np.ones(3)]})
    assert weight_files.find_weights('dilation8_camvid') == [fetched]


# Pictures


def test_colours_are_the_palette_in_bgr():
    """Building is (128, 0, 0) in RGB, Bicyclist (0, 128, 192); 255 is black."""
    assert colorize(np.array([[0, 10, 255]], np.uint8), dataset('camvid')).tolist() == [[[0, 0, 128], [192, 128, 0], [0, 0, 0]]]


def test_overlay_mixes_where_there_is_a_class():
    """The mean of image and colour; the image alone under black."""
    image = np.full((1, 2, 3), 100, np.uint8)
    assert overlay(image, np.array([[[0, 0, 200], [0, 0, 0]]], np.uint8)).tolist() == [[[50, 50, 150], [100, 100, 100]]]


def test_a_contact_sheet_has_a_legend():
    """Rows of images of two shapes are equally wide. The legend shows the colour of each class."""
    facts = dataset('camvid')
    blank = [np.zeros((side, 40, 3), np.uint8) for side in (20, 30)]
    labels = [np.full(image.shape[:2], 255, np.uint8) for image in blank]
    rows = [('a', panels(image, label, label, facts)) for image, label in zip(blank, labels, strict=True)]
    sheet = contact_sheet(rows, facts)
    colours = {tuple(pixel) for pixel in sheet.reshape(-1, 3)}
    assert sheet.shape[1] == 4 * 320 + 3 * 8 + 2 * 8 and all(rgb[::-1] in colours for rgb in facts.palette)


def test_a_column_of_a_contact_sheet_is_the_panels_of_one_heading():
    """Two images of 40x20 pixels become panels of 320x160, 8 pixels apart, each below a line of 20 pixels with its name."""
    facts = dataset('toy')
    rows = [('a', [np.full((20, 40, 3), 10 * place, np.uint8) for place in range(4)]) for _ in range(2)]
    for place in range(4):
        found = column(contact_sheet(rows, facts), place, facts)
        assert found.shape == (2 * (20 + 160) + 8, 320, 3)
        assert (found[20:180] == 10 * place).all() and (found[208:] == 10 * place).all()
