"""A net before it runs: shapes as Caffe sets them up, costs, gradients, receptive fields, and the printed summary."""

import pytest

from prototxt.experiments import STAGES
from prototxt.networks import deploy, evaluation, training
from tests.narrow_nets import map_hw, parsed, stage_data
from tools import summarize
from tools.netinfo.fit import tile_memory
from tools.netinfo.memory_estimate import estimate
from tools.netinfo.setup import layers_of
from tools.support.caffe_import import net_of
from tools.support.errors import UserError
from tools.support.paths import PROTOTXT

# Every type of layer with costs of its own, some without, and the layers that a phase leaves out.
VOCABULARY = """
layer { name: 'in' type: 'Input' top: 'a' top: 'b' input_param { shape { dim: 2 dim: 6 dim: 11 dim: 14 } } }
layer { name: 'dummy' type: 'DummyData' top: 'label' dummy_data_param { shape { dim: 2 dim: 1 dim: 5 dim: 4 } } }
layer { name: 'conv' type: 'Convolution' bottom: 'a' top: 'conv'
        convolution_param { num_output: 4 kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 3 pad_h: 1 pad_w: 2 group: 2 } }
layer { name: 'relu' type: 'ReLU' bottom: 'conv' top: 'conv' }
layer { name: 'two' type: 'Convolution' bottom: 'a' bottom: 'b' top: 't1' top: 't2'
        convolution_param { num_output: 4 kernel_size: 3 dilation: 2 bias_term: false } }
layer { name: 'deconv' type: 'Deconvolution' bottom: 'conv' top: 'deconv'
        convolution_param { num_output: 6 kernel_size: 4 stride: 3 pad: 1 group: 2 } }
layer { name: 'pool' type: 'Pooling' bottom: 'a' top: 'pool' pooling_param { pool: MAX kernel_size: 3 stride: 2 pad: 1 } }
layer { name: 'floor' type: 'Pooling' bottom: 'a' top: 'floor'
        pooling_param { pool: AVE kernel_h: 3 kernel_w: 2 stride_h: 3 stride_w: 4 round_mode: FLOOR } }
layer { name: 'global' type: 'Pooling' bottom: 'a' top: 'global' pooling_param { pool: AVE global_pooling: true } }
layer { name: 'mask' type: 'Pooling' bottom: 'b' top: 'm1' top: 'm2' pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: 'ip' type: 'InnerProduct' bottom: 'pool' top: 'ip' inner_product_param { num_output: 7 } }
layer { name: 'drop' type: 'Dropout' bottom: 'ip' top: 'ip' }
layer { name: 'bn' type: 'BatchNorm' bottom: 'a' top: 'bn' }
layer { name: 'scale' type: 'Scale' bottom: 'bn' top: 'scale' scale_param { bias_term: true } }
layer { name: 'product' type: 'Scale' bottom: 'bn' bottom: 'a' top: 'product' scale_param { axis: 0 } }
layer { name: 'prelu' type: 'PReLU' bottom: 'bn' top: 'prelu' }
layer { name: 'lrn' type: 'LRN' bottom: 'a' top: 'lrn' }
layer { name: 'im2col' type: 'Im2col' bottom: 'a' top: 'im2col'
        convolution_param { kernel_size: 3 stride: 2 dilation: 2 pad: 1 } }
layer { name: 'sum' type: 'Eltwise' bottom: 'a' bottom: 'b' top: 'sum' }
layer { name: 'concat' type: 'Concat' bottom: 'a' bottom: 'sum' top: 'concat' }
layer { name: 'slice' type: 'Slice' bottom: 'concat' top: 's1' top: 's2' top: 's3' slice_param { slice_point: 2 slice_point: 7 } }
layer { name: 'crop' type: 'Crop' bottom: 's1' bottom: 'label' top: 'crop' crop_param { offset: 2 offset: 3 } }
layer { name: 'flat' type: 'Flatten' bottom: 's2' top: 'flat' }
layer { name: 'reshape' type: 'Reshape' bottom: 's3' top: 'reshape' reshape_param { shape { dim: 0 dim: -1 dim: 2 } } }
layer { name: 'split' type: 'Split' bottom: 'sum' top: 'p1' top: 'p2' }
layer { name: 'softmax' type: 'Softmax' bottom: 'p1' top: 'softmax' }
layer { name: 'loss' type: 'SoftmaxWithLoss' bottom: 'crop' bottom: 'label' top: 'loss' }
layer { name: 'gain' type: 'DummyData' top: 'gain' dummy_data_param { shape { dim: 1 dim: 1 dim: 2 dim: 2 } } }
layer { name: 'infogain' type: 'InfogainLoss' bottom: 'crop' bottom: 'label' bottom: 'gain' top: 'infogain' }
layer { name: 'euclid' type: 'EuclideanLoss' bottom: 'lrn' bottom: 'p2' top: 'euclid' }
layer { name: 'cross' type: 'SigmoidCrossEntropyLoss' bottom: 'lrn' bottom: 'sum' top: 'cross' }
layer { name: 'accuracy' type: 'Accuracy' bottom: 'crop' bottom: 'label' top: 'accuracy' top: 'each' include { phase: TEST } }
layer { name: 'silence' type: 'Silence' bottom: 'reshape' exclude { phase: TRAIN } }
layer { name: 'memory' type: 'MemoryData' top: 'm' top: 'ml'
        memory_data_param { batch_size: 2 channels: 3 height: 8 width: 9 } include { phase: TRAIN } }
"""


