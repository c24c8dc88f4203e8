"""VGG-16 from other frameworks' files: what the source computes from an image, and what real Caffe computes after conversion."""

import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections import OrderedDict

import h5py
import numpy as np
import onnx
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from onnx import helper, numpy_helper
from safetensors.numpy import save_file

from pretrained import caffemodel, conventions, conversion, torch_file, vgg16
from prototxt.experiments import VGG_CONVOLUTIONS, FrontEnd
from tests.engines import run_onnx
from tests.port_files import as_caffes_hdf5
from tests.torch_files import Name, OldTensor, Parameter, Storage, Tensor, save_old, save_zip, state_dict, tensor
from tests.vgg16_models import (
    BLOCKS,
    CAFFE_MEAN_BGR,
    NARROW,
    SIDE,
    STD,
    caffe_fc7,
    fc7_of,
    image_rgb,
    normalized,
    random_arrays,
)
from tools.support.errors import UserError
from tools.support.paths import ROOT

IMAGE = image_rgb()


def converted(folder, source, told=None):
    """Path of the converted file."""
    caffemodel.write(folder / 'out.caffemodel', vgg16.convert(source, NARROW, told).layers)
    return folder / 'out.caffemodel'


def assert_same_fc7(folder, source, expected, told=None):
    """Real Caffe with the converted weights gives `expected` for IMAGE; the numbers are alive and differ."""
    found = caffe_fc7(folder, converted(folder, source, told), IMAGE)
    assert np.ptp(expected) > 0.1
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


# PyTorch


def save_safetensors(state, path):
    save_file({name: entry.view for name, entry in state.items()}, path)


@pytest.mark.parametrize('save', [save_zip, save_old, save_safetensors])
def test_torch_and_caffe_compute_the_same(tmp_path, save):
    """fc7 of normalized RGB by PyTorch's rules, and of Caffe's pixels by Caffe, from every form of file."""
    arrays = random_arrays()
    save(state_dict(arrays), tmp_path / 'vgg16')
    assert_same_fc7(tmp_path, tmp_path / 'vgg16', fc7_of(arrays, normalized(IMAGE)), 'torchvision')


def test_timm_names_compute_the_same(tmp_path):
    """timm stores fc6 and fc7 as convolutions, under names of its own."""
    arrays = random_arrays()
    expected = fc7_of(arrays, normalized(IMAGE))
    arrays['pre_logits.fc1.weight'] = arrays.pop('classifier.0.weight').reshape(7, 6, 7, 7)
    arrays['pre_logits.fc2.weight'] = arrays.pop('classifier.3.weight').reshape(7, 7, 1, 1)
    arrays['pre_logits.fc1.bias'], arrays['pre_logits.fc2.bias'] = (
        arrays.pop('classifier.0.bias'),
        arrays.pop('classifier.3.bias'),
    )
    save_file(arrays, tmp_path / 'vgg16.safetensors')
    assert_same_fc7(tmp_path, tmp_path / 'vgg16.safetensors', expected, 'torchvision')


class Record:
    """Pickled as an object of a training script or of PyTorch Lightning: a class of its own with a state."""

    def __init__(self, module, name, state=()):
        self.name, self.state = Name(module, name), state

    def __reduce__(self):
        return self.name, (), self.state


def prefixed(prefix, state):
    return {f'{prefix}{name}': entry for name, entry in state.items()}


WRAPPED = {
    'state_dict, module.': lambda state: {'epoch': 3, 'state_dict': prefixed('module.', state), 'best': 0.5},
    'model': lambda state: {'model': state, 'optimizer': {'state': {0: {'exp_avg': tensor(np.ones((2, 3, 3, 3), np.float32))}}}},
    'any name': lambda state: {'weights': {'net': state}},
    'backbone.': lambda state: prefixed('backbone.', state),
    'torch.compile': lambda state: prefixed('_orig_mod.', state),
    'a list': lambda state: [{'epoch': 1}, state],
    'a running average beside': lambda state: {'model': state, 'model_ema': prefixed('module.', state), 'n': tensor(np.array(3))},
    'Lightning': lambda state: {
        'state_dict': prefixed('model.backbone.', state), 'hyper_parameters': Record('argparse', 'Namespace', {'lr': 0.1}),
        'callbacks': {Name('pytorch_lightning.callbacks.model_checkpoint', 'ModelCheckpoint'): {'best': 0.5}},
        'optimizer_states': [{'state': {0: {'exp_avg': tensor(np.ones((2, 3, 3, 3), np.float32))}}}],
    },
    'a set, bytes and a part beside': lambda state: {'state_dict': state, 'done': {1, 2}, 'bytes': b'x', 'part': slice(1, 2)},
    'settings of other packages': lambda state: {'state_dict': state, 'cfg': Record('yacs.config', 'CfgNode', {'lr': 0.1})},
    'random numbers beside': lambda state: {'state_dict': state, 'rng_state': tensor(np.ones(8, np.uint8))},
    "numpy's numbers beside": lambda state: {'state_dict': state, 'best_acc': Record('numpy.core.multiarray', 'scalar')},
}  # fmt: skip


