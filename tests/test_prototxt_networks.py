"""Networks against the released ones, the paper's counts and sizes, and through real Caffe."""

import re

import pytest

from dataset_prep.datasets import dataset
from prototxt.context import layer_channels
from prototxt.experiments import BASIC, DILATION8, LARGE, NETS, STAGES, Context, DeepLab, FrontEnd
from prototxt.framing import input_hw
from prototxt.generate import generate
from prototxt.generate import main as generate_command
from prototxt.networks import deploy, training, write
from prototxt.shapes import param_shapes
from tests.released_nets import BUILT, RELEASED, as_line, layers
from tools.support.caffe_import import import_caffe
from tools.support.errors import UserError
from tools.support.paths import PROTOTXT

caffe = import_caffe()
# Networks of the paper's own layers; the others are in test_crf_rnn_stages and test_prototxt_comparison
FRONT_ENDS = [name for name, row in NETS.items() if isinstance(row.front_end, FrontEnd) and not row.crf_rnn]
TYPES = dict(
    conv='Convolution', pool='Pooling', relu='ReLU', drop='Dropout', upsample='Deconvolution', prob='Softmax', pad='Python'
)


def caffe_net(message, tmp_path, phase=caffe.TEST):
    """A real Caffe net of a NetParameter."""
    path = tmp_path / 'net.prototxt'
    write(message, path)
    return caffe.Net(str(path), phase)


@pytest.mark.parametrize('name', [*RELEASED, *BUILT])
def test_deploy_is_the_authors_net(name):
    """Input shape, layer names, order, and every convolution's and pooling's numbers are those of the authors' file or code."""
    shape, text = (RELEASED | BUILT)[name]
    message = deploy(name)
    assert tuple(message.layer[0].input_param.shape[0].dim) == shape
    assert [as_line(layer) for layer in message.layer[1:]] == layers(text)


@pytest.mark.parametrize('name', FRONT_ENDS)
def test_layer_types_follow_their_names(name):
    """A relu is a ReLU, a pool a maximum, a drop a Dropout of one half, everything else a convolution."""
    for layer in deploy(name).layer[1:]:
        word = re.search('relu|pool|drop|upsample|prob|pad', layer.name)
        assert layer.type == TYPES[word[0] if word else 'conv'], layer.name
        if layer.type == 'Pooling':
            assert layer.pooling_param.pool == layer.pooling_param.MAX
        if layer.type == 'Dropout':
            assert layer.dropout_param.dropout_ratio == 0.5


@pytest.mark.parametrize('name', FRONT_ENDS)
def test_layers_form_a_chain(name):
    """Each layer takes the blob before it."""
    blob = 'data'
    for layer in deploy(name).layer[1:]:
        assert list(layer.bottom) == [blob], layer.name
        blob = layer.top[0]
    assert blob == 'prob'


@pytest.mark.parametrize(('side', 'cells'), [(500, 16), (628, 32), (852, 60), (884, 64), (900, 66), (1396, 128), (1640, 159)])
def test_score_map_sizes_in_caffe(side, cells, tmp_path):
    """Real Caffe gives the score-map sizes of the authors' inputs."""
    net = caffe_net(deploy('front_toy', size_hw=(side, 380)), tmp_path)
    assert net.blobs['final'].data.shape[2:] == (cells, 1)


@pytest.mark.parametrize('name', ['basic_toy', 'large_toy'])
@pytest.mark.parametrize('size_hw', [(1, 1), (7, 40), (66, 66)])
def test_context_module_keeps_the_size(name, size_hw, tmp_path):
    """The context module's scores are as large as what it is given."""
    net = caffe_net(deploy(name, start='final', size_hw=size_hw), tmp_path)
    assert net.blobs['prob'].data.shape[2:] == size_hw


def test_one_pad_gives_the_same_size(tmp_path):
    """The released VOC module pads 33 once and comes out as large as it went in."""
    net = caffe_net(deploy('dilation8_pascal_voc', start='fc-final', size_hw=(66, 66)), tmp_path)
    assert net.blobs['prob'].data.shape == (1, 21, 66, 66)


def test_cityscapes_upsamples_by_eight(tmp_path):
    """A 128 x 128 map becomes 1024 x 1024 probabilities."""
    net = caffe_net(deploy('dilation10_cityscapes', start='final'), tmp_path)
    assert net.blobs['final'].data.shape == (1, 19, 128, 128)
    assert net.blobs['prob'].data.shape == (1, 19, 1024, 1024)


def count(shapes, prefixes):
    """Sum of the sizes of all blobs of the layers whose names begin so."""
    total = 0
    for name, blobs in shapes.items():
        if name.startswith(prefixes):
            for shape in blobs:
                size = 1
                for side in shape:
                    size *= side
                total += size
    return total


