"""Image and label stay together through the stock layers: crop, mirror, stride, offset."""

import numpy as np

from dataset_prep.datasets import dataset
from prototxt.networks import training, write
from prototxt.shapes import front_end_size
from tests.narrow_nets import write_datums
from tools.support.caffe_import import import_caffe

caffe = import_caffe()
CROP = 404
CELLS = front_end_size(CROP)  # 4


def stage_net(stage, source, tmp_path, **options):
    """Real Caffe net of a stage's training prototxt."""
    write(training(stage, str(source), **options), tmp_path / 'train.prototxt')
    return caffe.Net(str(tmp_path / 'train.prototxt'), caffe.TRAIN)


def test_label_is_that_of_the_cells_top_left_pixel(tmp_path):
    """Label = blue value modulo the classes at every pixel, so each label must fit the blue value 186 + 8 i into the crop."""
    facts = dataset('toy')
    rng = np.random.default_rng(0)
    pair = rng.integers(0, 256, (4, 470, 450), dtype=np.uint8)
    pair[3] = pair[0] % facts.num_classes
    write_datums(tmp_path / 'lmdb', [pair])
    caffe.set_random_seed(3)
    net = stage_net('toy-front', tmp_path / 'lmdb', tmp_path, crop_size=CROP, batch_per_pass=2)
    corners, mirrored = set(), set()
    for _ in range(8):
        net.forward(end='label')
        blue = net.blobs['data'].data[:, 0] + facts.mean_bgr[0]
        sampled = blue[:, 186 : 186 + 8 * CELLS : 8, 186 : 186 + 8 * CELLS : 8].round()
        np.testing.assert_array_equal(net.blobs['label'].data[:, 0], sampled % facts.num_classes)
        for image in blue.round():
            first, last = image[0, 0], image[0, -1]
            corners.add((first, last))
            mirrored.add(bool((pair[0][:, ::-1] == first).any() and not _is_crop(pair[0], image)))
    assert len(corners) > 4  # crops are random
    assert mirrored == {True, False}  # and mirrored half of the time


def _is_crop(image, crop):
    """Is `crop` an unmirrored window of `image`?"""
    height, width = crop.shape
    rows, columns = image.shape[0] - height + 1, image.shape[1] - width + 1
    corners = [(r, c) for r in range(rows) for c in range(columns) if image[r, c] == crop[0, 0]]
    return any((image[r : r + height, c : c + width] == crop).all() for r, c in corners)


def test_mean_is_subtracted_channel_by_channel(tmp_path):
    """A constant image of the mean's rounded values gives what rounding left, in B, G, R order."""
    mean = np.array(dataset('toy').mean_bgr)
    pair = np.zeros((4, CROP, CROP), np.uint8)
    pair[:3] = mean.round()[:, None, None]
    write_datums(tmp_path / 'lmdb', [pair])
    net = stage_net('toy-front', tmp_path / 'lmdb', tmp_path, crop_size=CROP, batch_per_pass=1)
    net.forward(end='label')
    np.testing.assert_allclose(net.blobs['data'].data[0, :, 0, 0], mean.round() - mean, atol=1e-4)


def test_ignored_pixels_add_nothing_to_the_loss(tmp_path):
    """Loss over the one valid pixel of a fresh identity-less module (all scores zero): ln C."""
    classes = dataset('camvid').num_classes
    maps = np.full((classes + 1, 5, 4), 255.0)
    maps[classes, 2, 2] = 4
    write_datums(tmp_path / 'lmdb', [maps])
    net = stage_net('camvid-cpu-basic', tmp_path / 'lmdb', tmp_path)
    np.testing.assert_allclose(net.forward()['loss'], np.log(classes), rtol=1e-6)