@pytest.mark.parametrize('wrap', WRAPPED)
@pytest.mark.parametrize('save', [save_zip, save_old])
def test_what_wraps_the_weights_is_taken_off(tmp_path, save, wrap):
    """All layers come out as without it, fc6 and fc7 too."""
    state = state_dict(random_arrays())
    save_zip(state, tmp_path / 'plain.pth')
    save(WRAPPED[wrap](state), tmp_path / 'w.pth')
    expected = converted(tmp_path, tmp_path / 'plain.pth', 'caffe').read_bytes()
    assert converted(tmp_path, tmp_path / 'w.pth', 'caffe').read_bytes() == expected
    assert list(caffemodel.stored(tmp_path / 'out.caffemodel'))[-2:] == ['fc6', 'fc7']


THEIRS = [f'features.{i}' for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)] + ['classifier.0', 'classifier.3']
CAFFES = [*VGG_CONVOLUTIONS, 'fc6', 'fc7']
RENUMBERED = {
    'torchvision to 0.1.7': {'classifier.0': 'classifier.1', 'classifier.3': 'classifier.4'},
    'a bare Sequential of the convolutions, and a classifier': {f'features.{i}': f'{i}' for i in range(30)},
    "Caffe's names": dict(zip(THEIRS, CAFFES, strict=True)),
    "Caffe's names below features and classifier": {
        theirs: f'{theirs.partition(".")[0]}.{ours}' for theirs, ours in zip(THEIRS, CAFFES, strict=True)
    },
    'dense layers with names of their own': {'classifier.0': 'head.linear1', 'classifier.3': 'head.linear2'},
    "TF-slim's names": {
        theirs: f'vgg_16.{ours}' if ours.startswith('fc') else f'vgg_16.{ours[:5]}.{ours}'
        for theirs, ours in zip(THEIRS, CAFFES, strict=True)
    },
}  # fmt: skip


@pytest.mark.parametrize('names', RENUMBERED)
def test_other_numbers_of_the_layers(tmp_path, names):
    """The same layers under the numbers and names of other libraries, and of earlier ones."""
    arrays, renumbered = random_arrays(), {}
    for name, array in arrays.items():
        layer, _, part = name.rpartition('.')
        renumbered[f'{RENUMBERED[names].get(layer, layer)}.{part}'] = array
    save_zip(state_dict(arrays), tmp_path / 'plain.pth')
    save_zip(state_dict(renumbered), tmp_path / 'w.pth')
    expected = converted(tmp_path, tmp_path / 'plain.pth', 'caffe').read_bytes()
    assert converted(tmp_path, tmp_path / 'w.pth', 'caffe').read_bytes() == expected


def test_several_copies_of_the_weights_are_refused(tmp_path):
    """Unless one is under a name by which the weights themselves go."""
    state = state_dict(random_arrays())
    save_zip({'student': state, 'teacher': prefixed('module.', state)}, tmp_path / 'w.pth')
    with pytest.raises(UserError, match=r'the same layers several times, under student, teacher\.module; save one of them alone'):
        vgg16.convert(tmp_path / 'w.pth', NARROW, 'caffe')


def test_half_precision_computes_nearly_the_same(tmp_path):
    """float16, as model.half() leaves it: 11 bits of each weight."""
    arrays = random_arrays()
    save_zip(state_dict({name: array.astype(np.float16) for name, array in arrays.items()}), tmp_path / 'w.pth')
    expected = fc7_of(arrays, normalized(IMAGE))
    found = caffe_fc7(tmp_path, converted(tmp_path, tmp_path / 'w.pth', 'torchvision'), IMAGE)
    assert np.allclose(found, expected, atol=2e-2 * np.abs(expected).max())


@pytest.mark.parametrize(('more', 'left_over'), [
    ({'extras.0.weight': np.ones((2, 2, 3, 3))}, 'extras.0'), ({'features.16.weight': np.ones((4, 4, 3, 3))}, 'features.16'),
    ({'mean': np.ones((1, 3, 1, 1))}, 'mean'),
])  # fmt: skip
def test_layers_that_no_vgg16_has_are_named(tmp_path, more, left_over):
    """Another network's, and pixels that are changed by the network itself."""
    save_zip(state_dict(random_arrays() | more), tmp_path / 'w.pth')
    with pytest.raises(UserError, match=rf'not a VGG-16; left over: {left_over};'):
        vgg16.convert(tmp_path / 'w.pth', NARROW, 'caffe')


def test_scores_of_another_task_are_left_out_and_named(tmp_path):
    """As fc8 of ImageNet's classes is."""
    save_zip(state_dict(random_arrays() | {'head.weight': np.ones((5, 7)), 'head.bias': np.ones(5)}), tmp_path / 'w.pth')
    assert vgg16.convert(tmp_path / 'w.pth', NARROW, 'caffe').said[-1] == 'left out: fc8, head, scores of another task'


