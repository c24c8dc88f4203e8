"""FCN, DeepLab and the front end with parts brought back, against their authors' files, in deployment and in training."""

import re
from math import log

import numpy as np
import pytest

from dataset_prep.datasets import dataset
from pretrained import caffemodel
from pretrained.bilinear import bilinear_kernel, bilinear_weights
from prototxt.experiments import NETS, STAGES, DeepLab, Fcn, Whole
from prototxt.framing import input_hw, pixels_summed
from prototxt.layers import L, aligned
from prototxt.networks import deploy, training
from prototxt.shapes import param_shapes
from prototxt.solver import solver
from tests.compared_nets import COMPARED, TRAINED_BRANCHES, TRAINED_DEEPLAB, TRAINED_FUSION, learned_shapes, lines_of
from tests.narrow_nets import fresh_net, stage_data, write_datums
from tests.released_nets import as_line, layers
from tests.toy_nets import random_weights
from tools.inference.caffe_net import forward, load_net
from tools.inference.extraction import part_of_net
from tools.receptive.fields import whole_fields
from tools.receptive_field import asked_part
from tools.support.caffe_import import import_caffe, net_of
from tools.support.errors import UserError

caffe = import_caffe()
OTHER_DATA = {'camvid': 11, 'kitti': 11, 'cityscapes': 19}
OF_OTHER_DATA = [(name, data) for name in COMPARED for data in OTHER_DATA if name.replace('pascal_voc', data) in NETS]
ABLATED = [name for name in NETS if re.fullmatch(r'front_(pascal_voc|camvid)_(pooling|padding|pooling_padding)', name)]
TRAINED = [name for name, stage in STAGES.items() if isinstance(NETS[stage.net].front_end, (Fcn, DeepLab))]
BY_AUTHORS = [name for name in TRAINED if not name.startswith(('camvid-small', 'camvid-night'))]


def test_plain_deeplab_is_trained_without_the_padding_of_pool4():
    """The deployed net has that padding, and crops its scores."""
    trained = lines_of(training('voc-deeplab', '/lmdb'))
    start = trained.index('conv1_1 o64 k3 p1 > data')
    assert ['conv1_1 o64 k3 p1', *trained[start + 1 : -1]] == layers(TRAINED_DEEPLAB)


@pytest.mark.parametrize(('name', 'scores'), [('voc-deeplab-msc', 'fc8_pascal'), ('voc-deeplab-msc-largefov', 'fc8_voc12')])
def test_multi_scale_deeplab_is_trained_at_stride_8(name, scores):
    """In training the branches' convolutions have strides, so that all scores are added at fc8's stride of 8."""
    trained = lines_of(training(name, '/lmdb'))
    branches, fusion = layers(TRAINED_BRANCHES), layers(TRAINED_FUSION.format(scores))
    start = trained.index(branches[0])
    assert trained[start : start + len(branches) + 1] == branches + fusion


@pytest.mark.parametrize(('name', 'data'), OF_OTHER_DATA)
def test_other_data_sets_have_the_same_net(name, data):
    """Only the number of classes differs, and the name of DeepLab's scores, which has the data set in it."""
    classes = OTHER_DATA[data]
    here = [
        line.replace(f'fc8_{data}', 'fc8_voc12').replace(f'o{classes} ', 'o21 ')
        for line in lines_of(deploy(name.replace('pascal_voc', data)))
    ]
    assert [line.replace(f'g{classes}', 'g21') for line in here] == layers(COMPARED[name])
    assert dataset(data).num_classes == classes


def test_what_zheng_et_al_add_to_fcn_8s(tmp_path):
    """Only the first upsampling has a bias; images are filled up to 500x500; ten iterations; probabilities sum to 1."""
    message = deploy('fcn8s_pascal_voc_crfrnn')
    biases = [layer.name for layer in message.layer if layer.type == 'Deconvolution' and layer.convolution_param.bias_term]
    assert biases == ['score2'] and input_hw(NETS['fcn8s_pascal_voc_crfrnn'], (375, 500), fill=True) == (500, 500)
    assert '"iterations_test": 10' in message.layer[-2].python_param.param_str
    path = random_weights('fcn8s_pascal_voc_crfrnn', tmp_path / 'w.caffemodel')
    net = load_net(deploy('fcn8s_pascal_voc_crfrnn', size_hw=(33, 40)), [path])
    prob = forward(net, np.random.default_rng(0).normal(0, 50, (3, 33, 40)).astype(np.float32))
    assert prob.shape == (21, 33, 40) and np.allclose(prob.sum(axis=0), 1, atol=1e-5)


