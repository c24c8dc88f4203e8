"""Weight files by layer: the released models fit our networks in real Caffe; layers are renamed, joined and split."""

from dataclasses import replace
from math import prod

import numpy as np
import pytest

from pretrained import caffemodel, net_surgery
from prototxt.experiments import NETS
from prototxt.networks import deploy
from prototxt.shapes import param_shapes
from tests.port_files import as_caffe_before_2015
from tests.released_nets import RELEASED
from tests.released_nets import layers as lines_of
from tests.toy_nets import random_weights
from tools.inference.caffe_net import load_net
from tools.support.errors import UserError
from tools.support.wire import bytes_field, head, varint

MARK = np.float32(0.5)  # the first value of every bias, which shows that Caffe took it from the file


def released_shapes(text):
    """Layer -> shapes of weights and bias, computed here from the lines of the released file."""
    shapes, channels = {}, 3
    for line in lines_of(text):
        name, *words = line.split()
        fields = {word[0]: int(word[1:]) for word in words}
        if 'o' not in fields:
            continue
        if 'g' in fields:  # the fixed upsampling: one kernel for each class, no bias
            shapes[name] = [(channels, fields['o'] // fields['g'], fields['k'], fields['k'])]
        else:
            shapes[name] = [(fields['o'], channels, fields['k'], fields['k']), (fields['o'],)]
        channels = fields['o']
    return shapes


def write_sparse(path, shapes):
    """A caffemodel of these shapes: MARK at the start of each bias, and zeros, which take no room on the disk."""
    with path.open('wb') as file:
        for name, blobs in shapes.items():
            parts = []
            for shape in blobs:
                packed = bytes_field(7, bytes_field(1, b''.join(varint(side) for side in shape)))
                before = head(5, 4 * prod(shape))
                parts.append((head(7, len(before) + 4 * prod(shape) + len(packed)) + before, shape, packed))
            title = bytes_field(1, name.encode())
            file.write(head(100, len(title) + sum(len(a) + 4 * prod(s) + len(b) for a, s, b in parts)) + title)
            for before, shape, after in parts:
                file.write(before)
                if len(shape) == 1:
                    file.write(MARK.tobytes())
                file.seek(4 * (prod(shape) - (len(shape) == 1)), 1)
                file.write(after)


@pytest.mark.parametrize('name', RELEASED)
def test_released_models_load_with_nothing_missed_or_left(tmp_path, name):
    """Real Caffe loads each layer of a file with the released names and sizes into our deploy net."""
    path = tmp_path / 'w.caffemodel'
    write_sparse(path, released_shapes(RELEASED[name][1]))
    assert net_surgery.check(name, [path]).endswith('nothing left over')
    net = load_net(deploy(name, size_hw=(380, 380)), [path])
    held = caffemodel.stored(path)
    assert set(net.params) == set(held)
    for layer, blobs in net.params.items():
        assert [blob.data.shape for blob in blobs] == [blob.shape for blob in held[layer]]
        if len(blobs) == 2:
            assert blobs[1].data[0] == MARK and not blobs[1].data[1:].any() and not blobs[0].data.any()


@pytest.mark.parametrize(('layer', 'shapes'), [
    ('ctx_conv3_1', []), ('ctx_conv9_1', [(7, 7, 3, 3), (7,)]), ('ctx_fc1', [(7, 7, 1, 1), (7,)]),
], ids=['missing', 'left over', 'another shape'])  # fmt: skip
def test_what_does_not_fit_is_named(tmp_path, layer, shapes):
    path = random_weights('basic_toy', tmp_path / 'w.caffemodel')
    layers = caffemodel.load(path) | {layer: [np.zeros(shape) for shape in shapes]}
    caffemodel.write(path, {name: held for name, held in layers.items() if held})
    with pytest.raises(UserError, match=layer):
        net_surgery.check('basic_toy', [path])


@pytest.fixture
def voc_names(monkeypatch):
    """A copy of large_toy under the names of the released VOC model."""
    row = NETS['large_toy']
    voc = replace(row, context=replace(row.context, prefix='ct'), front_end=replace(row.front_end, final='fc-final'))
    monkeypatch.setitem(NETS, 'voc_names', voc)


def probabilities(net_name, *paths):
    """The output of real Caffe with the layers of the files."""
    net = load_net(deploy(net_name, size_hw=(396, 412)), paths)
    net.blobs['data'].data[...] = np.random.default_rng(0).normal(0, 50, net.blobs['data'].shape)
    return net.forward()['prob'].copy()


def join(net_name, *paths):
    """Path of the joined file, beside the first."""
    out = paths[0].with_name(f'{net_name}_joined.caffemodel')
    net_surgery.main(['join', net_name, *map(str, paths), '--out', str(out)])
    return out


def split(net_name, path):
    """Paths of the front end and the context module, beside the file."""
    parts = path.with_name('front.caffemodel'), path.with_name('context.caffemodel')
    net_surgery.main(['split', net_name, str(path), '--front', str(parts[0]), '--context', str(parts[1])])
    return parts


def test_names_are_changed_both_ways(tmp_path, voc_names):
    """final and ctx_ become fc-final and ct_, and Caffe computes the same; changed back, the file is the same."""
    path = random_weights('large_toy', tmp_path / 'w.caffemodel')
    voc = join('voc_names', path)
    names = set(caffemodel.stored(voc))
    assert {'fc-final', 'ct_conv1_1', 'ct_fc1', 'ct_final', 'fc6'} <= names and not names & {'final', 'ctx_final'}
    assert np.array_equal(probabilities('voc_names', voc), probabilities('large_toy', path))
    assert join('large_toy', voc).read_bytes() == path.read_bytes()


def test_a_file_is_split_and_joined_to_the_same_bytes(tmp_path, voc_names, capsys):
    """Parts of other names are joined, too."""
    path = random_weights('large_toy', tmp_path / 'w.caffemodel')
    front, context = split('large_toy', path)
    held = caffemodel.load(front)
    assert 'conv1_1' in held and 'final' in held and len(held) == 16
    assert all(name.startswith('ctx_') for name in caffemodel.load(context)) and len(caffemodel.load(context)) == 8
    assert join('large_toy', front, context).read_bytes() == path.read_bytes()
    assert net_surgery.check('voc_names', [join('voc_names', context, front)])
    assert '24 layers' in capsys.readouterr().out


def test_a_front_end_and_a_context_module_of_two_trainings_are_joined(tmp_path):
    """Caffe computes the same from the joined file as from both files."""
    front = random_weights('front_toy', tmp_path / 'own_front.caffemodel')
    _, context = split('basic_toy', random_weights('basic_toy', tmp_path / 'other.caffemodel', seed=1))
    joined = join('basic_toy', front, context)
    assert np.array_equal(probabilities('basic_toy', joined), probabilities('basic_toy', front, context))


def test_old_files_come_out_in_todays_form(tmp_path):
    """Blobs of four numbers, as Caffe wrote them until 2015, get the net's shapes."""
    shapes = param_shapes(deploy('front_toy'))
    layers = {name: [np.full(shape, 0.25) for shape in blobs] for name, blobs in shapes.items()}
    as_caffe_before_2015(layers, tmp_path / 'old.caffemodel')
    found = caffemodel.stored(join('front_toy', tmp_path / 'old.caffemodel'))
    assert {name: [blob.shape for blob in blobs] for name, blobs in found.items()} == shapes


def test_a_join_that_lacks_layers_writes_nothing(tmp_path):
    front = random_weights('front_toy', tmp_path / 'front.caffemodel')
    why = r'no weights for 8 layers: ctx_conv1_1, .*, \.\.\. of basic_toy in .*front\.caffemodel; add the file'
    with pytest.raises(UserError, match=why):
        join('basic_toy', front)
    assert list(tmp_path.iterdir()) == [front]


def test_two_names_of_one_layer_are_refused(tmp_path):
    path = random_weights('front_toy', tmp_path / 'w.caffemodel')
    caffemodel.write(path, caffemodel.load(path) | {'fc-final': [np.zeros((7, 96, 1, 1)), np.zeros(7)]})
    with pytest.raises(UserError, match=r'w\.caffemodel: two layers would be named final, one of them is fc-final'):
        join('front_toy', path)


def test_a_source_is_not_overwritten(tmp_path):
    """Its values are read while the result is written."""
    path = random_weights('front_toy', tmp_path / 'w.caffemodel')
    with pytest.raises(UserError, match='is one of the files to read; write to another file'):
        net_surgery.main(['join', 'front_toy', str(path), '--out', str(path)])


def test_layers_are_shown(tmp_path, capsys):
    net_surgery.main(['show', str(random_weights('front_toy', tmp_path / 'w.caffemodel'))])
    assert 'conv1_1          8x3x3x3  8\n' in capsys.readouterr().out
