"""Readers of weight files: all values arrive; damaged files and pickles that would run a program are refused."""

import os
import pickle
from collections import OrderedDict

import numpy as np
import pytest
from numpy.lib.stride_tricks import as_strided
from safetensors.numpy import save_file

from pretrained import formats, numpy_file, torch_file
from tests import port_files
from tests.torch_files import Record, Storage, Tensor, save_old, save_zip, tensor
from tools.support.errors import UserError

SAVES = [save_zip, save_old]


def save_numpy(save):
    """Returns a function that writes a tree by `save`, a function of NumPy that takes a file and the tree."""

    def write(tree, path):
        with path.open('wb') as file:
            save(file, tree)

    return write


def save_pickle(protocol):
    return lambda tree, path: path.write_bytes(pickle.dumps(tree, protocol))


@pytest.mark.parametrize('save', SAVES)
def test_tensors_of_every_kind_are_read(tmp_path, save):
    """Types of numbers, views of storages, parameters, and forms of old versions."""
    random = np.random.default_rng(0)
    base, row = random.standard_normal((6, 5), np.float32), random.standard_normal((1, 3), np.float32)
    storage = Storage(base)
    state = OrderedDict(
        plain=Tensor(storage, base), shared=Tensor(storage, base[2:4, 1:]), transposed=Tensor(storage, base.T),
        strided=Tensor(storage, base[::2, ::3]), half=tensor(base.astype(np.float16)), double=tensor(base.astype(np.float64)),
        long=tensor(np.arange(7)), flag=tensor(np.array([True, False])), scalar=tensor(np.array(3.5, np.float32)),
        none=tensor(np.zeros((0, 4), np.float32)), parameter=tensor(random.standard_normal(3, np.float32), parameter=True),
        old=tensor(np.arange(3.0), old=True), old_parameter=tensor(np.arange(4.0), old=True, parameter=True),
        wide=Tensor(Storage(row), np.broadcast_to(row, (4, 3))), byte=tensor(np.arange(5, dtype=np.uint8)),
    )  # fmt: skip
    save(state, tmp_path / 'w.pth')
    found = torch_file.read(tmp_path / 'w.pth')
    assert list(found) == list(state)
    for name, entry in state.items():
        assert found[name].dtype == entry.view.dtype and np.array_equal(found[name], entry.view), name


@pytest.mark.parametrize('save', SAVES)
def test_bfloat16_is_the_upper_half_of_a_float(tmp_path, save):
    """0x3fc0 is 1.5, 0xc040 is -3; in order and transposed."""
    halves = np.array([[0x3FC0, 0], [0xC040, 0x3F80]], np.uint16)
    storage = Storage(halves, 'BFloat16Storage')
    save({'w': Tensor(storage, halves), 't': Tensor(storage, halves.T)}, tmp_path / 'w.pth')
    found = torch_file.read(tmp_path / 'w.pth')
    assert found['w'].tolist() == [[1.5, 0], [-3, 1]] and found['t'].tolist() == [[1.5, -3], [0, 1]]


@pytest.mark.parametrize('protocol', range(6))
def test_pickled_arrays_of_every_kind_are_read(tmp_path, protocol):
    """Halves, big-endian doubles, Fortran's order, integers, a scalar, nested lists; text and numbers are ignored."""
    random = np.random.default_rng(0)
    tree = {
        'half': random.normal(size=(2, 3)).astype(np.float16), 'big': random.normal(size=4).astype('>f8'),
        'fortran': np.asfortranarray(random.normal(size=(3, 2, 2)).astype(np.float32)), 'scalar': np.float32(1.5),
        'list': [np.arange(3), ('text', np.zeros((0, 4)))], 'text': 'conv', 'count': 7,
    }  # fmt: skip
    save_pickle(protocol)(tree, tmp_path / 'w.pkl')
    found = numpy_file.read(tmp_path / 'w.pkl')
    expected = {name: tree[name] for name in ('half', 'big', 'fortran', 'scalar')}
    expected |= {'list.0': np.arange(3), 'list.1.1': np.zeros((0, 4))}
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype.newbyteorder('<') or found[name].dtype == array.dtype
        assert np.array_equal(found[name], array) and found[name].shape == np.shape(array), name


PYTHON_2 = (  # opcodes as pickletools prints them of such files
    b'\x80\x02}(T\x01\x00\x00\x00wcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85T\x01\x00\x00\x00b\x87R(K\x01'
    b'(J\x02\x00\x00\x00tcnumpy\ndtype\nT\x02\x00\x00\x00f4K\x00K\x01\x87R(K\x03T\x01\x00\x00\x00<NNNJ\xff\xff\xff\xff'
    b'J\xff\xff\xff\xffK\x00tb\x89T\x08\x00\x00\x00\x00\x00\xc0?\x00\x00\x00\xc0tbu.'
)


def test_pickles_of_python_2_are_read(tmp_path):
    """cPickle.dump({'w': array}, file, 2), where text and the values of arrays are bytes."""
    (tmp_path / 'w.pkl').write_bytes(PYTHON_2)
    found = numpy_file.read(tmp_path / 'w.pkl')['w']
    assert found.dtype == np.float32 and found.tolist() == [1.5, -2]


