"""Inference against the authors' procedure, written out here as plain loops."""

import tracemalloc
from dataclasses import replace
from math import ceil

import h5py
import numpy as np
import pytest

from dataset_prep.datasets import dataset
from pretrained import caffemodel
from prototxt.experiments import NETS
from prototxt.networks import deploy, training, write
from prototxt.shapes import param_shapes
from tests.port_files import as_caffes_hdf5
from tests.toy_nets import make_split, random_image, random_weights
from tools import extract_features, predict
from tools import test as evaluate
from tools.inference import MapPredictor, Predictor, argmax, colorize, stitch, tight_size, tiles, upsampling, zoom
from tools.inference import weights_choice as weight_files
from tools.inference.caffe_net import forward, load_net
from tools.inference.pictures import column, contact_sheet, overlay, panels
from tools.support.errors import UserError
from tools.training import run_folder

MARGIN = 186
TILE = (372 + 16, 372 + 24)  # an input that leaves 16 x 24 pixels: 2 x 3 cells
SIZES = [(1, 1), (9, 13), (16, 24), (17, 25), (16, 25), (35, 50)]  # below, at and one above a tile, one way and both


@pytest.fixture(scope='module')
def toy_weights(tmp_path_factory):
    """Random weights of basic_toy, which front_toy can use as well."""
    return random_weights('basic_toy', tmp_path_factory.mktemp('weights') / 'basic_toy.caffemodel')


# The authors' procedure (fyu/dilation predict.py, util.py) in plain loops


def mirrored(i, length):
    """Index that reflect-101 gives for position i of a line of `length`: ... 2 1 | 0 1 2 ... n-1 | n-2 n-3 ..."""
    if length == 1:
        return 0
    while not 0 <= i < length:
        i = -i if i < 0 else 2 * (length - 1) - i
    return i


def padded(image, top, bottom, left, right):
    height, width = image.shape[:2]
    rows = [mirrored(y, height) for y in range(-top, height + bottom)]
    columns = [mirrored(x, width) for x in range(-left, width + right)]
    return image[rows][:, columns]


def plain_tiles(image, input_hw):
    """Rows of tiles."""
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
    """interp_map; a cell beyond the map is the last one."""
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
    """Stitched `prob` maps of an image."""
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
    """Every tile, pixel for pixel."""
    image = random_image(*size).astype(np.float32)
    expected = [tile for row in plain_tiles(image, TILE) for tile in row]
    got = list(tiles(image, TILE))
    assert len(got) == len(expected) == ceil(size[0] / 16) * ceil(size[1] / 24)
    for tile, plain in zip(got, expected, strict=True):
        np.testing.assert_array_equal(tile, plain)


def test_stitch_puts_tiles_in_rows():
    """Six 1x2 maps of a 2 x 3 grid, numbered in reading order."""
    maps = [np.full((1, 1, 2), i) for i in range(6)]
    assert stitch(maps, columns=3).tolist() == [[[0, 0, 1, 1, 2, 2], [3, 3, 4, 4, 5, 5]]]


@pytest.fixture(params=['compiled', 'numpy'])
def either_code(request, monkeypatch):
    """zoom.c, and what stands in for it where there is no compiler."""
    if request.param == 'numpy':
        monkeypatch.setattr(upsampling, 'compiled', lambda: None)
    else:
        assert upsampling.compiled()


@pytest.mark.parametrize(
    'cells, size', [((3, 4), (17, 25)), ((3, 4), (24, 32)), ((2, 2), (9, 16)), ((1, 1), (1, 8)), ((10, 2), (77, 11))]
)
def test_zoom_is_the_authors_formula(cells, size, either_code):
    """Maps that end beyond the image, with it (the last cell is repeated), and of a single cell; more rows than one band."""
    prob = np.random.default_rng(1).random((3, *cells), np.float32)
    expected = plain_zoom(prob, 8, *size)
    np.testing.assert_array_equal(zoom(prob, size, 8), expected)
    np.testing.assert_array_equal(argmax(prob, size, 8), expected.argmax(axis=0))


