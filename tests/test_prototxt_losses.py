"""The loss of each stage in real Caffe: sizes of scores and labels, the first loss, and which label belongs to which score."""

import numpy as np
import pytest

from dataset_prep.datasets import IGNORE_LABEL, dataset
from prototxt.experiments import NETS, STAGES, FrontEnd
from prototxt.networks import evaluation, training
from tests.narrow_nets import WIDTH, caffe, fresh_net, score_cells, stage_data, write_datums

pytestmark = pytest.mark.usefixtures('narrow_nets')
# FCN's scores begin at zero, and DeepLab's upsampling leaves 8 (n - 1) + 1 pixels: test_prototxt_comparison.
OTHERS = [name for name, stage in STAGES.items() if isinstance(NETS[stage.net].front_end, FrontEnd)]
KINDS = [(name, kind) for name in OTHERS for kind in (False, True) if not (kind and NETS[STAGES[name].net].pixel_loss)]


@pytest.mark.parametrize(('name', 'upsample_loss'), KINDS)
def test_label_is_as_large_as_the_scores_and_the_first_loss_is_ln_c(name, upsample_loss, tmp_path):
    """Scores have one label per cell, or one per pixel at stride 1; a start that prefers no class costs ln C."""
    stage = STAGES[name]
    stride = 1 if upsample_loss or NETS[stage.net].pixel_loss else 8
    source = stage_data(stage, tmp_path / 'lmdb', stride, stage.crop_size)
    net = fresh_net(name, source, tmp_path, batch_per_pass=1, upsample_loss=upsample_loss)
    loss = net.forward()['loss']
    classes, (high, wide) = dataset(NETS[stage.net].dataset).num_classes, score_cells(stage, stage.crop_size)
    scores = net.blobs[net.bottom_names['loss'][0]].data
    assert scores.shape[:2] == (1, classes)
    assert scores.size == classes * high * wide * (8 // stride) ** 2
    assert net.blobs['label'].data.size == scores.size / classes
    assert scores.std() > 0  # not all ReLUs are shut
    summed = (net.blobs['label'].data != IGNORE_LABEL).sum() if NETS[stage.net].crf_rnn else 1  # Zheng et al. take the sum
    np.testing.assert_allclose(loss / summed, np.log(classes), rtol=0.02)  # fyu/dilation, issue 12


@pytest.mark.parametrize('name', ['voc-front', 'camvid-joint', 'camvid-cpu-front', 'voc-context-large', 'cityscapes-context'])
def test_test_phase_measures_loss_and_accuracy(name, tmp_path):
    """The loss is the cross entropy, and accuracy is the fraction of valid labels that have the highest score."""
    stage = STAGES[name]
    crop_size = stage.crop_size and 404
    source = stage_data(stage, tmp_path / 'lmdb', stage.label_stride, crop_size)
    net = fresh_net(name, source, tmp_path, evaluation, caffe.TEST, crop_size=crop_size)
    final = NETS[stage.net].front_end.final
    if final in net.params:
        bias = net.params[final][1].data
        bias[...] = np.random.default_rng(2).normal(0, 1, bias.shape)  # no ties between classes
    found = net.forward()
    scores_name, label_name = net.bottom_names['loss'][:2]
    scores = net.blobs[scores_name].data.astype(np.float64)
    label = net.blobs[label_name].data.reshape(scores.shape[0], *scores.shape[2:]).astype(int)
    valid = label != IGNORE_LABEL
    named = (scores.argmax(axis=1) == label)[valid]
    np.testing.assert_allclose(found['accuracy'], named.mean(), rtol=1e-5)
    np.testing.assert_allclose(found['loss'], cross_entropy(scores, label), rtol=1e-5)


def cross_entropy(scores, label):
    """Mean over valid pixels of -log of the softmax at the label; scores (N, C, ...), label (N, ...)."""
    largest = scores.max(axis=1, keepdims=True)
    log_softmax = scores - largest - np.log(np.exp(scores - largest).sum(axis=1, keepdims=True))
    taken = np.take_along_axis(log_softmax, np.minimum(label, scores.shape[1] - 1)[:, None], axis=1)[:, 0]
    return -taken[label != IGNORE_LABEL].mean()


def test_test_phase_takes_the_centre_and_does_not_mirror(tmp_path):
    """Of a record of 420x460 pixels it takes the crop of 404 from (8, 28) on, unmirrored."""
    rng = np.random.default_rng(0)
    pair = rng.integers(0, 11, (4, 420, 460), np.uint8)
    source = write_datums(tmp_path / 'lmdb', [pair])
    net = fresh_net('camvid-front', source, tmp_path, evaluation, caffe.TEST, crop_size=404)
    net.forward()
    centre = pair[:, 8 : 8 + 404, 28 : 28 + 404]
    means = np.array(dataset('camvid').mean_bgr)[:, None, None]
    np.testing.assert_allclose(net.blobs['data'].data[0], centre[:3] - means, atol=1e-4)
    np.testing.assert_array_equal(net.blobs['label'].data[0, 0], centre[3, 186 : 186 + 32 : 8, 186 : 186 + 32 : 8])


def test_upsampled_loss_on_images_takes_every_pixel(tmp_path):
    """Its label is the crop without the margin of 186 pixels on each side."""
    rng = np.random.default_rng(0)
    pair = rng.integers(0, 11, (4, 404, 404), np.uint8)
    pair[3] = pair[0]  # so that a mirrored crop has a mirrored label
    source = write_datums(tmp_path / 'lmdb', [pair])
    net = fresh_net('camvid-front', source, tmp_path, crop_size=404, batch_per_pass=1, upsample_loss=True)
    net.forward()
    blue = net.blobs['data'].data[0, 0] + dataset('camvid').mean_bgr[0]
    np.testing.assert_array_equal(net.blobs['label'].data[0, 0], blue[186 : 186 + 32, 186 : 186 + 32].round())
    assert net.blobs['upsample'].data.shape == (1, 11, 32, 32)


def planes_of(label):
    """Labels (8h, 8w) as planes (64, h, w) of a Datum: plane 8a + b holds pixels (8i + a, 8j + b)."""
    planes = np.empty((64, label.shape[0] // 8, label.shape[1] // 8), label.dtype)
    for row, column in np.ndindex(label.shape):
        planes[8 * (row % 8) + column % 8, row // 8, column // 8] = label[row, column]
    return planes


@pytest.mark.parametrize('name', ['cityscapes-context', 'camvid-cpu-front'])
def test_upsampled_loss_on_maps_meets_each_pixels_own_label(name, tmp_path):
    """The loss is the mean over the pixels of the upsampled map, each with its own label; cells end past the image, with 255."""
    stage, rng = STAGES[name], np.random.default_rng(0)
    classes = dataset(NETS[stage.net].dataset).num_classes
    label = rng.integers(0, classes, (35, 46), np.uint8)  # of an image that ends within the last cells of 5 x 6
    cells = planes_of(np.pad(label, ((0, 5), (0, 2)), constant_values=IGNORE_LABEL))
    border = 12 if stage.start == 'conv5_3' else 0
    planes = np.pad(cells, ((0, 0), (border, border), (border, border)), constant_values=IGNORE_LABEL)
    channels = classes if stage.start == 'final' else WIDTH
    maps = rng.uniform(0, 3, (channels, *planes.shape[1:]))
    source = write_datums(tmp_path / 'lmdb', [np.concatenate([maps, planes]).astype(float)])
    net = fresh_net(name, source, tmp_path, batch_per_pass=1, upsample_loss=True)
    if stage.start != 'final':
        net.params['final'][0].data[...] *= 1000  # scores that differ
    loss = net.forward()['loss']
    upsampled = net.blobs['ctx_upsample' if NETS[stage.net].context else 'upsample'].data.astype(np.float64)
    assert upsampled.shape == (1, classes, 40, 48) and upsampled.std() > 0.1
    wanted = np.full((1, 40, 48), IGNORE_LABEL)
    wanted[0, :35, :46] = label
    np.testing.assert_allclose(loss, cross_entropy(upsampled, wanted), rtol=1e-5)


def test_gradient_of_the_upsampled_loss_on_maps_reaches_each_pixel(tmp_path):
    """At each pixel of the upsampled map it is softmax minus one-hot, divided by the number of valid pixels."""
    rng = np.random.default_rng(1)
    label = rng.integers(0, 19, (40, 48), np.uint8)
    maps = rng.uniform(0, 3, (19, 5, 6))
    source = write_datums(tmp_path / 'lmdb', [np.concatenate([maps, planes_of(label)]).astype(float)])
    net = fresh_net('cityscapes-context', source, tmp_path, batch_per_pass=1)
    net.forward()
    net.backward()
    upsampled = net.blobs['ctx_upsample'].data[0].astype(np.float64)
    softmax = np.exp(upsampled) / np.exp(upsampled).sum(axis=0)
    wanted = (softmax - np.eye(19)[label].transpose(2, 0, 1)) / label.size
    np.testing.assert_allclose(net.blobs['ctx_upsample'].diff[0], wanted, atol=1e-7)


def test_training_and_testing_differ_only_where_a_phase_does():
    """The layers up to the loss have the same names, types and bottoms; the test net adds Accuracy."""
    for name in STAGES:
        kept = [
            [(layer.name, layer.type, list(layer.bottom)) for layer in build(name, 'x').layer] for build in (training, evaluation)
        ]
        assert kept[0] == kept[1][:-1], name
        assert kept[1][-1][1] == 'Accuracy'
