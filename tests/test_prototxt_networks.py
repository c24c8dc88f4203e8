"""Networks against their authors' files, the paper's counts and sizes, and through real Caffe."""

import re
from math import prod

import pytest

from dataset_prep.datasets import dataset
from prototxt import shapes
from prototxt.experiments import NETS, STAGES, DeepLab, FrontEnd
from prototxt.framing import input_hw
from prototxt.generate import generate
from prototxt.networks import deploy, training
from prototxt.shapes import param_shapes
from tests.compared_nets import COMPARED, lines_of
from tests.released_nets import BUILT, RELEASED, as_line, layers
from tools.support.caffe_import import net_of
from tools.support.errors import UserError
from tools.support.paths import PROTOTXT

# Networks of the paper's own layers; what only the others have is in test_crf_rnn_stages and test_prototxt_comparison.
FRONT_ENDS = [name for name, row in NETS.items() if isinstance(row.front_end, FrontEnd) and not row.crf_rnn]
SIDES = {name: 500 if name.startswith('fcn') else 513 for name in COMPARED} | {'deeplab_pascal_voc': 514}
AUTHORS = RELEASED | BUILT | {name: ((1, 3, SIDES[name], SIDES[name]), text) for name, text in COMPARED.items()}
# What is in a layer's name -> its type. The first row that fits counts.
KINDS = [
    ('relu', 'ReLU'), ('drop', 'Dropout'), (r'^pool\da?$', 'Pooling'), ('^score(_pool.c)?$|fc8_crop', 'Crop'),
    ('fuse|fc_fusion', 'Eltwise'), ('upscore|^score[24]$|upsample|_interp', 'Deconvolution'), ('^prob$', 'Softmax'),
    ('^scale_pool', 'Power'), ('inference1|pad', 'Python'), ('', 'Convolution'),
]  # fmt: skip


@pytest.mark.parametrize('name', AUTHORS)
def test_deploy_is_the_authors_net(name):
    """Input, names, order, connections, and every number of convolutions and poolings are those of the authors' file or code."""
    shape, text = AUTHORS[name]
    message = deploy(name)
    assert tuple(message.layer[0].input_param.shape[0].dim) == shape
    assert lines_of(message) == layers(text)


@pytest.mark.parametrize('name', [*FRONT_ENDS, *(name for name, row in NETS.items() if not isinstance(row.front_end, FrontEnd))])
def test_layer_types_follow_their_names(name):
    """Only pool5a averages; joins add; dropout is of one half; no layer is of a type that stock Caffe lacks."""
    for layer in deploy(name).layer[1:]:
        assert layer.type == next(kind for pattern, kind in KINDS if re.search(pattern, layer.name)), layer.name
        if layer.type == 'Pooling':
            assert layer.pooling_param.pool == (layer.pooling_param.AVE if layer.name == 'pool5a' else layer.pooling_param.MAX)
        if layer.type == 'Eltwise':
            assert layer.eltwise_param.operation == layer.eltwise_param.SUM and not layer.eltwise_param.coeff
        if layer.type == 'Dropout':
            assert layer.dropout_param.dropout_ratio == 0.5


@pytest.mark.parametrize('name', FRONT_ENDS)
def test_layers_form_a_chain(name):
    """Each layer takes the blob before it, and the last one gives the probabilities."""
    message = deploy(name)
    assert not [line for line in lines_of(message) if ' > ' in line]
    assert message.layer[-1].top[0] == 'prob'


def test_constants_of_the_front_end():
    """380 pixels of receptive field, stride 8, 372 fewer pixels, 186 on each side, as in the authors' code."""
    assert (shapes.RECEPTIVE_FIELD, shapes.STRIDE, shapes.SHRINK, shapes.MARGIN) == (380, 8, 372, 186)


