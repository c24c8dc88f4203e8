"""Weight files by layer: the released models' names and sizes against our networks in real Caffe; renaming and parts."""

from math import prod

import numpy as np
import pytest

from pretrained import caffemodel, net_surgery
from prototxt.experiments import NETS
from prototxt.networks import deploy, write
from prototxt.shapes import param_shapes
from tests.released_nets import RELEASED
from tests.released_nets import layers as lines_of
from tests.toy_nets import random_weights
from tools.inference.caffe_net import load_net
from tools.support.caffe_import import import_caffe
from tools.support.errors import UserError
from tools.support.wire import bytes_field, head, varint

caffe = import_caffe()
MARK = np.float32(0.5)  # every bias's first value, so that what Caffe took can be told from what it did not


def released_shapes(text):
    """Layer -> shapes of weights and bias, worked out here from the released file's own lines."""
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


def sparse_caffemodel(path, shapes):
    """A caffemodel of these shapes: zeros, which take no room on disk, but for the first value of each bias."""

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
    return path


@pytest.fixture(params=RELEASED)
def released(request, tmp_path):
    """(network, file of the released model's names and full sizes)."""
    shapes = released_shapes(RELEASED[request.param][1])
    return request.param, sparse_caffemodel(tmp_path / f'{request.param}.caffemodel', shapes)


def test_released_models_load_with_nothing_missed_or_left(released):
    """Into our deploy net at full size, by real Caffe; each bias comes from the file, and each layer of the file is taken."""
    name, path = released
    assert net_surgery.check(name, [path]).endswith('nothing left over')
    net = load_net(deploy(name, size_hw=(380, 380)), [path])
    held = caffemodel.stored(path)
    assert set(net.params) == set(held)
    for layer, blobs in net.params.items():
        assert [blob.data.shape for blob in blobs] == [blob.shape for blob in held[layer]]
        if len(blobs) == 2:
            assert blobs[1].data[0] == MARK and not blobs[1].data[1:].any() and not blobs[0].data.any()


@pytest.mark.parametrize('change', ['missing', 'left over', 'misshapen'])
def test_what_does_not_fit_is_named(tmp_path, change):
    """One layer less, more, or of other size."""
    path = random_weights('basic_toy', tmp_path / 'w.caffemodel')
    held = {name: [blob.array() for blob in blobs] for name, blobs in caffemodel.stored(path).items()}
    if change == 'missing':
        del held['ctx_conv3_1']
    elif change == 'left over':
        held['ctx_conv9_1'] = [np.zeros((7, 7, 3, 3)), np.zeros(7)]
    else:
        held['ctx_fc1'][0] = np.zeros((7, 7, 1, 1))
    caffemodel.write(path, held)
    with pytest.raises(UserError, match={'missing': 'ctx_conv3_1', 'left over': 'ctx_conv9_1', 'misshapen': 'ctx_fc1'}[change]):
        net_surgery.check('basic_toy', [path])


@pytest.fixture
def voc_names(monkeypatch):
    """A copy of a small network under the names of the released VOC model."""
    from dataclasses import replace

    row = NETS['large_toy']
    voc = replace(row, context=replace(row.context, prefix='ct'), front_end=replace(row.front_end, final='fc-final'))
    monkeypatch.setitem(NETS, 'voc_names', voc)


def arrays(path):
    return {name: [blob.array() for blob in blobs] for name, blobs in caffemodel.stored(path).items()}


def probabilities(net_name, path):
    """What real Caffe computes with a file."""
    net = load_net(deploy(net_name, size_hw=(396, 412)), [path])
    net.blobs['data'].data[...] = np.random.default_rng(0).normal(0, 50, net.blobs['data'].shape)
    return net.forward()['prob'].copy()


def test_names_are_changed_both_ways(tmp_path, voc_names):
    """final and ctx_ become fc-final and ct_, Caffe computes the same from them, and back again they are the same file."""
    path = random_weights('large_toy', tmp_path / 'w.caffemodel')
    net_surgery.main(['join', 'voc_names', str(path), '--out', str(tmp_path / 'voc.caffemodel')])
    net_surgery.main(['join', 'large_toy', str(tmp_path / 'voc.caffemodel'), '--out', str(tmp_path / 'back.caffemodel')])
    names = set(caffemodel.stored(tmp_path / 'voc.caffemodel'))
    assert {'fc-final', 'ct_conv1_1', 'ct_fc1', 'ct_final', 'fc6'} <= names and not names & {'final', 'ctx_final'}
    assert np.array_equal(probabilities('voc_names', tmp_path / 'voc.caffemodel'), probabilities('large_toy', path))
    assert (tmp_path / 'back.caffemodel').read_bytes() == path.read_bytes()