@pytest.mark.parametrize(('name', 'offsets'), [
    ('fcn32s_pascal_voc', [19]), ('fcn16s_pascal_voc', [5, 27]), ('deeplab_pascal_voc', [7]),
    *((f'fcn8s_pascal_voc{variant}', [5, 9, 31]) for variant in ('', '_at_once', '_crfrnn')),
])  # fmt: skip
def test_crop_offsets_are_the_authors(name, offsets):
    """The Crop layers along height and width start where those in the authors' files do."""
    crops = [layer.crop_param for layer in deploy(name).layer if layer.type == 'Crop']
    assert [(param.axis, list(param.offset)) for param in crops] == [(2, [offset]) for offset in offsets]


@pytest.mark.parametrize('zoom', [2, 4, 8])
def test_aligned_upsampling_is_interp(zoom):
    """As in DeepLab's Interp, n cells become zoom (n - 1) + 1 pixels, and pixel y lies at cell y / zoom."""
    spec = caffe.NetSpec()
    spec.data = L.Input(shape=dict(dim=[1, 3, 5, 7]))
    spec.zoomed = aligned(spec.data, 3, zoom)
    net = net_of(spec.to_proto())
    cells = np.random.default_rng(0).normal(size=(3, 5, 7))
    net.blobs['data'].data[...] = cells
    found = net.forward()['zoomed'][0]
    assert found.shape == (3, 4 * zoom + 1, 6 * zoom + 1)
    for y, x in np.ndindex(found.shape[1:]):
        (row, down), (column, right) = divmod(y, zoom), divmod(x, zoom)
        below, beside = min(row + 1, 4), min(column + 1, 6)
        upper = cells[:, row, column] * (zoom - right) + cells[:, row, beside] * right
        lower = cells[:, below, column] * (zoom - right) + cells[:, below, beside] * right
        np.testing.assert_allclose(found[:, y, x], (upper * (zoom - down) + lower * down) / zoom**2, atol=1e-5)


def test_bilinear_kernels_by_hand():
    """Factor 2 gives 1/4 3/4 3/4 1/4 along each axis; kernels between different classes are zero."""
    np.testing.assert_allclose(bilinear_kernel(4)[1], np.array([1, 3, 3, 1]) / 4 * 3 / 4)
    weights = bilinear_weights('fcn8s_camvid')
    assert {name: blobs[0].shape for name, blobs in weights.items()} == {
        'upscore2': (11, 11, 4, 4), 'upscore_pool4': (11, 11, 4, 4), 'upscore8': (11, 11, 16, 16),
    }  # fmt: skip
    for (kernels,) in weights.values():
        assert not kernels[~np.eye(11, dtype=bool)].any()
        assert (kernels[3, 3] == bilinear_kernel(kernels.shape[-1])).all()
    assert bilinear_weights('deeplab_largefov_pascal_voc') == {}


@pytest.mark.parametrize('name', [name for name in COMPARED if name != 'fcn8s_pascal_voc_at_once'])
def test_public_files_load_with_nothing_missed(name, tmp_path):
    """A caffemodel with the names and full-size shapes of the public one fills every layer of the net in Caffe."""
    public = learned_shapes(COMPARED[name])
    held = {
        layer: [np.full(shape, number / 64, np.float32) for shape in shapes]
        for number, (layer, shapes) in enumerate(public.items(), 1)
    }
    caffemodel.write(tmp_path / 'public.caffemodel', held)
    message = deploy(name, size_hw=input_hw(NETS[name], (9, 9)))
    assert {layer: shapes for layer, shapes in param_shapes(message).items() if not layer.endswith('_interp')} == public
    net = load_net(message, [tmp_path / 'public.caffemodel'])
    for layer, blobs in held.items():
        for found, given in zip(net.params[layer], blobs, strict=True):
            assert found.data.flat[0] == found.data.flat[-1] == given.flat[0], layer


# Sizes