@pytest.mark.parametrize(('dtype', 'name'), [(np.int8, 'int8'), (np.complex64, 'complex64')])
def test_weights_that_are_no_floats_are_refused(tmp_path, dtype, name):
    """Quantized ones say nothing without their scales."""
    np.savez(tmp_path / 'w.npz', **{layer: array.astype(dtype) for layer, array in random_arrays().items()})
    with pytest.raises(UserError, match=f'features.0.weight has numbers of type {name}; give a file that has them as floats'):
        vgg16.convert(tmp_path / 'w.npz', NARROW, 'caffe')


VGG_19 = [f'conv{group}_{i}' for group, depth in enumerate((2, 2, 4, 4, 4), 1) for i in range(1, depth + 1)]


def vgg_19():
    """Random convolutions of a narrow VGG-19, in Caffe's order, and fc6 and fc7."""
    random, channels, layers = np.random.default_rng(0), 3, {}
    for name in VGG_19:
        out = NARROW.trunk[int(name[4]) - 1]
        layers[name], channels = [random.normal(size=(out, channels, 3, 3)), random.normal(size=out)], out
    return layers | {'fc6': [random.normal(size=(7, 294)), np.ones(7)], 'fc7': [random.normal(size=(7, 7)), np.ones(7)]}


def save_vgg_19_as_keras(path, keras_3):
    with h5py.File(path, 'w') as file:
        for name, (weights, bias) in vgg_19().items():
            own = name if name.startswith('fc') else f'block{name[4]}_conv{name[6]}'
            own = {'fc6': 'fc1', 'fc7': 'fc2'}.get(own, own)
            (as_keras_3 if keras_3 else as_published)(
                file, own, weights.T if weights.ndim == 2 else weights.transpose(2, 3, 1, 0), bias
            )


def save_vgg_19_as_torch(path):
    indices = (0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34)
    save_zip(state_dict({
        f'features.{index}.{part}': blob
        for index, blobs in zip(indices, list(vgg_19().values())[:16], strict=True)
        for part, blob in zip(('weight', 'bias'), blobs, strict=True)
    }), path)  # fmt: skip


@pytest.mark.parametrize(('save', 'left_over'), [
    (lambda path: caffemodel.write(path, vgg_19()), 'conv3_4, conv4_4, conv5_4'),
    (lambda path: save_vgg_19_as_keras(path, keras_3=False), 'conv3_4, conv4_4, conv5_4'),
    (lambda path: save_vgg_19_as_keras(path, keras_3=True), 'conv2d_13, conv2d_14, conv2d_15'),
    (save_vgg_19_as_torch, '6 layers: features.16, features.23, features.25, features.30, ...'),
], ids=['Caffe', 'Keras', 'Keras 3', 'PyTorch'])  # fmt: skip
def test_a_vgg_19_is_refused(tmp_path, save, left_over):
    """With what is left over of its 16 convolutions."""
    save(tmp_path / 'w')
    with pytest.raises(UserError, match=f'not a VGG-16; .*left over: {left_over}'):
        vgg16.convert(tmp_path / 'w', NARROW, 'caffe')


def test_caffes_hdf5_is_a_source(tmp_path):
    """.caffemodel.h5 as Caffe lays it out, the same as the .caffemodel."""
    layers = {
        name: [np.ones(shape, np.float32), np.ones(shape[0], np.float32)]
        for name, shape in conversion.layer_shapes(NARROW).items()
    }
    caffemodel.write(tmp_path / 'w.caffemodel', layers)
    as_caffes_hdf5(layers, tmp_path / 'w.caffemodel.h5')
    expected = converted(tmp_path, tmp_path / 'w.caffemodel').read_bytes()
    assert converted(tmp_path, tmp_path / 'w.caffemodel.h5').read_bytes() == expected


def caffe_pixels_rgb():
    """IMAGE as Caffe's pixels, float32 (1, 3, H, W), but red first."""
    return (IMAGE - CAFFE_MEAN_BGR[::-1]).astype(np.float32).transpose(2, 0, 1)[None]


@pytest.mark.parametrize(('told', 'rgb'), [('caffe', False), ('caffe-rgb', True)])
def test_caffes_weights_in_a_torch_file(tmp_path, told, rgb):
    """Files like pytorch-fcn's (BGR) and amdegroot's (RGB): 0 to 255, only the order of colours can differ."""
    arrays, pixels = random_arrays(), caffe_pixels_rgb()
    save_zip(state_dict(arrays), tmp_path / 'vgg16.pth')
    expected = fc7_of(arrays, pixels if rgb else np.ascontiguousarray(pixels[:, ::-1]))
    assert_same_fc7(tmp_path, tmp_path / 'vgg16.pth', expected, told)


def published(first_weights, biases):
    """Arrays of VGG-16's own widths, zero but for the values by which published weights are known."""
    arrays = {name: np.zeros_like(values) for name, values in random_arrays(FrontEnd(fc=4)).items()}
    names = [name for name in arrays if name.startswith('features') and name.endswith('bias')]
    for index, bias in biases.items():
        arrays[names[index]][0] = bias
    arrays['features.0.weight'][0] = first_weights
    return arrays


