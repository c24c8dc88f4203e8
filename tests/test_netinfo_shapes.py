"""What is found of a net before it runs: shapes with Data layers taken out, gradients, receptive fields and sums of the paper."""

import pytest
from google.protobuf import text_format

from pretrained.caffemodel import caffe_pb2
from prototxt.experiments import STAGES
from prototxt.networks import deploy, evaluation, training, write
from tests.narrow_nets import map_hw, narrow_nets, stage_data  # noqa: F401
from tools import summarize
from tools.netinfo.fit import tile_memory
from tools.netinfo.memory_estimate import estimate
from tools.netinfo.setup import layers_of
from tools.support.caffe_import import import_caffe
from tools.support.errors import UserError
from tools.support.paths import PROTOTXT

caffe = import_caffe()

# Every type of layer that is known, with the parameters that change its shapes.
VOCABULARY = """
layer { name: 'in' type: 'Input' top: 'a' top: 'b' input_param { shape { dim: 2 dim: 6 dim: 11 dim: 14 } } }
layer { name: 'dummy' type: 'DummyData' top: 'label' dummy_data_param { shape { dim: 2 dim: 1 dim: 5 dim: 4 } } }
layer { name: 'old' type: 'DummyData' top: 'o' dummy_data_param { num: 2 channels: 3 height: 4 width: 5 } }
layer { name: 'conv' type: 'Convolution' bottom: 'a' top: 'conv'
        convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 3 pad_h: 1 pad_w: 2 group: 2 } }
layer { name: 'relu' type: 'ReLU' bottom: 'conv' top: 'conv' }
layer { name: 'two' type: 'Convolution' bottom: 'a' bottom: 'b' top: 't1' top: 't2'
        convolution_param { num_output: 4 kernel_size: 3 dilation: 2 bias_term: false } }
layer { name: 'deconv' type: 'Deconvolution' bottom: 'conv' top: 'deconv'
        convolution_param { num_output: 6 kernel_size: 4 stride: 3 pad: 1 group: 2 } }
layer { name: 'pool' type: 'Pooling' bottom: 'a' top: 'pool' pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 } }
layer { name: 'clipped' type: 'Pooling' bottom: 'o' top: 'clipped' pooling_param { pool: AVE kernel_size: 2 stride: 2 pad: 1 } }
layer { name: 'floor' type: 'Pooling' bottom: 'a' top: 'floor'
        pooling_param { pool: AVE kernel_h: 3 kernel_w: 2 stride_h: 3 stride_w: 4 round_mode: FLOOR } }
layer { name: 'global' type: 'Pooling' bottom: 'a' top: 'global' pooling_param { pool: AVE global_pooling: true } }
layer { name: 'mask' type: 'Pooling' bottom: 'b' top: 'm1' top: 'm2' pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: 'ip' type: 'InnerProduct' bottom: 'pool' top: 'ip' inner_product_param { num_output: 7 } }
layer { name: 'drop' type: 'Dropout' bottom: 'ip' top: 'ip' }
layer { name: 'ip2' type: 'InnerProduct' bottom: 'pool' top: 'ip2' inner_product_param { num_output: 7 axis: 2 transpose: true } }
layer { name: 'bn' type: 'BatchNorm' bottom: 'a' top: 'bn' }
layer { name: 'scale' type: 'Scale' bottom: 'bn' top: 'scale' scale_param { bias_term: true } }
layer { name: 'scale2' type: 'Scale' bottom: 'bn' top: 'scale2' scale_param { axis: 1 num_axes: 2 } }
layer { name: 'bias' type: 'Bias' bottom: 'bn' top: 'bias' bias_param { axis: 1 num_axes: -1 } }
layer { name: 'prelu' type: 'PReLU' bottom: 'bn' top: 'prelu' }
layer { name: 'elu' type: 'ELU' bottom: 'a' top: 'elu' }
layer { name: 'lrn' type: 'LRN' bottom: 'a' top: 'lrn' }
layer { name: 'power' type: 'Power' bottom: 'a' top: 'power' }
layer { name: 'threshold' type: 'Threshold' bottom: 'a' top: 'threshold' }
layer { name: 'sigmoid' type: 'Sigmoid' bottom: 'a' top: 'sigmoid' }
layer { name: 'tanh' type: 'TanH' bottom: 'a' top: 'tanh' }
layer { name: 'abs' type: 'AbsVal' bottom: 'a' top: 'abs' }
layer { name: 'bnll' type: 'BNLL' bottom: 'a' top: 'bnll' }
layer { name: 'exp' type: 'Exp' bottom: 'a' top: 'exp' }
layer { name: 'log' type: 'Log' bottom: 'a' top: 'log' }
layer { name: 'im2col' type: 'Im2col' bottom: 'a' top: 'im2col' 
        convolution_param { kernel_size: 3 stride: 2 dilation: 2 pad: 1 } }
layer { name: 'sum' type: 'Eltwise' bottom: 'a' bottom: 'b' top: 'sum' }
layer { name: 'concat' type: 'Concat' bottom: 'a' bottom: 'sum' top: 'concat' }
layer { name: 'slice' type: 'Slice' bottom: 'concat' top: 's1' top: 's2' top: 's3' slice_param { slice_point: 2 slice_point: 7 } }
layer { name: 'halves' type: 'Slice' bottom: 'a' top: 'h1' top: 'h2' slice_param { axis: -1 } }
layer { name: 'crop' type: 'Crop' bottom: 's1' bottom: 'label' top: 'crop' crop_param { offset: 2 offset: 3 } }
layer { name: 'flat' type: 'Flatten' bottom: 's2' top: 'flat' }
layer { name: 'reshape' type: 'Reshape' bottom: 's3' top: 'reshape' reshape_param { shape { dim: 0 dim: -1 dim: 2 } axis: 0 } }
layer { name: 'reshape2' type: 'Reshape' bottom: 'b' top: 'reshape2' 
        reshape_param { shape { dim: 3 dim: -1 } axis: 1 num_axes: 1 } }
layer { name: 'split' type: 'Split' bottom: 'power' top: 'p1' top: 'p2' }
layer { name: 'softmax' type: 'Softmax' bottom: 'p1' top: 'softmax' }
layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'crop' bottom: 'label' top: 'loss' }
layer { name: 'gain' type: 'DummyData' top: 'gain' dummy_data_param { shape { dim: 1 dim: 1 dim: 2 dim: 2 } } }
layer { name: 'infogain' type: 'InfogainLoss' bottom: 'crop' bottom: 'label' bottom: 'gain' top: 'infogain' }
layer { name: 'euclid' type: 'EuclideanLoss' bottom: 'exp' bottom: 'p2' top: 'euclid' }
layer { name: 'cross' type: 'SigmoidCrossEntropyLoss' bottom: 'log' bottom: 'sum' top: 'cross' }
layer { name: 'accuracy' type: 'Accuracy' bottom: 'crop' bottom: 'label' top: 'accuracy' top: 'each' include { phase: TEST } }
layer { name: 'silence' type: 'Silence' bottom: 'reshape' exclude { phase: TRAIN } }
layer { name: 'memory' type: 'MemoryData' top: 'm' top: 'ml'
        memory_data_param { batch_size: 2 channels: 3 height: 8 width: 9 } include { phase: TRAIN } }
"""


