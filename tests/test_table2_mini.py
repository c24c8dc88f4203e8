"""Table 2 in miniature: its networks against those of full width, the trained layers, and the report."""

from dataclasses import replace

import numpy as np
import pytest

from dataset_prep.datasets import dataset
from pretrained import caffemodel
from pretrained.weights import WEIGHTS
from prototxt.experiments import NETS, STAGES
from prototxt.networks import deploy, training
from tests.narrow_nets import caffe, fresh_net, stage_data
from tests.released_nets import as_line
from tools.recipes import on_camvid
from tools.report.content import Scores
from tools.report.paper_tables import TABLE
from tools.support.errors import UserError
from tools.training import initial, preflight
from tools.training.options import Options
from tools.training.settings import settings

RECIPE = on_camvid.RECIPES['table2-mini']
SMALL = {name: stage for name, stage in STAGES.items() if name.startswith('camvid-small')}
LARGE = {  # stage -> the network of full width that it is made from
    'camvid-small-fcn8s': 'fcn8s_camvid',
    'camvid-small-deeplab': 'deeplab_pascal_voc',
    'camvid-small-deeplab-msc': 'deeplab_msc_pascal_voc',
    'camvid-small-front': 'front_camvid',
    'camvid-small-front-pooling': 'front_camvid_pooling',
    'camvid-small-front-padding': 'front_camvid_padding',
    'camvid-small-front-pooling-padding': 'front_camvid_pooling_padding',
}
TRUNK = [f'conv{group}_{i}' for group, depth in enumerate((2, 2, 3, 3, 3), 1) for i in range(1, depth + 1)]


def test_the_systems_are_those_of_table_2_and_of_the_ablation():
    """Each has a stage with a narrow version of a network of full width."""
    assert list(RECIPE.systems)[:4] == [row.name for row in TABLE[2].rows]
    assert set(RECIPE.systems.values()) == set(SMALL) == set(LARGE)


@pytest.mark.parametrize('name', SMALL)
def test_small_networks_differ_in_fc_and_input_only(name):
    """128 channels instead of 4096, 320x240 pixels at sides that the network accepts, and CamVid's classes."""
    message = deploy(SMALL[name].net)
    here = [as_line(layer) for layer in message.layer[1:] if not layer.name.startswith('scale_')]
    large = [as_line(layer) for layer in deploy(LARGE[name]).layer[1:]]
    for voc, own in ((' o4096', ' o128'), (' o21', ' o11'), (' g21', ' g11'), ('fc8_pascal', 'fc8_camvid')):
        large = [line.replace(voc, own) for line in large]
    assert here == large
    sides = {'deeplab': [242, 322], 'deeplab-msc': [241, 321], 'fcn8s': [240, 320], 'front': [612, 692]}
    sides |= {'front-pooling': [612, 692], 'front-padding': [240, 320], 'front-pooling-padding': [240, 320]}
    assert list(message.layer[0].input_param.shape[0].dim)[2:] == sides[name.removeprefix('camvid-small-')]


def test_fcn_at_once_scales_its_pooled_maps(tmp_path):
    """The factors before the scores are 0.01 and 0.0001 (voc-fcn8s-atonce/net.py)."""
    message = deploy('fcn8s_camvid_small', size_hw=(40, 40))
    assert [layer.name for layer in deploy('fcn8s_camvid').layer if layer.name.startswith('scale')] == []
    path = tmp_path / 'net.prototxt'
    path.write_text(str(message))
    net = caffe.Net(str(path), caffe.TEST)
    random = np.random.default_rng(0)
    for blobs in net.params.values():
        blobs[0].data[...] = random.normal(0, 1, blobs[0].data.shape) * (2 / np.prod(blobs[0].data.shape[1:])) ** 0.5
    net.blobs['data'].data[...] = random.normal(0, 60, net.blobs['data'].data.shape)
    net.forward()
    for group, factor in ((4, 0.01), (3, 0.0001)):
        pooled, weights = net.blobs[f'pool{group}'].data[0], net.params[f'score_pool{group}'][0].data[:, :, 0, 0]
        scores = np.tensordot(weights, factor * pooled, 1)
        np.testing.assert_allclose(net.blobs[f'score_pool{group}'].data[0], scores, rtol=1e-3, atol=1e-3 * np.abs(scores).max())