class Evil:
    """Makes a folder if pickle itself reads it."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize('save', [
    *SAVES, save_pickle(4), save_pickle(0), save_numpy(np.save), save_numpy(np.savez),
    save_numpy(lambda file, tree: np.savez_compressed(file, weights=tree)),
], ids=['PyTorch', 'PyTorch before 1.6', 'pickle', 'protocol 0', 'npy', 'npz', 'compressed npz'])  # fmt: skip
def test_a_file_that_would_run_a_program_is_refused(tmp_path, save):
    save({'conv1_1': [np.zeros((2, 3, 3, 3)), Evil(tmp_path / 'made')]}, tmp_path / 'w')
    with pytest.raises(UserError, match=r'/w: holds (posix|os)\.mkdir, which is not read because it could run any program'):
        formats.read(tmp_path / 'w')
    assert not (tmp_path / 'made').exists()


INTEGERS, FIVE = np.zeros(3, np.int64), np.zeros(5, np.float32)


@pytest.mark.parametrize('save', SAVES)
@pytest.mark.parametrize(('tree', 'said'), [
    (Record('torch.nn.modules.linear', 'Linear', {'in_features': 2}), r'holds torch\.nn.*torch\.save\(model\.state_dict\(\), '),
    # as wide as complex numbers of two floats
    ({'w': Tensor(Storage(INTEGERS, 'ComplexFloatStorage'), INTEGERS)}, 'numbers of a ComplexFloatStorage; save them as 32-bit'),
    # PyTorch never writes such a tensor; read blindly, it would show memory behind the file
    ({'w': Tensor(Storage(FIVE), as_strided(FIVE, (6,)))}, r'a tensor of \(6,\) reaches over its storage of 5'),
], ids=['a whole model', 'complex numbers', 'a tensor beyond its storage'])  # fmt: skip
def test_other_files_of_pytorch_are_refused(tmp_path, save, tree, said):
    save(tree, tmp_path / 'w.pth')
    with pytest.raises(UserError, match=said):
        torch_file.read(tmp_path / 'w.pth')


@pytest.mark.parametrize('save', [*SAVES, save_pickle(4)])
def test_recursive_and_deep_lists(tmp_path, save):
    """A list that holds itself has no arrays; one of 150 levels is refused."""
    loop, deep = [], []
    loop.append(loop)
    save(loop, tmp_path / 'w')
    assert formats.read(tmp_path / 'w').layers == {}
    for _ in range(150):
        deep = [deep]
    save(deep, tmp_path / 'w')
    with pytest.raises(UserError, match='nested more than 99 deep'):
        formats.read(tmp_path / 'w')


def test_lists_deeper_than_the_interpreters_stack_are_refused(tmp_path):
    (tmp_path / 'w').write_bytes(b'\x80\x02' + b']' * 5000 + b'a' * 4999 + b'.')
    with pytest.raises(UserError, match='nested more than 99 deep'):
        formats.read(tmp_path / 'w')


LAYERS = {'conv1_1': [np.ones((8, 3, 3, 3), np.float32), np.ones(8, np.float32)]}


@pytest.mark.parametrize('write', [
    port_files.as_torch, lambda layers, path: save_old({'conv1_1.weight': tensor(layers['conv1_1'][0])}, path),
    port_files.as_lists, port_files.as_pickle, port_files.as_npz, port_files.as_theano,
], ids=['PyTorch', 'PyTorch before 1.6', 'npy', 'pickle', 'npz', 'Keras'])  # fmt: skip
@pytest.mark.parametrize('cut', [8, 20, 100, 0.5, -3])
def test_a_file_that_is_cut_off_is_refused(tmp_path, write, cut):
    write(LAYERS, tmp_path / 'w')
    whole = (tmp_path / 'w').read_bytes()
    (tmp_path / 'w').write_bytes(whole[: cut if cut != 0.5 else len(whole) // 2])
    with pytest.raises(UserError, match='/w: .*damaged'):
        formats.read(tmp_path / 'w')


def test_a_changed_byte_in_an_archive_is_noticed(tmp_path):
    """A zip archive has sums of its members."""
    port_files.as_torch(LAYERS, tmp_path / 'w')
    whole = (tmp_path / 'w').read_bytes()
    (tmp_path / 'w').write_bytes(whole.replace(b'\x00\x00\x80\x3f' * 8, b'\x00\x00\x80\x3e' * 8, 1))
    with pytest.raises(UserError, match='the sum of .* is wrong'):
        formats.read(tmp_path / 'w')


@pytest.mark.parametrize(('change', 'why'), [
    (lambda data: data[:-4], 'a tensor of'), (lambda data: data.replace(b'F32', b'F99'), 'numbers of type F99'),
    (lambda data: data.replace(b'"dtype"', b'"dtyp?"'), 'dtype'), (lambda data: data.replace(b'{"', b'{{', 1), 'property name'),
])  # fmt: skip
def test_damaged_safetensors_are_refused(tmp_path, change, why):
    save_file({'features.0.weight': np.zeros((8, 3), np.float32)}, tmp_path / 'w')
    (tmp_path / 'w').write_bytes(change((tmp_path / 'w').read_bytes()))
    with pytest.raises(UserError, match=f'/w: damaged.*{why}'):
        formats.read(tmp_path / 'w')