def by_caffe(message, phase):
    """Layer name -> (shapes of tops, shapes of weights) in real Caffe, without the Split layers that it adds."""
    net = net_of(message, phase)
    return {
        name: ([tuple(net.blobs[top].shape) for top in net.top_names[name]], [tuple(blob.shape) for blob in layer.blobs])
        for name, layer in zip(net._layer_names, net.layers, strict=True)
        if '_split' not in name
    }


def ours(layers):
    """The same of layers_of()."""
    return {layer.name: (list(layer.shapes), list(layer.params)) for layer in layers}


@pytest.mark.parametrize('phase', ['train', 'test'])
def test_layers_of_all_types_are_those_of_the_file(phase):
    """They have Caffe's shapes and the file's order and blobs, and memory is estimated of every type."""
    found = layers_of(parsed(VOCABULARY), phase)
    assert ours(found) == by_caffe(parsed(VOCABULARY), phase)
    in_file = {layer.name: (tuple(layer.bottom), tuple(layer.top)) for layer in parsed(VOCABULARY).layer}
    assert all((layer.bottoms, layer.tops) == in_file[layer.name] for layer in found)
    assert estimate(found, training=phase == 'train').blobs > 0


@pytest.mark.parametrize('name', STAGES)
def test_stages_have_the_shapes_that_they_have_on_their_lmdb(narrow_nets, tmp_path, name):
    """Without the Data layers, the shapes are those of real Caffe on an LMDB; --input of `summarize` replaces the LMDB."""
    stage = STAGES[name]
    crop = None if stage.crop_size is None else 396
    lmdb = stage_data(stage, tmp_path / 'lmdb', stage.label_stride, crop)
    expected = {}
    for make, phase in ((training, 'train'), (evaluation, 'test')):
        net = make(name, str(lmdb), crop)
        expected[phase] = by_caffe(net, phase)
        assert ours(layers_of(net, phase)) == expected[phase]
    args = ['--input', str(crop)] if crop else ['--input', 'x'.join(map(str, map_hw(stage)))]
    _, found = summarize.of_stage(summarize.parse_args(['--stage', name, *args]))
    assert ours(found) == expected['train']


def test_receptive_fields_of_the_paper():
    """Table 1's fields 3 5 9 17 33 65 67 67 in cells; the front end's 380 pixels at a step of 8; both: 66 * 8 + 380 = 908."""
    context = layers_of(deploy('basic_pascal_voc_fyu', start='fc-final', size_hw=(66, 66)), 'test')
    assert [layer.view.field[0] for layer in context if layer.type == 'Convolution'] == [3, 5, 9, 17, 33, 65, 67, 67]
    whole = {layer.name: layer.view for layer in layers_of(deploy('dilation8_pascal_voc'), 'test')}
    assert (whole['fc-final'].field, whole['fc-final'].stride) == ((380, 380), (8, 8))
    assert whole['prob'].field == (908, 908)