@pytest.mark.parametrize(('crop', 'message'), [(510, '508 and 516'), (501, '500 and 508'), (1399, '1396 and 1404'), (372, '380')])
def test_crop_that_does_not_fit_names_the_nearest(crop, message):
    """A crop less 372 must be a positive multiple of 8, so 380 is the smallest."""
    assert shapes.check_crop_size(380) == 380
    with pytest.raises(UserError, match=message):
        shapes.check_crop_size(crop)


def test_input_too_small_for_a_window():
    """The error names the layer that lacks pixels."""
    with pytest.raises(ValueError, match='fc6'):
        shapes.front_end_size(371)


@pytest.mark.parametrize(('side', 'cells'), [(500, 16), (628, 32), (852, 60), (884, 64), (900, 66), (1396, 128), (1640, 159)])
def test_score_map_sizes_in_caffe(side, cells):
    """Real Caffe makes score maps of these sizes from the authors' inputs."""
    net = net_of(deploy('front_toy', size_hw=(side, 380)))
    assert net.blobs['final'].data.shape[2:] == (cells, 1)


@pytest.mark.parametrize(('name', 'start', 'size_hw', 'expected'), [
    *((name, 'final', side, (1, 7, *side)) for name in ('basic_toy', 'large_toy') for side in ((1, 1), (7, 40), (66, 66))),
    ('dilation8_pascal_voc', 'fc-final', (66, 66), (1, 21, 66, 66)),  # pads 33 once
    ('dilation10_cityscapes', 'final', (128, 128), (1, 19, 1024, 1024)),  # upsamples by 8
])  # fmt: skip
def test_context_module_keeps_the_size(name, start, size_hw, expected):
    """Its probabilities are as large as the scores that it takes; Cityscapes' module upsamples them by 8."""
    net = net_of(deploy(name, start=start, size_hw=size_hw))
    assert net.blobs['prob'].data.shape == expected


def count(shapes, prefixes):
    """Number of values in all blobs of the layers whose names begin so."""
    return sum(prod(shape) for name, blobs in shapes.items() if name.startswith(prefixes) for shape in blobs)


def test_parameter_counts():
    """VGG-16's part has 134,260,544, Large with C = 21 has 6,803,139 (counted in the released nets), Basic 64 C^2 + 8 C."""
    voc = param_shapes(deploy('dilation8_pascal_voc'))
    assert count(voc, ('conv', 'fc6', 'fc7')) == 134_260_544
    assert count(voc, ('ct_',)) == 6_803_139
    camvid = param_shapes(deploy('dilation8_camvid'))
    assert count(camvid, ('ctx_',)) == 64 * 11**2 + 8 * 11
    assert count(param_shapes(deploy('basic_pascal_voc')), ('ctx_',)) == 64 * 21**2 + 8 * 21 == 28_392


@pytest.mark.parametrize('name', NETS)
def test_param_shapes_are_caffes(name):
    """Shapes computed from the prototxt are those of Caffe's blobs."""
    message = deploy(name, size_hw=input_hw(NETS[name], (380, 380)))
    net = net_of(message)
    assert param_shapes(message) == {layer: [tuple(blob.data.shape) for blob in blobs] for layer, blobs in net.params.items()}


def layers_before(stage, text):
    """Number of layers of a deploy net before those that a stage trains."""
    if stage.start == 'data' or stage.beside_images:
        return 1 + stage.beside_images  # inputs: the maps and the image
    after = next(i for i, line in enumerate(text) if line.split()[0] == stage.start) + 1
    return after + (stage.start == 'conv5_3')  # and its ReLU: maps are stored after it