def test_equal_probabilities_give_the_first_class(either_code):
    """As they are at a border between two cells, and where a map is flat."""
    prob = np.zeros((4, 2, 3), np.float32)
    prob[2, :, 0], prob[1, :, 2] = 1, 1
    labels = argmax(prob, (8, 24), 8)
    assert labels[0, [0, 7, 8, 9, 16]].tolist() == [2, 2, 0, 1, 1]


def test_large_maps_by_threads_are_those_of_one(either_code):
    """An image of several bands, wide enough for threads."""
    prob = np.random.default_rng(2).random((5, 40, 41), np.float32)
    np.testing.assert_array_equal(argmax(prob, (315, 321), 8), zoom(prob, (315, 321), 8).argmax(axis=0))


def test_zoom_of_one_crops():
    """An upsampling network's map is cut to the image."""
    prob = np.random.default_rng(1).random((3, 16, 24), np.float32)
    np.testing.assert_array_equal(zoom(prob, (9, 13), 1), prob[:, :9, :13])


def test_zoom_refuses_a_map_that_is_too_small():
    """Two cells cover 16 pixels, not 17."""
    with pytest.raises(ValueError, match='2x3 cells of 8 pixels does not cover 17x24'):
        argmax(np.zeros((3, 2, 3), np.float32), (17, 24), 8)


def test_tight_tile_of_camvid():
    """360 rows: pixel 359 lies between cells 44 and 45, so 46 cells; 480 columns: 61; a side is 8 cells + 372."""
    assert tight_size((360, 480), (900, 1100)) == (46 * 8 + 372, 61 * 8 + 372)


@pytest.mark.parametrize('size', [(1, 1), (528, 528), (529, 600), (1024, 2048), (1269, 3000)])
@pytest.mark.parametrize('reference', [(900, 900), (852, 1640)])
def test_tight_tiles_cover_the_image_with_as_many_tiles(size, reference):
    """No more tiles than the authors', no larger than theirs rounded up to a whole cell."""
    for side, tight, given in zip(size, tight_size(size, reference), reference, strict=True):
        count = ceil(side / (given - 372))
        assert (tight - 372) % 8 == 0
        assert (count - 1) * (tight - 372) < side <= count * (tight - 372)
        assert tight <= given + 7


# The whole, on real Caffe


@pytest.mark.parametrize('size', SIZES, ids=str)
def test_label_maps_are_the_authors(toy_weights, size):
    """Front end and context module, every pixel."""
    predictor = Predictor('basic_toy', [toy_weights], size_hw=TILE)
    image = random_image(*size)
    net = load_net(deploy('basic_toy', size_hw=TILE), [toy_weights])
    prob = plain_zoom(plain_prob(net, image, dataset('toy').mean_bgr, TILE), 8, *size)
    got = predictor.label_map(image)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, prob.argmax(axis=0))


def test_the_toy_networks_tell_pixels_apart(toy_weights):
    """What the comparisons above rest on: the random network gives several classes."""
    assert len(np.unique(Predictor('basic_toy', [toy_weights], size_hw=TILE).label_map(random_image(35, 50)))) > 1


def test_an_upsampling_network_is_cropped(toy_weights, monkeypatch):
    """Its tiles come at full resolution; the label map is the plain argmax of their upper left part."""
    monkeypatch.setitem(NETS, 'up_toy', replace(NETS['basic_toy'], upsample=True))
    predictor = Predictor('up_toy', [toy_weights], size_hw=TILE)
    image = random_image(17, 25)
    prob = plain_prob(predictor.net, image, dataset('toy').mean_bgr, TILE)
    assert prob.shape[1:] == (32, 48)
    np.testing.assert_array_equal(predictor.label_map(image), prob[:, :17, :25].argmax(axis=0))