@pytest.mark.usefixtures('narrow_nets')
def test_sizes_of_plain_deeplab_in_training(tmp_path):
    """306 pixels become 40 after pool3 and 39 after pool4 (their prototxt's head)."""
    source = stage_data(STAGES['voc-deeplab'], tmp_path / 'lmdb', 8, 684)
    trained = fresh_net('voc-deeplab', source, tmp_path, batch_per_pass=1)
    sides = {'data': 306, 'pool1': 154, 'pool2': 78, 'pool3': 40, 'pool4': 39, 'fc6': 39, 'fc8_pascal': 39, 'label': 39}
    assert {blob: trained.blobs[blob].data.shape[2:] for blob in sides} == {blob: (side, side) for blob, side in sides.items()}


@pytest.mark.usefixtures('narrow_nets')
@pytest.mark.parametrize(('name', 'side', 'sides'), [
    ('deeplab_pascal_voc', 306, dict(pool1=154, pool2=78, pool3=40, pool4=41, fc8_interp=321)),
    ('deeplab_pascal_voc', 514, dict(pool1=258, pool2=130, pool3=66, pool4=67, fc8_interp=529)),
    ('deeplab_msc_largefov_pascal_voc', 321, dict(pool1=161, pool2=81, pool3=41, pool4=41, pool5=41, pool1_ms=161)),
    ('deeplab_msc_largefov_pascal_voc', 513, dict(pool1=257, pool2=129, pool3=65, pool4=65, pool5=65, pool1_ms=257)),
])  # fmt: skip
def test_sizes_of_deployed_deeplab(name, side, sides):
    """The maps have the sides in the heads of their prototxts, and the probabilities are as large as the image."""
    net = net_of(deploy(name, size_hw=(side, side)))
    assert {blob: net.blobs[blob].data.shape[2:] for blob in sides} == {blob: (side, side) for blob, side in sides.items()}
    assert net.blobs['prob'].data.shape == (1, 21, side, side)


@pytest.mark.usefixtures('narrow_nets')
@pytest.mark.parametrize(('name', 'crop', 'first', 'inner'), [
    ('voc-deeplab', 684, 1, slice(13, 26)),  # cells 13 from the border, which padding from pool4 on does not reach
    ('voc-deeplab-msc', 700, 0, slice(None)), ('voc-deeplab-msc-largefov', 700, 0, slice(None)),
])  # fmt: skip
def test_deployed_scores_lie_where_the_trained_ones_had_their_label(name, crop, first, inner, tmp_path):
    """In training cell i has the label of pixel 8 i (plain DeepLab: 8 i + 1); deployed, that pixel has the scores of cell i."""
    trained = fresh_net(name, stage_data(STAGES[name], tmp_path / 'lmdb', 8, crop), tmp_path, batch_per_pass=1)
    for layer, blobs in trained.params.items():
        scale = (2 / np.prod(blobs[0].data.shape[1:])) ** 0.5 / (60 if layer in ('conv1_1', 'data_conv') else 1)  # pixels to 1
        blobs[0].data[...] = np.random.default_rng(0).normal(size=blobs[0].data.shape) * scale
    trained.save(str(tmp_path / 'weights.caffemodel'))
    tested = net_of(training(name, str(tmp_path / 'lmdb'), batch_per_pass=1), 'test')  # without dropout
    tested.copy_from(str(tmp_path / 'weights.caffemodel'))
    tested.forward()
    scores = tested.blobs[tested.bottom_names['loss'][0]].data[0]
    image = tested.blobs['data'].data[0]
    prob = forward(load_net(deploy(STAGES[name].net, size_hw=image.shape[1:]), [tmp_path / 'weights.caffemodel']), image)
    expected = np.exp(scores) / np.exp(scores).sum(axis=0)
    assert expected.std() > 1e-3
    np.testing.assert_allclose(prob[:, first::8, first::8][:, inner, inner], expected[:, inner, inner], atol=1e-4)


@pytest.mark.usefixtures('narrow_nets')
@pytest.mark.parametrize('name', ['fcn32s_pascal_voc', 'fcn16s_pascal_voc', 'fcn8s_pascal_voc'])
def test_fcn_gives_each_image_its_own_size(name):
    """Because of the padding by 100, images of any size get scores, even one pixel."""
    net = net_of(deploy(name))
    for size_hw in ((1, 1), (33, 62), (333, 500)):
        net.blobs['data'].reshape(1, 3, *size_hw)
        net.reshape()
        assert net.blobs['prob'].data.shape == (1, 21, *size_hw)