def oxford(rgb):
    """Weights that begin as the published ImageNet VGG-16."""
    return published(conventions.TAPS if rgb else conventions.TAPS[::-1], dict(enumerate(conventions.FIRST_BIASES)))


@pytest.mark.parametrize(('arrays', 'convention', 'whose'), [
    (oxford(rgb=False), 'caffe', 'Simonyan'), (oxford(rgb=True), 'caffe-rgb', 'Simonyan'),
    (published(conventions.TORCHVISION_TAPS, conventions.TORCHVISION_BIASES), 'torchvision', 'IMAGENET1K_V1'),
], ids=['pytorch-fcn', 'amdegroot', 'torchvision'])  # fmt: skip
def test_published_weights_are_told_apart(tmp_path, arrays, convention, whose):
    """By their values, as all three have the same names; in each case the red taps end up in Caffe's third channel."""
    save_zip(state_dict(arrays), tmp_path / 'w.pth')
    found = vgg16.convert(tmp_path / 'w.pth', FrontEnd())
    assert whose in found.said[1]
    taps = arrays['features.0.weight'][0]
    taps = taps if convention == 'caffe' else taps[::-1]
    scale = 255 * STD[::-1, None, None] if convention == 'torchvision' else 1
    assert np.allclose(found.layers['conv1_1'][0][0], taps / scale, rtol=1e-5)
    with pytest.raises(UserError, match=f'{whose}.*whose input is {convention}; leave out --input'):
        vgg16.convert(tmp_path / 'w.pth', FrontEnd(), {'caffe': 'torchvision'}.get(convention, 'caffe'))


def test_unknown_weights_need_a_word(tmp_path):
    """Nothing in a state dict says whether pixels are 0 to 1 or 0 to 255."""
    save_zip(state_dict(random_arrays()), tmp_path / 'w.pth')
    with pytest.raises(UserError, match=r'INPUT= with make, or --input \(caffe: blue, green, red, 0 to 255.*; torchvision: red'):
        vgg16.convert(tmp_path / 'w.pth', NARROW)


def test_a_classifier_of_nan_is_left_out(tmp_path):
    """torchvision's IMAGENET1K_FEATURES has one; the convolutions are taken, and the reason is said."""
    arrays = random_arrays()
    arrays['classifier.3.weight'][:] = np.nan
    save_zip(state_dict(arrays), tmp_path / 'w.pth')
    found = vgg16.convert(tmp_path / 'w.pth', NARROW, 'caffe')
    assert 'fc6' not in found.layers and 'fc7' not in found.layers
    assert found.said[2] == 'fc6 and fc7: left out, as fc7 has no values that are numbers'


def test_a_classifier_of_another_training_is_left_out(tmp_path):
    """Of other sizes than VGG-16's."""
    save_zip(state_dict(random_arrays(FrontEnd(NARROW.trunk, fc=9))), tmp_path / 'w.pth')
    found = vgg16.convert(tmp_path / 'w.pth', NARROW, 'caffe')
    assert found.layers.keys() & {'fc6', 'fc7'} == set()
    assert 'left out, as fc6 has (9, 294) and (9,), VGG-16 has (7, 6, 7, 7)' in found.said[2]


def test_convolutions_of_nan_are_refused(tmp_path):
    arrays = random_arrays()
    arrays['features.5.weight'][0, 0, 0, 0] = np.inf
    save_zip(state_dict(arrays), tmp_path / 'w.pth')
    with pytest.raises(UserError, match=r'w\.pth: values that are not finite in conv2_1'):
        vgg16.convert(tmp_path / 'w.pth', NARROW, 'caffe')


def test_batch_normalization_is_refused(tmp_path):
    """torchvision's vgg16_bn: other layers under the same numbers."""
    parts = ('weight', 'bias', 'running_mean', 'running_var')
    save_zip(state_dict(random_arrays() | {f'features.1.{part}': np.ones(2) for part in parts}), tmp_path / 'w.pth')
    with pytest.raises(UserError, match=r'left over: features\.1 \(batch normalization\?\)'):
        vgg16.convert(tmp_path / 'w.pth', NARROW, 'caffe')