@pytest.mark.parametrize('size', [(9, 13), (40, 50), (41, 73)], ids=str)
def test_tight_tiles_leave_the_front_ends_scores_alone(toy_weights, size):
    """A front end sees 186 pixels around a cell and nothing else, so its scores do not depend on the tile."""
    reference = (372 + 40, 372 + 48)
    image = random_image(*size)
    cells = tuple(ceil((side - 1) / 8) + 1 for side in size)  # that the interpolation reads
    loose = Predictor('front_toy', [toy_weights], size_hw=reference).predict_scores(image)
    tight = Predictor('front_toy', [toy_weights], size_hw=reference, tiling='tight').predict_scores(image)
    both = tuple(slice(0, min(side)) for side in zip(cells, loose.shape[1:], tight.shape[1:], strict=True))
    np.testing.assert_allclose(tight[:, *both], loose[:, *both], atol=1e-5)


def test_kitti_tiles_meet_in_the_middle_of_a_cell_in_reference_only(toy_weights, monkeypatch):
    """1640 - 372 = 1268 pixels are 158 cells and a half: the authors' second tile begins 4 pixels before cell 159.

    The tiles of a photograph 2000 pixels wide, beside one input of the whole width.
    """
    monkeypatch.setitem(NETS, 'kitti_toy', replace(NETS['front_toy'], input_size_hw=(372 + 16, 1640)))
    image = random_image(16, 2000)
    whole = Predictor('front_toy', [toy_weights], size_hw=(372 + 16, 372 + 2000)).predict_scores(image)
    tight = Predictor('kitti_toy', [toy_weights], tiling='tight').predict_scores(image)
    np.testing.assert_allclose(tight[:, :2, :250], whole, atol=1e-5)
    reference = Predictor('kitti_toy', [toy_weights]).predict_scores(image)
    np.testing.assert_allclose(reference[:, :, :158], whole[:, :, :158], atol=1e-5)  # the 159th meets the tile's border
    shifted = Predictor('front_toy', [toy_weights], size_hw=(372 + 16, 372 + 2000)).predict_scores(image[:, 4:])
    np.testing.assert_allclose(reference[:, :, 159 + 30 : 159 + 60], shifted[:, :, 158 + 30 : 158 + 60], atol=1e-5)


@pytest.mark.parametrize('blob', ['conv5_3', 'final'])
def test_maps_of_a_blob_give_the_same_labels(toy_weights, blob):
    """Running on from a stored blob is running the whole network."""
    image = random_image(12, 20)
    whole = Predictor('basic_toy', [toy_weights], size_hw=TILE)
    expected = whole.label_map(image)
    maps = whole.net.blobs[blob].data[0].copy()
    rest = MapPredictor('basic_toy', [toy_weights], blob, maps.shape[1:])
    np.testing.assert_array_equal(rest.label_map(maps, (12, 20)), expected)


def test_maps_with_other_channels_are_refused(toy_weights):
    """Caffe would end the process."""
    rest = MapPredictor('basic_toy', [toy_weights], 'final', (4, 4))
    with pytest.raises(ValueError, match='3 channels for blob final, which has 7'):
        rest.label_map(np.zeros((3, 4, 4), np.float32), (8, 8))


def test_maps_too_small_for_fc6_are_refused(toy_weights):
    """fc6 spans 25 cells; Caffe would end the process on 24."""
    with pytest.raises(UserError, match='24x30 cells'):
        MapPredictor('basic_toy', [toy_weights], 'conv5_3', (24, 30))


def test_a_tile_of_broken_cells_is_refused(toy_weights):
    """381 - 372 = 9 pixels are no whole number of cells."""
    with pytest.raises(UserError, match='380 and 388'):
        Predictor('front_toy', [toy_weights], size_hw=(381, 388))