@pytest.mark.parametrize('name', STAGES)
def test_training_net_is_the_deploy_net_between_data_and_loss(name):
    """What is trained is what is tested: the layers from the stage's first blob to the scores are those of deployment."""
    stage = STAGES[name]
    text = [as_line(layer) for layer in deploy(stage.net, stage.start if stage.beside_images else 'data').layer]
    kept = text[layers_before(stage, text) : -1]  # without the softmax
    trained = [as_line(layer) for layer in training(name, 'x').layer]
    if NETS[stage.net].upsample and not NETS[stage.net].pixel_loss:  # DeepLab upsamples in deployment only
        kept = [line for line in kept if '_interp ' not in line and line != 'fc8_crop']
        kept = [line.replace('pool4 k2 p1', 'pool4 k2') for line in kept]
        trained = [re.sub(r'((data|pool)\d?_conv .*) s\d$', r'\1', line) for line in trained]  # see test_prototxt_comparison
    at = trained.index(kept[0])
    assert trained[at : at + len(kept)] == kept
    assert [line.split()[0] for line in trained[at + len(kept) :]] in (['loss'], ['score_planes', 'score_pixels', 'loss'])


@pytest.mark.parametrize('name', [name for name, row in NETS.items() if row.context and not row.crf_rnn])
def test_context_module_stands_alone(name):
    """deploy_context.prototxt has the same layers, and its input has one channel per class."""
    row = NETS[name]
    alone, whole = deploy(name, start=row.front_end.final), deploy(name)
    lines = [as_line(layer) for layer in whole.layer]
    after = next(i for i, line in enumerate(lines) if line.split()[0] == row.front_end.final) + 1
    assert [as_line(layer) for layer in alone.layer[1:]] == lines[after:]
    assert alone.layer[1].bottom[0] == alone.layer[0].top[0] == row.front_end.final
    cells = [-(-(side - 372) // 8) for side in row.input_size_hw]  # KITTI's 1640: 158.5, and pooling rounds up
    assert list(alone.layer[0].input_param.shape[0].dim) == [1, dataset(row.dataset).num_classes, *cells]


@pytest.mark.parametrize('name', STAGES)
def test_every_learned_layer_has_rates_and_a_start(name):
    """Rate and decay are 1 and 1 for weights, 2 and 0 for biases; a fresh layer's filler is not the constant zero.

    test_prototxt_comparison has DeepLab's rates, and FCN's scores and pool3_ms, which begin at zero; test_table2_mini has
    frozen layers.
    """
    for layer in training(name, 'x').layer:
        if layer.type != 'Convolution':
            continue
        if not isinstance(NETS[STAGES[name].net].front_end, DeepLab) and not name.startswith('camvid-small'):
            assert [(p.lr_mult, p.decay_mult) for p in layer.param] == [(1, 1), (2, 0)], layer.name
        if layer.name in STAGES[name].fresh and not layer.name.startswith(('score', 'pool3_ms')):
            assert layer.convolution_param.weight_filler.type in ('msra', 'gaussian'), layer.name


def test_checked_in_files_are_what_the_tables_give(tmp_path):
    """Generating again gives exactly the files under prototxt/."""
    made = {path.relative_to(tmp_path): path.read_text() for path in generate(tmp_path)}
    kept = {path.relative_to(PROTOTXT): path.read_text() for path in PROTOTXT.rglob('*.prototxt')}
    assert made == kept


@pytest.mark.parametrize(
    ('name', 'std'), [('camvid-night-front', (0.003, 0.02)), ('camvid-night-deeplab-largefov', (0.007, 0.015))]
)
def test_random_fc6_and_fc7_start_with_the_rows_deviation(name, std):
    """A third of msra's: that is the square root of 2 over the number of inputs, 49 x 512 and 512, or 9 x 512 and 1024."""
    inputs = (49 * 512, 512) if name == 'camvid-night-front' else (9 * 512, 1024)
    assert std == pytest.approx([(2 / count) ** 0.5 / 3 for count in inputs], rel=0.05)
    found = {layer.name: layer.convolution_param.weight_filler for layer in training(name, 'unused').layer}
    assert [(found[layer].type, found[layer].std) for layer in ('fc6', 'fc7')] == [
        ('gaussian', pytest.approx(one)) for one in std
    ]