def parsed(text):
    return text_format.Parse(text, caffe_pb2().NetParameter())


def by_caffe(path, phase):
    """Names -> (shapes of tops, shapes of weights), as real Caffe has them; the layers that it adds are left out."""
    net = caffe.Net(str(path), caffe.TRAIN if phase == 'train' else caffe.TEST)
    rows = zip(net._layer_names, net.layers, strict=True)
    shapes = {
        name: ([tuple(net.blobs[top].shape) for top in net.top_names[name]], [tuple(blob.shape) for blob in layer.blobs])
        for name, layer in rows
        if '_split' not in name
    }
    return shapes


def ours(net, phase, source=None):
    """The same, as netinfo has it."""
    return {layer.name: (list(layer.shapes), list(layer.params)) for layer in layers_of(net, phase, source)}


@pytest.mark.parametrize('phase', ['train', 'test'])
def test_layers_of_all_types_are_those_of_the_file(tmp_path, phase):
    """In their order, with the blobs that they name, splits of Caffe's own left out; memory is estimated of all of them."""
    (tmp_path / 'net.prototxt').write_text(VOCABULARY)
    found = layers_of(parsed(VOCABULARY), phase)
    assert {layer.name: (list(layer.shapes), list(layer.params)) for layer in found} == by_caffe(tmp_path / 'net.prototxt', phase)
    said = {layer.name: (tuple(layer.bottom), tuple(layer.top)) for layer in parsed(VOCABULARY).layer}
    assert all((layer.bottoms, layer.tops) == said[layer.name] for layer in found)
    assert estimate(found, training=phase == 'train').blobs > 0