def test_the_net_takes_the_size_of_its_input(toy_weights):
    """Two sizes in turn."""
    net = load_net(deploy('front_toy', size_hw=(380, 380)), [toy_weights])
    assert forward(net, np.zeros((3, 388, 396), np.float32)).shape == (7, 2, 3)
    assert forward(net, np.zeros((3, 380, 380), np.float32)).shape == (7, 1, 1)


# Weights


def test_missing_layers_are_named(tmp_path):
    """A front end's file does not do for front end and context."""
    path = random_weights('front_toy', tmp_path / 'front.caffemodel')
    with pytest.raises(UserError, match='no weights for 8 layers: ctx_conv1_1, ctx_conv1_2, .*front.caffemodel'):
        Predictor('basic_toy', [path], size_hw=TILE)


def test_two_files_make_a_network(toy_weights, tmp_path):
    """Front end and context module from a file each give what one file of both gives."""
    whole = caffemodel.load(toy_weights)
    parts = [tmp_path / 'front.caffemodel', tmp_path / 'context.caffemodel']
    caffemodel.write(parts[0], {name: blobs for name, blobs in whole.items() if not name.startswith('ctx')})
    caffemodel.write(parts[1], {name: blobs for name, blobs in whole.items() if name.startswith('ctx')})
    image = random_image(16, 24)
    one, two = (Predictor('basic_toy', files, size_hw=TILE).predict_scores(image) for files in ([toy_weights], parts))
    np.testing.assert_array_equal(one, two)


def test_caffes_hdf5_gives_what_the_caffemodel_gives(toy_weights, tmp_path):
    """The form that Caffe writes with snapshot_format: HDF5, in one piece, and in pieces and packed as another program may."""
    layers, image = caffemodel.load(toy_weights), random_image(16, 24)
    expected = Predictor('basic_toy', [toy_weights], size_hw=TILE).predict_scores(image)
    as_caffes_hdf5(layers, tmp_path / 'w.caffemodel.h5')
    with h5py.File(tmp_path / 'packed.caffemodel.h5', 'w') as file:
        for name, blobs in layers.items():
            for number, blob in enumerate(blobs):
                file.create_dataset(f'data/{name}/{number}', data=blob, compression='gzip')
    for path in (tmp_path / 'w.caffemodel.h5', tmp_path / 'packed.caffemodel.h5'):
        np.testing.assert_array_equal(Predictor('basic_toy', [path], size_hw=TILE).predict_scores(image), expected)
        assert weight_files.find_weights('basic_toy', given=[path]) == [path]


def test_caffes_own_hdf5_is_read(toy_weights, tmp_path):
    """As Net::ToHDF5 of real Caffe writes it."""
    load_net(deploy('basic_toy', size_hw=TILE), [toy_weights]).save_hdf5(str(tmp_path / 'w.caffemodel.h5'))
    found = caffemodel.load(tmp_path / 'w.caffemodel.h5')
    for name, blobs in caffemodel.load(toy_weights).items():
        assert all(np.array_equal(*pair) for pair in zip(found[name], blobs, strict=True))


@pytest.mark.parametrize('keep', [0.3, 0.9])
def test_hdf5_that_is_cut_off_is_refused(toy_weights, tmp_path, keep):
    """With the file's name."""
    as_caffes_hdf5(caffemodel.load(toy_weights), tmp_path / 'w.h5')
    whole = (tmp_path / 'w.h5').read_bytes()
    (tmp_path / 'w.h5').write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(UserError, match=r'w\.h5: cut off \(.*; copy or download it again'):
        weight_files.find_weights('basic_toy', given=[tmp_path / 'w.h5'])


def test_weights_of_another_network_are_refused(toy_weights, tmp_path):
    """A context module is left over; the network that has one is named, and the way to the front end alone."""
    with pytest.raises(
        UserError, match=r'left over: 8 layers: ctx_conv1_1, .*weights of basic_toy: give that as --net, or .* join'
    ):
        weight_files.find_weights('front_toy', given=[toy_weights])
    caffemodel.write(tmp_path / 'deeper', caffemodel.load(toy_weights) | {'conv3_4': [np.zeros((9, 9, 3, 3))]})
    with pytest.raises(UserError, match='left over: conv3_4; basic_toy does not have it. Give weights of basic_toy'):
        weight_files.find_weights('basic_toy', given=[tmp_path / 'deeper'])