@pytest.mark.parametrize('save', [save_zip, save_old])
def test_tensors_are_those_that_were_saved(tmp_path, save):
    """Halves, doubles, integers, shared storages, turned and strided views, parameters, a scalar, an empty one, old forms."""
    random = np.random.default_rng(0)
    base, row = random.standard_normal((6, 5), np.float32), random.standard_normal((1, 3), np.float32)
    storage = Storage(base)
    state = OrderedDict(
        plain=Tensor(storage, base), shared=Tensor(storage, base[2:4, 1:]), turned=Tensor(storage, base.T),
        strided=Tensor(storage, base[::2, ::3]), half=tensor(base.astype(np.float16)), double=tensor(base.astype(np.float64)),
        long=tensor(np.arange(7)), flag=tensor(np.array([True, False])), scalar=tensor(np.array(3.5, np.float32)),
        none=tensor(np.zeros((0, 4), np.float32)), parameter=Parameter(tensor(random.standard_normal(3, np.float32))),
        old=OldTensor(tensor(np.arange(3.0))), old_parameter=OldTensor(tensor(np.arange(4.0)), parameter=True),
        wide=Tensor(Storage(row), np.broadcast_to(row, (4, 3))), byte=tensor(np.arange(5, dtype=np.uint8)),
    )  # fmt: skip
    save(state, tmp_path / 'w.pth')
    found = torch_file.read(tmp_path / 'w.pth')
    assert list(found) == list(state)
    for name, entry in state.items():
        expected = entry.view if isinstance(entry, Tensor) else entry.tensor.view
        assert found[name].dtype == expected.dtype and np.array_equal(found[name], expected), name


class Evil:
    """Unpickled as it stands, this would make a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize('save', [save_zip, save_old])
def test_a_pickle_that_would_run_something_is_refused(tmp_path, save):
    """Named, and not run."""
    save({'features.0.weight': tensor(np.zeros(3, np.float32)), 'x': Evil(tmp_path / 'made')}, tmp_path / 'w.pth')
    with pytest.raises(UserError, match=r'w\.pth: holds (posix|os)\.mkdir, which is not read'):
        vgg16.convert(tmp_path / 'w.pth', NARROW)
    assert not (tmp_path / 'made').exists()


@pytest.mark.parametrize('save', [save_zip, save_old])
def test_numbers_without_a_place_in_numpy_are_named(tmp_path, save):
    """Complex ones."""
    values = np.zeros(3, np.int64)  # as wide
    save({'features.0.weight': Tensor(Storage(values, 'ComplexFloatStorage'), values)}, tmp_path / 'w.pth')
    with pytest.raises(UserError, match='numbers of a ComplexFloatStorage; save them as 32-bit floats'):
        torch_file.read(tmp_path / 'w.pth')


@pytest.mark.parametrize('save', [save_zip, save_old])
def test_bfloat16_is_the_upper_half_of_a_float(tmp_path, save):
    """0x3fc0 is 1.5, 0xc040 -3; as rows and, turned, as columns."""
    halves = np.array([[0x3FC0, 0], [0xC040, 0x3F80]], np.uint16)
    storage = Storage(halves, 'BFloat16Storage')
    save({'w': Tensor(storage, halves), 't': Tensor(storage, halves.T)}, tmp_path / 'w.pth')
    found = torch_file.read(tmp_path / 'w.pth')
    assert found['w'].tolist() == [[1.5, 0], [-3, 1]] and found['t'].tolist() == [[1.5, -3], [0, 1]]


def test_a_plain_pickle_is_refused(tmp_path):
    (tmp_path / 'w.pth').write_bytes(pickle.dumps(Evil(tmp_path / 'made')))
    with pytest.raises(UserError, match=r'holds (posix|os)\.mkdir, which is not read'):
        vgg16.convert(tmp_path / 'w.pth', NARROW)
    assert not (tmp_path / 'made').exists()


class Model:
    """Pickled as a layer of PyTorch is."""

    def __reduce__(self):
        return Name('torch.nn.modules.linear', 'Linear'), (), {'in_features': 2, 'out_features': 2}


def test_a_whole_model_is_refused_with_the_way_out(tmp_path):
    """torch.save(model) pickles classes."""
    save_zip(Model(), tmp_path / 'w.pth')
    with pytest.raises(UserError, match=r'holds torch\.nn.*torch\.save\(model\.state_dict\(\), FILE\)'):
        vgg16.convert(tmp_path / 'w.pth', NARROW)


@pytest.mark.parametrize('save', [save_zip, save_old])
def test_a_list_that_holds_itself_ends_in_one_error(tmp_path, save):
    """Nothing of it is weights; a list within lists, deeper than the interpreter goes, neither."""
    loop, deep = [], []
    loop.append(loop)
    for _ in range(150):
        deep = [deep]
    for tree, said in ((loop, 'not a VGG-16; it has no conv1_1'), (deep, 'nested more than 99 deep')):
        save(tree, tmp_path / 'w.pth')
        with pytest.raises(UserError, match=said):
            vgg16.convert(tmp_path / 'w.pth', NARROW)


@pytest.mark.parametrize('save', [save_zip, save_old])
def test_damaged_torch_files_are_refused(tmp_path, save):
    """Cut off anywhere, or with a byte changed among the values of the zipped form, which has sums."""
    path = tmp_path / 'w.pth'
    save({'features.0.weight': tensor(np.ones(999, np.float32))}, path)
    whole = path.read_bytes()
    for size in (20, 100, len(whole) // 2, len(whole) - 3):
        path.write_bytes(whole[:size])
        with pytest.raises(UserError, match=r'w\.pth: .*damaged'):
            torch_file.read(path)
    if save is save_zip:
        path.write_bytes(whole.replace(b'\x00\x00\x80\x3f' * 8, b'\x00\x00\x80\x3e' * 8, 1))
        with pytest.raises(UserError, match='the sum of .* is wrong'):
            torch_file.read(path)


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
    """PyTorch never writes one; read as it says, it would show memory behind the file."""
    out = io.BytesIO()
    save_zip({'w': tensor(np.zeros(5, np.float32))}, out)
    with zipfile.ZipFile(out) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (pickled,) = [name for name in members if name.endswith('data.pkl')]
    assert members[pickled].count(b'K\x05') == 2  # the storage's count, then the tensor's size
    head, tail = members[pickled].rsplit(b'K\x05', 1)
    with zipfile.ZipFile(tmp_path / 'w.pth', 'w') as archive:
        for name, content in members.items():
            archive.writestr(name, head + b'K\x06' + tail if name == pickled else content)
    with pytest.raises(UserError, match=r'a tensor of \(6,\) reaches over its storage of 5 values'):
        torch_file.read(tmp_path / 'w.pth')


@pytest.mark.parametrize(('change', 'why'), [
    (lambda data: data[:-4], 'a tensor of'), (lambda data: data.replace(b'F32', b'F99'), 'numbers of type F99'),
    (lambda data: data.replace(b'"dtype"', b'"dtyp?"'), 'dtype'), (lambda data: data.replace(b'{"', b'{{', 1), 'property name'),
])  # fmt: skip
def test_damaged_safetensors_are_refused(tmp_path, change, why):
    save_file({'features.0.weight': np.zeros((8, 3), np.float32)}, tmp_path / 'w')
    (tmp_path / 'w').write_bytes(change((tmp_path / 'w').read_bytes()))
    with pytest.raises(UserError, match=f'/w: damaged.*{why}'):
        vgg16.convert(tmp_path / 'w', NARROW)


# Keras


def keras_arrays(seed=0):
    """[name, kernel, bias] in Keras's layout: (height, width, in, out), (in, out)."""
    random, channels, rows = np.random.default_rng(seed), 3, []
    shapes = []
    for block, (width, count) in enumerate(zip(NARROW.trunk, BLOCKS, strict=True), 1):
        for i in range(1, count + 1):
            shapes.append((f'block{block}_conv{i}', (3, 3, channels, width)))
            channels = width
    shapes += [('fc1', (49 * channels, NARROW.fc)), ('fc2', (NARROW.fc, NARROW.fc)), ('predictions', (NARROW.fc, 10))]
    for name, shape in shapes:
        kernel = random.normal(0, np.sqrt(2 / np.prod(shape[:-1])), shape).astype(np.float32)
        rows.append((name, kernel, random.normal(0, 0.1, shape[-1]).astype(np.float32)))
    return rows