def test_parts_and_whole(tmp_path, voc_names, capsys):
    """A file is taken apart and put together again to the same bytes, also from parts of other names."""
    path = random_weights('large_toy', tmp_path / 'w.caffemodel')
    parts = [tmp_path / 'front.caffemodel', tmp_path / 'context.caffemodel']
    net_surgery.main(['split', 'large_toy', str(path), '--front', str(parts[0]), '--context', str(parts[1])])
    assert 'conv1_1' in arrays(parts[0]) and 'final' in arrays(parts[0]) and len(arrays(parts[0])) == 16
    assert all(name.startswith('ctx_') for name in arrays(parts[1])) and len(arrays(parts[1])) == 8
    net_surgery.main(['join', 'large_toy', *map(str, parts), '--out', str(tmp_path / 'joint.caffemodel')])
    assert (tmp_path / 'joint.caffemodel').read_bytes() == path.read_bytes()
    net_surgery.main(['join', 'voc_names', *map(str, reversed(parts)), '--out', str(tmp_path / 'voc.caffemodel')])
    assert net_surgery.check('voc_names', [tmp_path / 'voc.caffemodel'])
    assert '24 layers' in capsys.readouterr().out


def test_a_front_end_and_a_context_module_of_their_own_trainings(tmp_path):
    """Joined, they compute what Caffe computes when it is given both files."""
    front, other = random_weights('front_toy', tmp_path / 'front.caffemodel'), random_weights('basic_toy', tmp_path / 'b', seed=1)
    _, context = net_surgery.split('basic_toy', other)
    net_surgery.write(tmp_path / 'context.caffemodel', context, 'c', [other])
    net_surgery.main(
        ['join', 'basic_toy', str(front), str(tmp_path / 'context.caffemodel'), '--out', str(tmp_path / 'joint.caffemodel')]
    )
    write(deploy('basic_toy', size_hw=(396, 412)), tmp_path / 'net.prototxt')
    net = caffe.Net(str(tmp_path / 'net.prototxt'), caffe.TEST)
    for path in (front, tmp_path / 'context.caffemodel'):
        net.copy_from(str(path))
    net.blobs['data'].data[...] = np.random.default_rng(0).normal(0, 50, net.blobs['data'].shape)
    assert np.array_equal(probabilities('basic_toy', tmp_path / 'joint.caffemodel'), net.forward()['prob'])


def test_old_files_come_out_in_todays_form(tmp_path):
    """Blobs of four numbers, a bias as (1, 1, 1, n), as Caffe wrote them to 2015; real Caffe loads the result."""
    pb2 = caffemodel.caffe_pb2()
    message = pb2.NetParameter()
    for name, shapes in param_shapes(deploy('front_toy')).items():
        layer = message.layers.add(name=name)
        for shape in shapes:
            num, channels, height, width = (1,) * (4 - len(shape)) + tuple(shape)
            layer.blobs.add(data=[0.25] * prod(shape), num=num, channels=channels, height=height, width=width)
    (tmp_path / 'old.caffemodel').write_bytes(message.SerializeToString())
    net_surgery.main(['join', 'front_toy', str(tmp_path / 'old.caffemodel'), '--out', str(tmp_path / 'new.caffemodel')])
    found = {name: [blob.shape for blob in blobs] for name, blobs in caffemodel.stored(tmp_path / 'new.caffemodel').items()}
    assert found == param_shapes(deploy('front_toy'))


def test_a_join_that_lacks_layers_writes_nothing(tmp_path):
    front = random_weights('front_toy', tmp_path / 'front.caffemodel')
    why = r'no weights for 8 layers: ctx_conv1_1, .*, \.\.\. of basic_toy in .*front\.caffemodel; add the file'
    with pytest.raises(UserError, match=why):
        net_surgery.main(['join', 'basic_toy', str(front), '--out', str(tmp_path / 'out.caffemodel')])
    assert not (tmp_path / 'out.caffemodel').exists()


def test_two_names_of_one_layer_are_refused(tmp_path):
    path = random_weights('front_toy', tmp_path / 'w.caffemodel')
    caffemodel.write(path, arrays(path) | {'fc-final': [np.zeros((7, 96, 1, 1)), np.zeros(7)]})
    with pytest.raises(UserError, match=r'w\.caffemodel: two layers would be named final, one of them is fc-final'):
        net_surgery.main(['join', 'front_toy', str(path), '--out', str(tmp_path / 'out')])


def test_the_file_that_is_read_is_not_written(tmp_path):
    """Its values are read while the result is written."""
    path = random_weights('front_toy', tmp_path / 'w.caffemodel')
    with pytest.raises(UserError, match='is read from; write to another file'):
        net_surgery.main(['join', 'front_toy', str(path), '--out', str(path)])


def test_layers_are_shown(tmp_path, capsys):
    net_surgery.main(['show', str(random_weights('front_toy', tmp_path / 'w.caffemodel'))])
    assert 'conv1_1          8x3x3x3  8\n' in capsys.readouterr().out