def test_what_has_no_weights_of_its_own_is_not_left_over(tmp_path):
    """The fixed upsampling of a training on all pixels; the layers Scale in FCN's file, where Power has the factor."""
    snapshot = random_weights('front_toy', tmp_path / 'snapshot.caffemodel')
    caffemodel.write(snapshot, caffemodel.load(snapshot) | {'upsample': [np.ones((7, 1, 16, 16))]})
    assert weight_files.find_weights('front_toy', given=[snapshot])
    scales = {'scale_pool4': [np.full(512, 0.01)], 'scale_pool3': [np.full(256, 0.0001)]}
    caffemodel.write(tmp_path / 'fcn', scales)
    assert weight_files.find_weights('fcn8s_pascal_voc_at_once', given=[tmp_path / 'fcn'])
    caffemodel.write(tmp_path / 'fcn', scales | {'scale_pool3': [np.full(256, 0.01)]})
    with pytest.raises(UserError, match='left over: scale_pool3'):
        weight_files.find_weights('fcn8s_pascal_voc_at_once', given=[tmp_path / 'fcn'])


@pytest.mark.parametrize('command', [
    lambda weights, folder: predict.main([*weights, '--out', str(folder / 'out'), str(folder / 'split' / 'a.png')]),
    lambda weights, folder: evaluate.main(
        [*weights, '--data', str(folder / 'split'), '--split', 'test', '--out', str(folder / 'out')]
    ),
    lambda weights, folder: extract_features.main(
        [*weights, '--blob', 'conv5_3', '--data', str(folder / 'split'), '--split', 'test', '--out', str(folder / 'out')]
    ),
], ids=['predict', 'test', 'extract_features'])  # fmt: skip
def test_values_that_are_no_numbers_are_refused(tmp_path, command):
    """One of them is enough; every command names file and layer."""
    layers = caffemodel.load(random_weights('front_toy', tmp_path / 'w.caffemodel'))
    layers['conv3_2'][0][0, 0, 0, 0] = np.nan
    caffemodel.write(tmp_path / 'w.caffemodel', layers)
    make_split(tmp_path / 'split', {'a': (20, 28)})
    with pytest.raises(UserError, match=r'w\.caffemodel: values that are not finite in conv3_2;'):
        command(['--net', 'front_toy', '--weights', str(tmp_path / 'w.caffemodel')], tmp_path)


@pytest.fixture
def snapshots(tmp_path, monkeypatch):
    """Writes a whole snapshot of a stage into a run folder of its own, as training leaves it."""
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


def test_weights_of_a_stage_on_stored_maps_come_after_those_that_made_the_maps(snapshots):
    """toy-basic trains on the scores of toy-front: the network needs both, its stored scores only the second."""
    front, basic = snapshots('toy-front'), snapshots('toy-basic')
    assert weight_files.find_weights('basic_toy') == [front, basic]
    assert weight_files.find_weights('basic_toy', 'final') == [basic]


def test_weights_of_a_frozen_trunk_are_cut_to_the_trunk(snapshots, tmp_path):
    """A VGG-16 with its own wide fc6 would not fit a narrow network; conv5_3 and before is all that is wanted of it."""
    trained = snapshots('camvid-cpu-front')
    vgg16 = tmp_path / 'pretrained' / 'vgg16.caffemodel'
    caffemodel.write(vgg16, {'conv1_1': [np.ones(3)], 'fc6': [np.ones(4)]})
    trunk, last = weight_files.find_weights('front_camvid_fc128')
    assert last == trained and caffemodel.load(trunk).keys() == {'conv1_1'}
    caffemodel.write(vgg16, {'conv1_1': [np.ones(3)]})
    assert weight_files.find_weights('front_camvid_fc128') == [vgg16, trained]