def keras_fc7(rows):
    """fc7 of IMAGE by Keras's rules, channels last, in plain NumPy: Caffe's pixels, valid convolutions, flattened as they lie."""
    maps = (IMAGE[:, :, ::-1] - CAFFE_MEAN_BGR).astype(np.float32)
    for name, kernel, bias in rows[:13]:
        windows = sliding_window_view(maps, (3, 3), axis=(0, 1))  # rows, columns, channels, window rows, window columns
        maps = np.maximum(np.tensordot(windows, kernel, ((3, 4, 2), (0, 1, 2))) + bias, 0)
        if name in [f'block{block}_conv{count}' for block, count in enumerate(BLOCKS, 1)]:
            high, wide, channels = maps.shape
            maps = maps.reshape(high // 2, 2, wide // 2, 2, channels).max(axis=(1, 3))
    fc6 = np.maximum(maps.reshape(-1) @ rows[13][1] + rows[13][2], 0)
    return fc6 @ rows[14][1] + rows[14][2]


def as_published(file, name, kernel, bias):
    """keras.applications' own file of weights."""
    file[f'{name}/{name}_W_1:0'], file[f'{name}/{name}_b_1:0'] = kernel, bias


def as_saved_model(file, name, kernel, bias):
    """model.save() of Keras 2: a group more, and the optimizer's arrays beside."""
    file[f'model_weights/{name}/{name}/kernel:0'], file[f'model_weights/{name}/{name}/bias:0'] = kernel, bias
    file[f'optimizer_weights/Adam/{name}/kernel/m:0'] = kernel * 0


def as_keras_3(file, name, kernel, bias):
    """Keras 3 numbers layers of a class in the order of the model."""
    base = 'conv2d' if kernel.ndim == 4 else 'dense'
    count = sum(group.split('_')[0] == base for group in file.get('layers', ()))
    group = f'layers/{base}_{count}' if count else f'layers/{base}'
    file[f'{group}/vars/0'], file[f'{group}/vars/1'] = kernel, bias


@pytest.mark.parametrize('layout', [as_published, as_saved_model, as_keras_3])
def test_keras_and_caffe_compute_the_same(tmp_path, layout):
    """From each way that Keras lays its files out."""
    rows = keras_arrays()
    with h5py.File(tmp_path / 'vgg16', 'w') as file:
        for row in rows:
            layout(file, *row)
    assert_same_fc7(tmp_path, tmp_path / 'vgg16', keras_fc7(rows))


def test_a_keras_archive_is_looked_into(tmp_path):
    """.keras is a zip archive with the weights in one member; the same as from the file itself."""
    with h5py.File(tmp_path / 'model.weights.h5', 'w') as file:
        for row in keras_arrays():
            as_keras_3(file, *row)
    with zipfile.ZipFile(tmp_path / 'model.keras', 'w') as archive:
        archive.writestr('config.json', '{}')
        archive.write(tmp_path / 'model.weights.h5', 'model.weights.h5')
    first = converted(tmp_path, tmp_path / 'model.weights.h5').read_bytes()
    assert converted(tmp_path, tmp_path / 'model.keras').read_bytes() == first


def test_kernels_of_theano_compute_the_same(tmp_path):
    """vgg16_weights_th_dim_ordering_th_kernels.h5: (out, in, height, width) turned over, maps flattened as (channels, h, w)."""
    rows = keras_arrays()
    with h5py.File(tmp_path / 'w.h5', 'w') as file:
        for name, kernel, bias in rows:
            if kernel.ndim == 4:
                kernel = kernel.transpose(3, 2, 0, 1)[..., ::-1, ::-1]
            elif name == 'fc1':
                kernel = kernel.reshape(7, 7, 6, 7).transpose(2, 0, 1, 3).reshape(-1, 7)
            as_published(file, name, kernel, bias)
    assert_same_fc7(tmp_path, tmp_path / 'w.h5', keras_fc7(rows))


def test_damaged_keras_files_are_refused(tmp_path):
    with h5py.File(tmp_path / 'w.h5', 'w') as file:
        file['block1_conv1/kernel'] = np.zeros(9999)
    whole = (tmp_path / 'w.h5').read_bytes()
    (tmp_path / 'w.h5').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r'w\.h5: damaged, or HDF5 of neither Keras nor Caffe'):
        vgg16.convert(tmp_path / 'w.h5', NARROW)