def test_settings_are_the_same_for_all():
    """Only the networks differ: all have one pass over the 367 images, the same rates and the same start."""
    varied = {'net', 'init', 'fresh'}
    rows = [{field: value for field, value in vars(stage).items() if field not in varied} for stage in SMALL.values()]
    assert all(row == rows[0] for row in rows)
    assert (
        rows[0]['max_iter'] * rows[0]['batch_size'] == dataset('camvid').splits['train'] and rows[0]['normalization'] == 'VALID'
    )
    assert {stage.init[0] for stage in SMALL.values()} == {'vgg16-trunk'}


@pytest.mark.usefixtures('narrow_nets')
@pytest.mark.parametrize('name', SMALL)
def test_only_what_comes_after_the_trunk_is_trained(name, tmp_path):
    """lr_mult is 1 for weights and 2 for biases; the trunk and FCN's upsampling are frozen, and no gradient reaches the trunk."""
    for layer in training(name, 'x').layer:
        if layer.type in ('Convolution', 'Deconvolution'):
            still = layer.name in TRUNK or layer.type == 'Deconvolution'
            assert [rate.lr_mult for rate in layer.param] == ([0, 0] if still else [1, 2])[: len(layer.param)], layer.name
    stage = STAGES[name]
    net = fresh_net(name, stage_data(stage, tmp_path / 'lmdb', stage.label_stride, 404), tmp_path, crop_size=404)
    final = net.params[NETS[stage.net].front_end.final]
    final[0].data[...] = np.random.default_rng(0).normal(0, 1, final[0].data.shape)  # FCN's are zero and stop the gradient
    for layer, blobs in net.params.items():
        if layer.startswith('up'):
            blobs[0].data[...] = 1
    net.forward()
    net.backward()
    assert np.abs(final[0].diff).max() > 0 and np.abs(net.params['fc6'][0].diff).max() > 0
    assert not any(blob.diff.any() for layer in TRUNK for blob in net.params[layer])
    assert not net.blobs['conv5_3'].diff.any()


def test_only_the_trunk_has_starting_weights(tmp_path, monkeypatch):
    """VGG-16 with 4096 channels serves networks with 128. If it is missing, the message names the command that makes it."""
    path = tmp_path / 'vgg16.caffemodel'
    monkeypatch.setitem(WEIGHTS, 'vgg16', replace(WEIGHTS['vgg16'], file=str(path)))
    with pytest.raises(UserError, match='no weights at .*vgg16.caffemodel; run: make weights-vgg16'):
        initial.vgg16_convolutions('front_camvid_small')
    caffemodel.write(path, {name: [np.full((2, 3), i, np.float32)] for i, name in enumerate((*TRUNK, 'fc6', 'fc7'))})
    found = initial.vgg16_convolutions('front_camvid_small')
    assert {name: blobs[0][0, 0] for name, blobs in found.items()} == dict(zip(TRUNK, range(13), strict=True))


def test_a_missing_lmdb_is_named_with_its_size_and_folder():
    """The command in the message makes data/camvid-320x240/train_612."""
    asked = settings('camvid-small-front', Options(data='/nowhere'))
    with pytest.raises(UserError, match='no LMDB at /nowhere/camvid-320x240/train_612; run: make lmdb-camvid DATA=FOLDER'
                       ' SIZE=320x240 OUT=data/camvid-320x240 CROP_SIZE=612'):  # fmt: skip
        preflight.check_lmdb(asked)


def test_own_data_have_their_own_size():
    """NAME@DATASET uses the images in data/DATASET at their own size."""
    assert NETS['fcn8s_camvid_small@mine'].folder == 'mine' and NETS['fcn8s_camvid_small'].folder == 'camvid-320x240'


def test_orders_side_by_side():
    """The paper's Table 2 has 62.1, 62.2, 62.9 and 67.6. The ablation is not in the sentence."""
    paper = {row.name: row.mean_iou for row in TABLE[2].rows}
    means = {'FCN-8s': 0.4, 'DeepLab': 0.30, 'DeepLab-Msc': 0.35, 'Our front end': 0.2, 'Front end, pooling': 0.9}
    assert on_camvid.orders([Scores(name, mean, {}, 233) for name, mean in means.items()], paper) == (
        'Order here: Our front end 20.0 < DeepLab 30.0 < DeepLab-Msc 35.0 < FCN-8s 40.0. '
        'In the paper: DeepLab 62.1 < FCN-8s 62.2 < DeepLab-Msc 62.9 < Our front end 67.6.'
    )