def test_a_large_image_is_not_copied_as_floats(toy_weights, monkeypatch):
    """1,600 x 1,600 pixels are 7.7 MB; padded, 11.7 MB; as floats both would be 78 MB."""
    image, predictor = random_image(1600, 1600), Predictor('front_toy', [toy_weights])
    monkeypatch.setattr('tools.inference.predictor.forward', lambda net, tile: np.zeros((7, 24, 72), np.float32))
    tracemalloc.start()
    predictor.predict_scores(image)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40e6


def test_no_weights_at_all_says_what_to_run(snapshots, tmp_path):
    """Nothing trained, nothing fetched; then a fetched file is taken."""
    with pytest.raises(UserError, match='camvid.caffemodel; run: make weights-dilation8_camvid, or make train-camvid-joint$'):
        weight_files.find_weights('dilation8_camvid')
    with pytest.raises(UserError, match='front_toy.caffemodel; run: make train-toy-front$'):
        weight_files.find_weights('front_toy')
    with pytest.raises(UserError, match='front_toy@mine.caffemodel; run: make train-toy-front DATASET=mine$'):
        weight_files.find_weights('front_toy@mine')
    fetched = tmp_path / 'pretrained' / 'dilation8_camvid.caffemodel'
    caffemodel.write(fetched, {'conv1_1': [np.ones(3)]})
    assert weight_files.find_weights('dilation8_camvid') == [fetched]


def test_a_named_file_that_is_missing_is_an_error(tmp_path):
    """Never another file instead."""
    with pytest.raises(UserError, match='no weights at .*nowhere'):
        weight_files.find_weights('front_toy', given=[tmp_path / 'nowhere'])


# Pictures


def test_colours_are_the_palette_in_bgr():
    """Building is (128, 0, 0) in RGB, Bicyclist (0, 128, 192); 255 is black."""
    assert colorize(np.array([[0, 10, 255]], np.uint8), dataset('camvid')).tolist() == [[[0, 0, 128], [192, 128, 0], [0, 0, 0]]]


def test_overlay_mixes_where_there_is_a_class():
    """Half and half, and the image alone under black."""
    image = np.full((1, 2, 3), 100, np.uint8)
    assert overlay(image, np.array([[[0, 0, 200], [0, 0, 0]]], np.uint8)).tolist() == [[[50, 50, 150], [100, 100, 100]]]


def test_a_contact_sheet_holds_strips_and_every_class():
    """Strips of two shapes fit under each other; the legend shows each class's colour."""
    facts = dataset('camvid')
    blank = [np.zeros((side, 40, 3), np.uint8) for side in (20, 30)]
    labels = [np.full(image.shape[:2], 255, np.uint8) for image in blank]
    rows = [('a', panels(image, label, label, facts)) for image, label in zip(blank, labels, strict=True)]
    sheet = contact_sheet(rows, facts)
    colours = {tuple(pixel) for pixel in sheet.reshape(-1, 3)}
    assert sheet.shape[1] == 4 * 320 + 3 * 8 + 2 * 8 and all(rgb[::-1] in colours for rgb in facts.palette)


def test_a_column_of_a_contact_sheet_is_the_panels_of_one_heading():
    """Two images of 40x20 pixels become panels of 320x160, each under a line of 20 pixels with its name, 8 pixels apart."""
    facts = dataset('toy')
    rows = [('a', [np.full((20, 40, 3), 10 * place, np.uint8) for place in range(4)]) for _ in range(2)]
    for place in range(4):
        found = column(contact_sheet(rows, facts), place, facts)
        assert found.shape == (2 * (20 + 160) + 8, 320, 3)
        assert (found[20:180] == 10 * place).all() and (found[208:] == 10 * place).all()