def test_forms_of_sides():
    """Of the sides 8 n + 1, 8 and 9 go into 9, 10 into 17; 16 is cut to 9."""
    aligned = Whole(8, 1)
    assert [aligned.above(side) for side in (1, 8, 9, 10, 513)] == [1, 9, 9, 17, 513]
    assert [aligned.below(side) for side in (1, 8, 9, 16, 328)] == [1, 1, 9, 9, 321]
    assert [Whole(8).above(side) for side in (1, 8, 9)] == [8, 8, 16]


@pytest.mark.parametrize(('name', 'image_hw', 'fill', 'expected'), [
    ('deeplab_largefov_pascal_voc', (375, 500), True, (513, 513)),
    ('deeplab_largefov_pascal_voc', (375, 600), False, (377, 601)),
    ('deeplab_pascal_voc', (375, 500), True, (514, 514)), ('deeplab_pascal_voc', (34, 35), False, (34, 42)),
    ('fcn8s_pascal_voc', (375, 500), True, (375, 500)), ('front_camvid', (375, 500), False, (375, 500)),
])  # fmt: skip
def test_input_of_an_image(name, image_hw, fill, expected):
    """The next size that the network takes; with `fill`, at least its usual one."""
    assert input_hw(NETS[name], image_hw, fill=fill) == expected


@pytest.mark.parametrize(('name', 'size_hw', 'fits'), [
    ('deeplab_msc_largefov_pascal_voc', (500, 500), '505x505'), ('front_camvid_padding', (480, 641), '480x648'),
])  # fmt: skip
def test_an_input_that_does_not_fit_is_refused(name, size_hw, fits):
    """The error names the next size that fits; Caffe would abort on branches of different sizes."""
    with pytest.raises(UserError, match=f'the next size that fits is {fits}'):
        deploy(name, size_hw=size_hw)


@pytest.mark.parametrize('name', ['fcn8s_pascal_voc', 'deeplab_largefov_pascal_voc', 'front_camvid_padding'])
def test_what_only_unpadded_networks_have_is_refused(name):
    """They alone start from stored maps, give maps to store, and have the same receptive field everywhere."""
    with pytest.raises(UserError, match='takes images, not stored maps of conv5_3'):
        deploy(name, start='conv5_3', size_hw=(40, 40))
    with pytest.raises(UserError, match='maps of it cannot be stored'):
        part_of_net(name, 'data', 'conv5_3', NETS[name].input_size_hw)
    with pytest.raises(UserError, match='give a network without padding'):
        asked_part(name, None)


def test_pooling_widens_the_receptive_field():
    """pool4 and pool5 each add two cells of 8 pixels."""
    field = whole_fields(NETS['front_camvid_pooling'])[-1]
    assert field.size_hw == (380 + 2 * 2 * 8,) * 2


# Training


def rates(layer) -> list[tuple[float, float]]:
    """Pairs (lr_mult, decay_mult) of a layer's blobs."""
    return [(param.lr_mult, param.decay_mult) for param in layer.param]


@pytest.mark.parametrize('name', BY_AUTHORS)
def test_rates_of_the_layers(name):
    """FCN's upsampling is fixed; DeepLab's scores learn ten times as fast; MSc trains only its branches, and plain MSc fc8."""
    slow, fast, still = [(1, 1), (2, 0)], [(10, 1), (20, 0)], [(0, 0), (0, 0)]
    for layer in training(name, 'x').layer:
        if layer.type == 'Deconvolution':
            assert [lr for lr, _ in rates(layer)] == [0]
        elif layer.type == 'Convolution':
            msc, added = 'msc' in name, layer.name.endswith(('_conv', '_fc', '_ms'))
            added |= name == 'voc-deeplab-msc' and layer.name == 'fc8_pascal'
            wanted = slow if added or not msc else still
            if layer.name.startswith('fc8') and not msc:
                wanted = fast
            assert rates(layer) == wanted, layer.name