def test_parameter_counts():
    """VGG-16 part 134,260,544; Large with C = 21 6,803,139 (counted in the released nets); Basic 64 C^2 + 8 C."""
    voc = param_shapes(deploy('dilation8_pascal_voc'))
    assert count(voc, ('conv', 'fc6', 'fc7')) == 134_260_544
    assert count(voc, ('ct_',)) == 6_803_139
    camvid = param_shapes(deploy('dilation8_camvid'))
    assert count(camvid, ('ctx_',)) == 64 * 11**2 + 8 * 11
    assert count(param_shapes(deploy('basic_pascal_voc')), ('ctx_',)) == 64 * 21**2 + 8 * 21 == 28_392


def test_large_channels_are_the_tables():
    """Table 1: 2C 2C 4C 8C 16C 32C 32C C, with C = 21; Basic is C throughout."""
    assert layer_channels(Context(DILATION8, LARGE), 21) == [42, 42, 84, 168, 336, 672, 672, 21]
    assert layer_channels(Context(DILATION8, BASIC), 21) == [21] * 8


@pytest.mark.parametrize('name', NETS)
def test_param_shapes_are_caffes(name, tmp_path):
    """Shapes worked out from the prototxt are those of the blobs that Caffe makes."""
    message = deploy(name, size_hw=input_hw(NETS[name], (380, 380)))
    net = caffe_net(message, tmp_path)
    assert param_shapes(message) == {layer: [tuple(blob.data.shape) for blob in blobs] for layer, blobs in net.params.items()}


def layers_before(stage, text):
    """How many layers of a deploy net come before those that a stage trains."""
    if stage.start == 'data' or stage.beside_images:
        return 1 + stage.beside_images  # inputs: the maps and the image
    after = next(i for i, line in enumerate(text) if line.split()[0] == stage.start) + 1
    return after + (stage.start == 'conv5_3')  # its relu: the stored maps are what comes after it, in place


@pytest.mark.parametrize('name', STAGES)
def test_training_net_is_the_deploy_net_between_data_and_loss(name):
    """The layers from the stage's first blob to the scores are those of deployment: what is trained is what is tested."""
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
    """deploy_context.prototxt: the same layers, on maps of as many channels as there are classes."""
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
    """Weights 1 and 1, biases 2 and 0; a layer declared fresh has a filler that is not the constant zero.

    DeepLab's rates, and FCN's scores and its pool3_ms, which begin at zero, are in test_prototxt_comparison, frozen layers in
    test_table2_mini.
    """
    for layer in training(name, 'x').layer:
        if layer.type != 'Convolution':
            continue
        if not isinstance(NETS[STAGES[name].net].front_end, DeepLab) and not name.startswith('camvid-small'):
            assert [(p.lr_mult, p.decay_mult) for p in layer.param] == [(1, 1), (2, 0)], layer.name
        if layer.name in STAGES[name].fresh and not layer.name.startswith(('score', 'pool3_ms')):
            assert layer.convolution_param.weight_filler.type in ('msra', 'gaussian'), layer.name


@pytest.mark.parametrize('name', STAGES)
def test_fresh_layers_exist(name):
    """A stage names only layers of its own net as fresh."""
    assert set(STAGES[name].fresh) <= set(param_shapes(training(name, 'x')))


def test_checked_in_files_are_what_the_tables_give(tmp_path):
    """Generating again gives the files under prototxt/, no more and no fewer."""
    made = {path.relative_to(tmp_path): path.read_text() for path in generate(tmp_path)}
    kept = {path.relative_to(PROTOTXT): path.read_text() for path in PROTOTXT.rglob('*.prototxt')}
    assert made == kept


@pytest.mark.parametrize(
    ('name', 'std'), [('camvid-night-front', (0.003, 0.02)), ('camvid-night-deeplab-largefov', (0.007, 0.015))]
)
def test_random_fc6_and_fc7_begin_with_the_deviation_of_the_row(name, std):
    """A third of what msra would draw: the square root of 2 over 49 x 512 and 512 inputs, over 9 x 512 and 1024."""
    inputs = (49 * 512, 512) if name == 'camvid-night-front' else (9 * 512, 1024)
    assert std == pytest.approx([(2 / count) ** 0.5 / 3 for count in inputs], rel=0.05)
    found = {layer.name: layer.convolution_param.weight_filler for layer in training(name, 'unused').layer}
    assert [(found[layer].type, found[layer].std) for layer in ('fc6', 'fc7')] == [
        ('gaussian', pytest.approx(one)) for one in std
    ]


@pytest.mark.parametrize('classes', ['-1', '0', '1', '256'])
def test_a_number_of_classes_that_no_label_has_is_refused(tmp_path, classes):
    """Nothing is written for the row's own number in its place."""
    with pytest.raises(UserError, match=f'--classes {classes}: labels are 8 bits and 255 is ignored'):
        generate_command(['--net', 'front_toy', '--classes', classes, '--out', str(tmp_path)])
    assert not any(tmp_path.iterdir())