@pytest.mark.parametrize('name', STAGES)
def test_stages_have_the_shapes_that_they_have_on_their_lmdb(narrow_nets, tmp_path, name):  # noqa: F811
    """In training and in test, with the records of an LMDB; those of stored maps are also told from a size."""
    stage = STAGES[name]
    crop = None if stage.crop_size is None else 396
    lmdb = stage_data(stage, tmp_path / 'lmdb', stage.label_stride, crop)
    for make, phase in ((training, 'train'), (evaluation, 'test')):
        net = make(name, str(lmdb), crop)
        write(net, tmp_path / 'net.prototxt')
        expected = by_caffe(tmp_path / 'net.prototxt', phase)
        assert ours(net, phase) == expected
    args = ['--input', str(crop)] if crop else ['--input', 'x'.join(map(str, map_hw(stage)))]
    _, found = summarize.of_stage(summarize.parse_args(['--stage', name, *args]))
    assert [layer.name for layer in found] == [layer.name for layer in training(name, 'x', crop).layer]


def test_receptive_fields_of_the_paper():
    """Table 1: 3 5 9 17 33 65 67 67 cells, on scores; the front end's 380 pixels, at a step of 8; both: 66 * 8 + 380."""
    context = layers_of(deploy('basic_pascal_voc_fyu', start='fc-final', size_hw=(66, 66)), 'test')
    assert [layer.view.field[0] for layer in context if layer.type == 'Convolution'] == [3, 5, 9, 17, 33, 65, 67, 67]
    whole = {layer.name: layer.view for layer in layers_of(deploy('dilation8_pascal_voc'), 'test')}
    assert (whole['fc-final'].field, whole['fc-final'].stride) == ((380, 380), (8, 8))
    assert whole['prob'].field == (908, 908)


def test_multiply_adds_and_columns_by_hand():
    """conv1_1 of VOC: 898x898 outputs of 64 channels, 27 products each; its column has 27 rows of 898x898."""
    first = layers_of(deploy('dilation8_pascal_voc'), 'test')[1]
    assert first.costs.multiply_adds == 898 * 898 * 64 * 27
    assert first.costs.column == 27 * 898 * 898
    up = layers_of(deploy('dilation10_cityscapes'), 'test')[-2]
    assert (up.name, up.costs.multiply_adds) == ('ctx_upsample', 128 * 128 * 19 * 256)


def test_gradients_go_where_caffe_sends_them():
    """Not to the images, not to what is frozen or below it."""
    text = """
    layer { name: 'in' type: 'Input' top: 'a' input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }
    layer { name: 'frozen' type: 'Convolution' bottom: 'a' top: 'b' param { lr_mult: 0 } param { lr_mult: 0 }
            convolution_param { num_output: 2 kernel_size: 3 } }
    layer { name: 'relu' type: 'ReLU' bottom: 'b' top: 'b' }
    layer { name: 'learns' type: 'Convolution' bottom: 'b' top: 'c' convolution_param { num_output: 2 kernel_size: 1 } }
    layer { name: 'next' type: 'Pooling' bottom: 'c' top: 'd' pooling_param { kernel_size: 2 } }"""
    found = {layer.name: layer.passes_gradients for layer in layers_of(parsed(text), 'train')}
    assert found == {'in': (), 'frozen': (False,), 'relu': (False,), 'learns': (False,), 'next': (True,)}