def test_multiply_adds_and_columns_by_hand():
    """conv1_1 of VOC has 898x898 outputs of 64 channels with 27 products each; its columns are 27 rows of 898x898."""
    first = layers_of(deploy('dilation8_pascal_voc'), 'test')[1]
    assert first.costs.multiply_adds == 898 * 898 * 64 * 27
    assert first.costs.column == 27 * 898 * 898
    up = layers_of(deploy('dilation10_cityscapes'), 'test')[-2]
    assert (up.name, up.costs.multiply_adds) == ('ctx_upsample', 128 * 128 * 19 * 256)


def test_gradients_go_where_caffe_sends_them():
    """Not to the input, and not to a frozen layer or below it."""
    text = """
    layer { name: 'in' type: 'Input' top: 'a' input_param { shape { dim: 1 dim: 3 dim: 9 dim: 9 } } }
    layer { name: 'frozen' type: 'Convolution' bottom: 'a' top: 'b' param { lr_mult: 0 } param { lr_mult: 0 }
            convolution_param { num_output: 2 kernel_size: 3 } }
    layer { name: 'relu' type: 'ReLU' bottom: 'b' top: 'b' }
    layer { name: 'learns' type: 'Convolution' bottom: 'b' top: 'c' convolution_param { num_output: 2 kernel_size: 1 } }
    layer { name: 'next' type: 'Pooling' bottom: 'c' top: 'd' pooling_param { kernel_size: 2 } }"""
    found = {layer.name: layer.passes_gradients for layer in layers_of(parsed(text), 'train')}
    assert found == {'in': (), 'frozen': (False,), 'relu': (False,), 'learns': (False,), 'next': (True,)}


OLD_INPUT = "input: 'data' input_dim: 1 input_dim: 3 input_dim: 20 input_dim: 30 "
REDUCTION = "layer { name: 'r' type: 'Reduction' bottom: 'data' top: 'r' reduction_param { axis: 2 } }"
OLD_LAYER = "layers { name: 'c' type: CONVOLUTION bottom: 'data' top: 'c' convolution_param { num_output: 2 kernel_size: 3 } }"


@pytest.mark.parametrize(
    ('text', 'words'),
    [(OLD_INPUT + REDUCTION, ['Reduction  1x3']), (OLD_INPUT + OLD_LAYER, ['1x2x18x28', '56 parameters'])],
    ids=['input_dim, and a type without costs of its own', 'layers of before 2015'],
)
def test_old_and_unusual_nets_are_summed_up(text, words, tmp_path, capsys):
    """Caffe upgrades old files; a layer of a type that is not in COSTS costs its outputs."""
    (tmp_path / 'net.prototxt').write_text(text)
    summarize.main([str(tmp_path / 'net.prototxt')])
    said = capsys.readouterr().out
    assert all(word in said for word in words)


def test_what_caffe_refuses_is_one_error():
    """Caffe ends its process, but the error repeats its message."""
    text = "layer { name: 'r' type: 'Reduction' bottom: 'a' top: 'r' }"
    with pytest.raises(UserError, match=r"Caffe cannot set the net .*up \(.*[Uu]nknown bottom blob 'a'"):
        layers_of(parsed(text), 'test', apart=True)


def test_one_net_at_several_sizes():
    """A net that is reshaped needs as much as one that is set up for the size."""
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
def test_refused_summaries(words, why):
    """The message says which option does not fit, or what to give."""
    with pytest.raises(UserError, match=why):
        summarize.main(words)


def test_a_summary_of_each_kind(capsys):
    """A network and its checked-in prototxt print the same, with known sums; a stage prints its training."""
    summarize.main(['dilation8_pascal_voc'])
    by_name = capsys.readouterr().out
    summarize.main([str(PROTOTXT / 'dilation8_pascal_voc' / 'deploy.prototxt')])
    assert capsys.readouterr().out == by_name
    assert '141,149,720 parameters' in by_name and 'memory, forward: ' in by_name  # 4 bytes each: the row's 564,598,880
    summarize.main(['--stage', 'camvid-front', '--input', '628', '--batch', '1', '--gpu'])
    assert 'memory, training: ' in (said := capsys.readouterr().out) and 'GB of the GPU (0.5 GB of it assumed' in said
