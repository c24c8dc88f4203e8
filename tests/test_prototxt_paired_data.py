"""Image and label stay aligned through crop, mirror, stride and offset of the stock layers."""

import numpy as np

from dataset_prep.datasets import dataset
from prototxt.networks import training
from prototxt.shapes import front_end_size
from tests.narrow_nets import write_datums
from tools.support.caffe_import import import_caffe, net_of

caffe = import_caffe()
CROP = 404
CELLS = front_end_size(CROP)  # 4


def stage_net(stage, source, **options):
    """A real Caffe net of a stage's training prototxt."""
    return net_of(training(stage, str(source), **options), 'train')


def test_label_is_that_of_the_cells_top_left_pixel(tmp_path):
    """The label here is the blue value modulo the classes, so cell i's label must fit the blue value at 186 + 8 i of the crop."""
    facts = dataset('toy')
    pair = np.random.default_rng(0).integers(0, 256, (4, 470, 450), dtype=np.uint8)
    pair[1] = np.arange(450) // 2  # green grows from left to right
    pair[3] = pair[0] % facts.num_classes
    write_datums(tmp_path / 'lmdb', [pair])
    caffe.set_random_seed(3)
    net = stage_net('toy-front', tmp_path / 'lmdb', crop_size=CROP, batch_per_pass=2)
    corners, mirrored = set(), set()
    for _ in range(8):
        net.forward(end='label')
        blue, green, _ = (net.blobs['data'].data + np.array(facts.mean_bgr)[:, None, None]).round().transpose(1, 0, 2, 3)
        sampled = blue[:, 186 : 186 + 8 * CELLS : 8, 186 : 186 + 8 * CELLS : 8]
        np.testing.assert_array_equal(net.blobs['label'].data[:, 0], sampled % facts.num_classes)
        corners |= set(blue[:, 0, 0])
        mirrored |= set(green[:, 0, 0] > green[:, 0, -1])
    assert len(corners) > 4  # crops are random
    assert mirrored == {True, False}  # and sometimes mirrored


def test_mean_is_subtracted_channel_by_channel(tmp_path):
    """An image of the mean's rounded values becomes what rounding left, in the order B, G, R."""
    mean = np.array(dataset('toy').mean_bgr)
    pair = np.zeros((4, CROP, CROP), np.uint8)
    pair[:3] = mean.round()[:, None, None]
    write_datums(tmp_path / 'lmdb', [pair])
    net = stage_net('toy-front', tmp_path / 'lmdb', crop_size=CROP, batch_per_pass=1)
    net.forward(end='label')
    np.testing.assert_allclose(net.blobs['data'].data[0, :, 0, 0], mean.round() - mean, atol=1e-4)


def test_ignored_pixels_add_nothing_to_the_loss(tmp_path):
    """With all scores zero, the loss over the one valid pixel is ln C."""
    classes = dataset('camvid').num_classes
    maps = np.full((classes + 1, 5, 4), 255.0)
    maps[classes, 2, 2] = 4
    write_datums(tmp_path / 'lmdb', [maps])
    net = stage_net('camvid-cpu-basic', tmp_path / 'lmdb')
    np.testing.assert_allclose(net.forward()['loss'], np.log(classes), rtol=1e-6)