def test_old_inputs_are_taken(tmp_path):
    """`input` and `input_dim` at the top of a file, as before 2016."""
    text = "input: 'data' input_dim: 1 input_dim: 3 input_dim: 20 input_dim: 30 "
    text += "layer { name: 'p' type: 'Pooling' bottom: 'data' top: 'p' pooling_param { kernel_size: 2 stride: 2 } }"
    assert layers_of(parsed(text), 'test')[1].shapes == ((1, 3, 10, 15),)


def test_a_type_without_costs_of_its_own(tmp_path, capsys):
    """It costs its outputs."""
    text = "layer { name: 'in' type: 'Input' top: 'a' input_param { shape { dim: 2 dim: 6 dim: 11 dim: 14 } } }"
    text += "layer { name: 'r' type: 'Reduction' bottom: 'a' top: 'r' reduction_param { axis: 2 } }"
    (tmp_path / 'net.prototxt').write_text(text)
    summarize.main([str(tmp_path / 'net.prototxt')])
    assert 'Reduction  2x6' in capsys.readouterr().out


def test_what_caffe_refuses_is_one_error(tmp_path):
    """Caffe ends its process; its words come back."""
    text = "layer { name: 'r' type: 'Reduction' bottom: 'a' top: 'r' }"
    with pytest.raises(UserError, match=r"Caffe cannot set the net .*up \(.*[Uu]nknown bottom blob 'a'"):
        layers_of(parsed(text), 'test', apart=True)


def test_a_net_of_before_2015_is_summed_up(tmp_path, capsys):
    """`layers` with types as names in capitals, which Caffe upgrades."""
    text = "input: 'data' input_dim: 1 input_dim: 3 input_dim: 20 input_dim: 30 "
    text += "layers { name: 'c' type: CONVOLUTION bottom: 'data' top: 'c' convolution_param { num_output: 2 kernel_size: 3 } }"
    (tmp_path / 'net.prototxt').write_text(text)
    summarize.main([str(tmp_path / 'net.prototxt')])
    assert '1x2x18x28' in (said := capsys.readouterr().out) and '56 parameters' in said


def test_one_net_at_several_sizes():
    """As if it were set up anew for each."""
    need = tile_memory('front_camvid', 0, [], gpu=False)
    assert need((396, 412)) < need((420, 412)) and need((396, 412)) == tile_memory('front_camvid', 0, [], False)((396, 412))


@pytest.mark.parametrize(('words', 'why'), [
    (['dilation8_camvid', '--input', '100'], 'Caffe cannot set the net'),
    (['fcn8s_pascal_voc', '--batch', '3'], '--batch is for a training stage'),
    (['fcn8s_pascal_voc', '--phase', 'train'], '--phase is for a prototxt'),
    (['--stage', 'camvid-front', '--phase', 'test'], '--phase is for'),
    ([], 'give a network or a prototxt, or a --stage'),
    (['--stage', 'toy-basic', '--batch', '1'], 'not there to tell the size of its records; give it by --input'),
])  # fmt: skip
def test_summaries_that_cannot_be(words, why):
    with pytest.raises(UserError, match=why):
        summarize.main(words)


def test_a_summary_of_each_kind(capsys):
    """A network, its checked-in prototxt, a stage: the same layers, and sums that are known."""
    summarize.main(['dilation8_pascal_voc'])
    by_name = capsys.readouterr().out
    summarize.main([str(PROTOTXT / 'dilation8_pascal_voc' / 'deploy.prototxt')])
    assert capsys.readouterr().out == by_name
    assert '141,149,720 parameters' in by_name and 'memory, forward: ' in by_name  # 4 bytes each: the row's 564,598,880
    summarize.main(['--stage', 'camvid-front', '--input', '628', '--batch', '1', '--gpu'])
    assert 'memory, training: ' in (said := capsys.readouterr().out) and 'GB of the GPU (0.5 GB of it assumed' in said