# ONNX


def onnx_model(dense):
    """VGG-16 without padding under names of no meaning; `dense(top, rows)` gives nodes and tensors of fc6 and fc7."""
    nodes, tensors, top = [], [], 'image'
    rows = keras_arrays(1)
    for count, (name, kernel, bias) in enumerate(rows[:13]):
        tensors += [numpy_helper.from_array(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)), f'w{count}')]
        tensors += [numpy_helper.from_array(bias, f'b{count}')]
        nodes += [helper.make_node('Conv', [top, f'w{count}', f'b{count}'], [f'c{count}'])]
        nodes += [helper.make_node('Relu', [f'c{count}'], [f'r{count}'])]
        top = f'r{count}'
        if name in [f'block{block}_conv{last}' for block, last in enumerate(BLOCKS, 1)]:
            nodes.append(helper.make_node('MaxPool', [top], [f'p{count}'], kernel_shape=[2, 2], strides=[2, 2]))
            top = f'p{count}'
    more_nodes, more_tensors = dense(top, rows)
    kind = onnx.TensorProto.FLOAT
    values = [helper.make_tensor_value_info('image', kind, [1, 3, SIDE, SIDE]), helper.make_tensor_value_info('fc7', kind, None)]
    graph = helper.make_graph(nodes + more_nodes, 'g', values[:1], values[1:], tensors + more_tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 13)], ir_version=8)


def by_gemm(top, rows):
    """As PyTorch exports it: Flatten, Gemm with its weights as rows of outputs."""
    tensors = [numpy_helper.from_array(np.ascontiguousarray(rows[i][1].T), f'd{i}') for i in (13, 14)]
    tensors += [numpy_helper.from_array(rows[i][2], f'e{i}') for i in (13, 14)]
    nodes = [
        helper.make_node('Flatten', [top], ['flat']),
        helper.make_node('Gemm', ['flat', 'd13', 'e13'], ['fc6'], transB=1),
        helper.make_node('Relu', ['fc6'], ['fc6r']),
        helper.make_node('Gemm', ['fc6r', 'd14', 'e14'], ['fc7'], transB=1),
    ]
    return nodes, tensors


def by_matmul(top, rows):
    """As Keras's models are converted: channels moved last, then flattened; MatMul and Add."""
    tensors = [numpy_helper.from_array(rows[i][1], f'd{i}') for i in (13, 14)]
    tensors += [numpy_helper.from_array(rows[i][2], f'e{i}') for i in (13, 14)]
    tensors.append(numpy_helper.from_array(np.array([1, -1]), 'shape'))
    nodes = [
        helper.make_node('Transpose', [top], ['last'], perm=[0, 2, 3, 1]),
        helper.make_node('Reshape', ['last', 'shape'], ['flat']),
        helper.make_node('MatMul', ['flat', 'd13'], ['m6']),
        helper.make_node('Add', ['m6', 'e13'], ['fc6']),
        helper.make_node('Relu', ['fc6'], ['fc6r']),
        helper.make_node('MatMul', ['fc6r', 'd14'], ['m7']),
        helper.make_node('Add', ['m7', 'e14'], ['fc7']),
    ]
    return nodes, tensors