@pytest.mark.parametrize(('name', 'rate', 'momentum', 'steps', 'iterations', 'batch'), [
    ('voc-fcn32s', 1e-10, 0.99, [], 100_000, 1), ('voc-fcn16s', 1e-12, 0.99, [], 100_000, 1),
    ('voc-fcn8s', 1e-14, 0.99, [], 100_000, 1), ('voc-deeplab-largefov', 1e-3, 0.9, [2000, 4000], 6000, 30),
    ('voc-deeplab', 1e-3, 0.9, [2000, 4000], 6000, 20), ('voc-deeplab-msc', 1e-3, 0.9, [2000, 4000], 6000, 20),
    ('voc-deeplab-msc-largefov', 1e-3, 0.9, [2000, 4000], 6000, 30),
])  # fmt: skip
def test_solvers_are_the_authors(name, rate, momentum, steps, iterations, batch):
    """Rate, momentum, decay 0.0005, steps and iterations of their solver.prototxt; batch and loss of their train.prototxt."""
    message = solver(STAGES[name], 'n', 's')
    assert message.base_lr == pytest.approx(rate) and message.momentum == pytest.approx(momentum)
    assert list(message.stepvalue) == steps and message.max_iter == iterations
    assert message.weight_decay == pytest.approx(0.0005) and STAGES[name].batch_size == batch
    assert not steps or message.gamma == pytest.approx(0.1)
    loss = training(name, 'x').layer[-1].loss_param
    assert loss.ignore_label == 255 and loss.normalization == (loss.NONE if 'fcn' in name else loss.VALID)


@pytest.mark.usefixtures('narrow_nets')
@pytest.mark.parametrize(
    ('name', 'upsample_loss'), [*((name, False) for name in TRAINED), ('voc-deeplab', True), ('voc-deeplab-largefov', True)]
)
def test_first_loss_is_ln_c_and_label_and_image_are_aligned(name, upsample_loss, tmp_path):
    """The label equals the blue channel here, so it shows which pixels of the crop it belongs to; FCN's loss is a sum."""
    stage = STAGES[name]
    row, classes = NETS[stage.net], dataset(NETS[stage.net].dataset).num_classes
    pair = np.random.default_rng(0).integers(0, classes, (4, 404, 404), np.uint8)
    pair[3] = pair[0]
    source = write_datums(tmp_path / 'lmdb', [pair])
    net = fresh_net(name, source, tmp_path, crop_size=404, batch_per_pass=1, upsample_loss=upsample_loss or None)
    loss = net.forward()['loss']
    # 4 cells; DeepLab's are at 0, 8, 16, 24 of 25 pixels, the plain one's at 1, 9, 17, 25 of 26
    side, stride, first = (32, 1, 0) if isinstance(row.front_end, Fcn) else (26, 8, 1) if row.front_end.vgg_pools else (25, 8, 0)
    blue = (net.blobs['data'].data[0, 0] + row.mean_bgr[0]).round()
    assert blue.shape == (side, side)
    sampled = slice(first, None, 1 if upsample_loss else stride)
    np.testing.assert_array_equal(net.blobs['label'].data[0, 0], blue[sampled, sampled])
    mirrored = stage.mirror and (blue != pair[0, 186 : 186 + side, 186 : 186 + side]).any()
    inner = pair[0, :, ::-1] if mirrored else pair[0]
    np.testing.assert_array_equal(blue, inner[186 : 186 + side, 186 : 186 + side])
    summed = isinstance(row.front_end, Fcn) and name in BY_AUTHORS  # camvid-small and -night take the mean
    np.testing.assert_allclose(loss / (32**2 if summed else 1), log(classes), rtol=0.02)


OF_AUTHORS = re.compile(r'(voc|camvid|kitti|cityscapes)-(fcn(?:32|16|8)s|deeplab-(?:msc-)?largefov)')


@pytest.mark.parametrize('name', [name for name in STAGES if OF_AUTHORS.fullmatch(name)])
def test_rows_of_other_data_say_that_the_authors_trained_for_voc(name):
    """Crop and iterations on another data set are not marked as FCN's or DeepLab's own."""
    stage, assumed = STAGES[name], dict(STAGES[name].assumed)
    for_voc = name.startswith('voc-')
    assert stage.source.endswith(', for VOC') != for_voc
    assert (assumed.get('crop'), assumed.get('iterations')) == ('this toolkit', 'VOC') or for_voc


@pytest.mark.usefixtures('narrow_nets')
def test_fcn_scores_learn_from_zero(tmp_path):
    """With the bilinear start they get a gradient at once; with upsampling by zeros they get none."""
    source = stage_data(STAGES['camvid-fcn32s'], tmp_path / 'lmdb', 1, 404)
    net = fresh_net('camvid-fcn32s', source, tmp_path, crop_size=404)
    net.forward()
    net.backward()
    assert not net.params['score_fr'][0].diff.any()
    for layer, (kernels,) in bilinear_weights('fcn32s_camvid').items():
        net.params[layer][0].data[...] = kernels
    net.forward()
    net.backward()
    assert net.params['score_fr'][0].diff.any()