@pytest.mark.parametrize('dense', [by_gemm, by_matmul])
def test_onnx_without_names_and_caffe_compute_the_same(tmp_path, dense):
    """onnxruntime on normalized RGB, from image to fc7."""
    model = onnx_model(dense)
    onnx.save(model, tmp_path / 'vgg16.onnx')
    expected = run_onnx(model, normalized(IMAGE)).reshape(-1)
    assert_same_fc7(tmp_path, tmp_path / 'vgg16.onnx', expected, 'torchvision')


@pytest.mark.parametrize(('place', 'operation', 'inputs', 'said'), [
    (4, 'Conv', ['r1', 'w1', 'b1'], 'left over: w12'), (0, 'Mul', ['image', 'six'], r'before its first convolution \(Mul\)'),
    (2, 'Mul', ['r0', 'six'], r'conv1_1 has \(2, 3, 3, 3\) and \(2,\) and \(6,\)'),
])  # fmt: skip
def test_onnx_that_is_no_vgg16_is_refused(tmp_path, place, operation, inputs, said):
    """A convolution more; numbers that pixels are multiplied by before the first, and maps after it."""
    model = onnx_model(by_gemm)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(6, np.float32), 'six'))
    model.graph.node.insert(place, helper.make_node(operation, inputs, ['more']))
    onnx.save(model, tmp_path / 'w.onnx')
    with pytest.raises(UserError, match=said):
        vgg16.convert(tmp_path / 'w.onnx', NARROW, 'caffe')


def test_onnx_with_weights_elsewhere_is_refused(tmp_path):
    """The message says how to make one file of it."""
    onnx.save(onnx_model(by_gemm), tmp_path / 'w.onnx', save_as_external_data=True, location='w.data', size_threshold=0)
    with pytest.raises(UserError, match='its weights lie in another file; save it as one file'):
        vgg16.convert(tmp_path / 'w.onnx', NARROW)


# Full size


MEASURED = """
import sys
from pretrained import vgg16
vgg16.main(sys.argv[1:])
print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1], file=sys.stderr)
"""


def peak_bytes(*words):
    """Peak memory of the command in a process of its own."""
    done = subprocess.run([sys.executable, '-c', MEASURED, *map(str, words)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return int(done.stderr.split()[-1]) * 1024, done.stdout


def test_full_size_in_the_memory_of_one_copy(tmp_path):
    """torchvision's own sizes in its own form of file: fc7 of an image is the same, and memory stays near the file's size."""
    full = FrontEnd()
    arrays = random_arrays(full)
    save_old(state_dict(arrays), tmp_path / 'vgg16.pth')
    expected = fc7_of(arrays, normalized(IMAGE))
    del arrays
    peak, said = peak_bytes(tmp_path / 'vgg16.pth', '--out', tmp_path / 'out.caffemodel', '--input', 'torchvision')
    assert peak < 1.2 * (tmp_path / 'vgg16.pth').stat().st_size
    assert 'conv1_1 ... fc7, 134,260,544 parameters' in said
    again, _ = peak_bytes(tmp_path / 'out.caffemodel', '--out', tmp_path / 'again.caffemodel')
    assert again < 1.2 * (tmp_path / 'out.caffemodel').stat().st_size
    found = caffe_fc7(tmp_path, tmp_path / 'out.caffemodel', IMAGE, full)
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_full_size_keras_in_less_than_one_copy(tmp_path):
    """Its matrices are turned a block of rows at a time. Values by which the turning can be followed: the index of each."""
    with h5py.File(tmp_path / 'w.h5', 'w') as file:
        for name, shape in conversion.layer_shapes(FrontEnd()).items():
            if name.startswith('conv'):
                as_published(
                    file, f'block{name[4]}_conv{name[6]}', np.zeros(shape[2:] + shape[1::-1], np.float32), np.zeros(shape[0])
                )
        as_published(file, 'fc1', np.arange(25088, dtype=np.float32)[:, None] + np.zeros(4096, np.float32), np.zeros(4096))
        as_published(file, 'fc2', np.zeros((4096, 4096), np.float32), np.zeros(4096))
    peak, _ = peak_bytes(tmp_path / 'w.h5', '--out', tmp_path / 'out.caffemodel')
    assert peak < (tmp_path / 'w.h5').stat().st_size
    fc6 = caffemodel.stored(tmp_path / 'out.caffemodel')['fc6'][0].view()
    assert [fc6[4095, 300, 2, 5], fc6[0, 0, 0, 1], fc6[9, 1, 0, 0]] == [(2 * 7 + 5) * 512 + 300, 512, 1]