def test_pixels_that_a_loss_sums():
    """A crop of 884 less the margin of 372 has 512 x 512; 60 x 80 stored cells have 480 x 640; a mean counts as 1."""
    assert pixels_summed(STAGES['voc-fcn8s']) == pixels_summed(STAGES['voc-front-crfrnn']) == 512**2
    assert pixels_summed(STAGES['camvid-cpu-front-crfrnn'], (60, 80)) == 480 * 640
    assert pixels_summed(STAGES['voc-front']) == 1


# Sec. 4's ablation


@pytest.mark.parametrize('name', ABLATED)
def test_parts_brought_back_change_nothing_else(name):
    """The layers are the front end's, with pool4 and pool5 at stride 1, or with padding that keeps the size of maps, or both."""
    front = [as_line(layer) for layer in deploy('front_' + ('camvid' if 'camvid' in name else 'pascal_voc')).layer[1:]]
    pads = {'conv5': ' p2', 'conv': ' p1', 'fc6': ' p12'}
    wanted = []
    for line in front:
        pad = next((pad for start, pad in pads.items() if line.startswith(start)), '') if 'padding' in name else ''
        wanted.append(line + pad)
        if 'pooling' in name and line in ('relu4_3', 'relu5_3'):
            wanted.append(f'pool{line[4]} k3 p1')
    assert [as_line(layer) for layer in deploy(name).layer[1:]] == wanted


def test_all_parts_are_there():
    """One at a time and both, on VOC and on CamVid; each has a stage like its front end's."""
    parts = {'pooling', 'padding', 'pooling_padding'}
    assert set(ABLATED) == {f'front_{data}_{part}' for part in parts for data in ('pascal_voc', 'camvid')}
    for name in ABLATED:
        (stage,) = (row for row in STAGES.values() if row.net == name)
        front = STAGES['voc-front' if 'voc' in name else 'camvid-front']
        same = ('crop_size', 'batch_size', 'base_lr', 'momentum', 'max_iter', 'init', 'fresh', 'lr_steps')
        assert [getattr(stage, field) for field in same] == [getattr(front, field) for field in same]


@pytest.mark.usefixtures('narrow_nets')
def test_padding_changes_only_what_sees_the_border(tmp_path):
    """Cells whose 380 pixels lie within the image have the front end's probabilities; cells at the border do not."""
    weights = random_weights('front_camvid', tmp_path / 'weights.caffemodel')
    image = np.random.default_rng(0).normal(0, 60, (3, 400, 400)).astype(np.float32)
    margin = np.pad(image, ((0, 0), (186, 186), (186, 186)), mode='reflect')
    plain = forward(load_net(deploy('front_camvid', size_hw=(772, 772)), [weights]), margin)
    padded = forward(load_net(deploy('front_camvid_padding', size_hw=(400, 400)), [weights]), image)
    assert plain.shape == padded.shape == (11, 50, 50)
    inside = slice(24, 26)  # 8 i - 186 >= 0 and 8 i + 194 <= 400
    np.testing.assert_allclose(padded[:, inside, inside], plain[:, inside, inside], atol=1e-5)
    assert np.abs(padded - plain)[:, 0].max() > 1e-3


def test_ablation_trains_on_the_same_pixels_and_labels(tmp_path, narrow_nets):
    """From one record the labels are the front end's; with padding the image is its crop without the margin."""
    pair = np.random.default_rng(0).integers(0, 11, (4, 404, 404), np.uint8)
    pair[:] = pair[:, :, :1]  # so that a mirrored crop is the same
    source = write_datums(tmp_path / 'lmdb', [pair])
    found = {}
    for name in ('camvid-front', 'camvid-front-pooling', 'camvid-front-padding', 'camvid-front-pooling-padding'):
        net = fresh_net(name, source, tmp_path, crop_size=404, batch_per_pass=1)
        net.forward()
        found[name] = net.blobs['data'].data.copy(), net.blobs['label'].data.copy()
    image, label = found['camvid-front']
    for name, (other, its_label) in found.items():
        np.testing.assert_array_equal(its_label, label)
        np.testing.assert_array_equal(other, image[:, :, 186:-186, 186:-186] if 'padding' in name else image)
