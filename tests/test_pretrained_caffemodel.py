"""Caffe's weight files: compared with protobuf's own reading and writing, and with real Caffe."""

import subprocess
import sys

import numpy as np
import pytest
from google.protobuf import text_format

from pretrained import caffemodel
from prototxt.networks import deploy
from tests.port_files import as_caffe_before_2015
from tools.support.caffe_import import net_of
from tools.support.errors import UserError
from tools.support.paths import ROOT
from tools.support.wire import bytes_field, head, varint

PB2 = caffemodel.caffe_pb2()
SMALL_NET = """
layer { name: 'data' type: 'Input' top: 'data' input_param { shape { dim: 1 dim: 3 dim: 8 dim: 9 } } }
layer { name: 'one' type: 'Convolution' bottom: 'data' top: 'one' convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: 'relu' type: 'ReLU' bottom: 'one' top: 'one' }
layer { name: 'two' type: 'Convolution' bottom: 'one' top: 'two' convolution_param { num_output: 2 kernel_size: 1 } }
layer { name: 'up' type: 'Deconvolution' bottom: 'two' top: 'up'
        convolution_param {
            num_output: 2 group: 2 bias_term: false kernel_size: 4 stride: 2 weight_filler { type: 'bilinear' } } }
"""


def random_weights():
    """Weights of the convolutions of SMALL_NET."""
    rng = np.random.default_rng(0)
    shapes = {'one': [(4, 3, 3, 3), (4,)], 'two': [(2, 4, 1, 1), (2,)]}
    return {name: [rng.normal(size=shape).astype(np.float32) for shape in pair] for name, pair in shapes.items()}


def small_net():
    return text_format.Parse(SMALL_NET, PB2.NetParameter())


def loaded_by_caffe(path):
    """SMALL_NET in real Caffe, with the weights of a file."""
    net = net_of(small_net())
    net.copy_from(str(path))
    return net


def by_protobuf(weights, name):
    """The file's bytes as protobuf writes them."""
    message = PB2.NetParameter(name=name)
    for layer_name, arrays in weights.items():
        layer = message.layer.add(name=layer_name)
        for array in arrays:
            layer.blobs.add(data=array.ravel().tolist()).shape.dim.extend(array.shape)
    return message.SerializeToString()


def assert_equal(found, expected):
    assert list(found) == list(expected)
    for name in expected:
        assert [blob.tolist() for blob in found[name]] == [blob.tolist() for blob in expected[name]]


def test_written_bytes_are_protobufs_own(tmp_path):
    """Also for a long name and for sizes above 127 bytes, which take two bytes as a varint."""
    weights = {**random_weights(), 'x' * 200: [np.ones((2, 3, 1, 5), np.float32)], 'none': []}
    caffemodel.write(tmp_path / 'w.caffemodel', weights, 'a net')
    assert (tmp_path / 'w.caffemodel').read_bytes() == by_protobuf(weights, 'a net')


def test_load_returns_what_was_written(tmp_path):
    """float64 and strided arrays arrive as float32 in C order; layers without blobs are left out."""
    weights = random_weights()
    given = {name: [blob.astype(np.float64).T.copy().T for blob in blobs] for name, blobs in weights.items()}
    caffemodel.write(tmp_path / 'w.caffemodel', {**given, 'relu': []})
    found = caffemodel.load(tmp_path / 'w.caffemodel')
    assert_equal(found, weights)
    assert found['one'][0].dtype == np.float32 and found['one'][0].flags.c_contiguous


def test_caffe_loads_our_file_and_we_load_caffes(tmp_path):
    """Layers in Caffe's own file also carry their type and settings."""
    weights = random_weights()
    caffemodel.write(tmp_path / 'w.caffemodel', weights)
    net = loaded_by_caffe(tmp_path / 'w.caffemodel')
    assert_equal({name: [blob.data for blob in net.params[name]] for name in weights}, weights)
    net.save(str(tmp_path / 'saved.caffemodel'))
    found = caffemodel.load(tmp_path / 'saved.caffemodel')
    assert found.pop('up')[0].shape == (2, 1, 4, 4)
    assert_equal(found, weights)


def test_a_file_from_before_2015(tmp_path):
    """Such as VGG_ILSVRC_16_layers.caffemodel: a bias has the shape (1, 1, 1, n). check() and real Caffe take it for (n,)."""
    weights, path = random_weights(), tmp_path / 'old.caffemodel'
    as_caffe_before_2015(weights, path)
    found = caffemodel.load(path)
    assert [blob.shape for blob in found['one']] == [(4, 3, 3, 3), (1, 1, 1, 4)]
    assert_equal({name: [found[name][0], found[name][1].reshape(-1)] for name in found}, weights)
    caffemodel.check(small_net(), [path])
    assert loaded_by_caffe(path).params['one'][1].data.tolist() == weights['one'][1].tolist()


@pytest.mark.parametrize('values', [
    head(5, 8) + np.float32([1, 2]).tobytes() + head(5, 4) + np.float32([3]).tobytes(),  # packed, in two pieces
    b''.join(varint(5 << 3 | 5) + np.float32(v).tobytes() for v in (1, 2, 3)),  # one field a float
    head(8, 24) + np.float64([1, 2, 3]).tobytes(),  # double precision
])  # fmt: skip
@pytest.mark.parametrize('dims', [bytes_field(1, b'\x03'), varint(1 << 3) + b'\x03'])
def test_unusual_encodings(tmp_path, values, dims):
    """protobuf reads three values from each encoding, and so do we."""
    blob = values + bytes_field(7, dims)
    data = bytes_field(100, bytes_field(1, b'one') + bytes_field(7, blob))
    (proto,) = PB2.NetParameter.FromString(data).layer[0].blobs
    assert [*proto.data, *proto.double_data] == [1, 2, 3] and list(proto.shape.dim) == [3]
    (tmp_path / 'w.caffemodel').write_bytes(data)
    assert caffemodel.load(tmp_path / 'w.caffemodel')['one'][0].tolist() == [1, 2, 3]


@pytest.mark.parametrize('kept', [0.2, 0.5, 0.9, 0.999])
def test_a_cut_off_file_is_refused(tmp_path, kept):
    path = tmp_path / 'w.caffemodel'
    caffemodel.write(path, random_weights(), 'a net')
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(UserError, match=r'w\.caffemodel: cut off .* again'):
        caffemodel.load(path)


FIRST_FORMAT = PB2.NetParameter(layers=[PB2.V1LayerParameter(layer=PB2.V0LayerParameter(name='a'))])
SHORT_BLOB = PB2.BlobProto(data=[1], shape=PB2.BlobShape(dim=[2]))


@pytest.mark.parametrize(('data', 'why'), [
    (b'', 'empty'),
    (b'<!DOCTYPE html><html><title>404</title></html>', 'not a caffemodel'),
    (b'\x89HDF\r\n\x1a\n' + bytes(64), 'not a caffemodel'),
    (b'PK\x03\x04' + bytes(64), 'not a caffemodel'),
    (PB2.SolverState(iter=20, learned_net='x', current_step=0).SerializeToString(), 'solverstate'),
    (PB2.NetParameter(name='only a name').SerializeToString(), 'no layers'),
    (FIRST_FORMAT.SerializeToString(), 'upgrade_net_proto'),
    (PB2.NetParameter(layer=[PB2.LayerParameter(blobs=[SHORT_BLOB])]).SerializeToString(), r'shape \(2,\) with 1 values'),
])  # fmt: skip
def test_other_files_are_refused(tmp_path, data, why):
    """Web pages, HDF5, zip archives, solver states and damaged blobs."""
    (tmp_path / 'w.caffemodel').write_bytes(data)
    with pytest.raises(UserError, match=rf'w\.caffemodel: .*{why}'):
        caffemodel.load(tmp_path / 'w.caffemodel')


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / 'none.caffemodel', tmp_path):
        with pytest.raises(UserError, match=str(path)):
            caffemodel.load(path)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    """It leaves no temporary file either."""
    path = tmp_path / 'w.caffemodel'
    path.write_bytes(b'old')
    with pytest.raises(ValueError, match='could not convert'):
        caffemodel.write(path, {'one': [np.array(['text'])]})
    assert path.read_bytes() == b'old' and list(tmp_path.iterdir()) == [path]


def test_more_than_two_gib_is_refused(tmp_path):
    """Protocol buffers cannot hold more. All layers share one array to save memory."""
    block = np.zeros(2**24, np.float32)  # 64 MiB
    with pytest.raises(UserError, match='at most 2,147,483,647'):
        caffemodel.write(tmp_path / 'w.caffemodel', {f'layer{i}': [block] for i in range(32)})
    assert not any(tmp_path.iterdir())


def test_check_passes_weights_that_cover_the_net(tmp_path):
    """In one file or two, or with fresh layers; fixed bilinear upsampling needs no file."""
    weights = random_weights()
    for name in weights:
        caffemodel.write(tmp_path / f'{name}.caffemodel', {name: weights[name]})
    one, two = tmp_path / 'one.caffemodel', tmp_path / 'two.caffemodel'
    caffemodel.check(small_net(), [one, two])
    caffemodel.check(small_net(), [str(one)], fresh=('two',))
    caffemodel.check(small_net(), [], fresh=('one', 'two'))


ONE = random_weights()['one']
MISSHAPEN = {'one': [np.zeros((4, 3, 3, 1)), np.zeros(4)], 'two': [np.zeros((2, 4, 1, 1)), np.zeros(3)]}


@pytest.mark.parametrize(('held', 'fresh', 'said'), [
    ({'one': ONE}, (), ['no weights for two in ', '/w.caffemodel; add a --weights file']),
    (None, (), ['no weights for one, two in no file']),
    ({'one': ONE[:1]}, ['two'], ['layer one has 1 blobs, the net has 2']),
    (MISSHAPEN, ['two'], [
        '/w.caffemodel: layer one has a blob of shape (4, 3, 3, 1), the net has (4, 3, 3, 3); '
        'layer two has a blob of shape (3,), the net has (2,); give weights of this net, or name the net that these are of'
    ]),  # Caffe would abort, even though the layer is fresh
    ({'fc8': ONE}, ['one', 'two'], ['/w.caffemodel: none of its layers (fc8) is in the net (one, two, up)']),
    (None, ['one', 'two', 'final'], ['no layer final in the net']),
])  # fmt: skip
def test_check_names_what_does_not_fit(tmp_path, held, fresh, said):
    path = tmp_path / 'w.caffemodel'
    if held:
        caffemodel.write(path, held)
    with pytest.raises(UserError) as caught:
        caffemodel.check(small_net(), [path] if held else [], fresh=fresh)
    assert all(part in str(caught.value) for part in said)


def test_check_shortens_a_long_list_of_layers(tmp_path):
    """A file of another network leaves all layers without weights."""
    caffemodel.write(tmp_path / 'w.caffemodel', random_weights())
    said = 'no weights for 15 layers: conv1_1, conv1_2, conv2_1, conv2_2, ... in .*w.caffemodel; add'
    with pytest.raises(UserError, match=said):
        caffemodel.check(deploy('front_camvid'), [tmp_path / 'w.caffemodel'], fresh=('final',))


def test_a_message_has_three_faults_at_most():
    """Wrong weights fail in nearly every layer."""
    faults = [f'fault {number}' for number in range(32)]
    assert caffemodel.first_faults(faults) == 'fault 0; fault 1; fault 2, and 29 more'
    assert caffemodel.first_faults(faults[:3]) == 'fault 0; fault 1; fault 2'


CLASSES = 'from pretrained.caffemodel import caffe_pb2; net = caffe_pb2().NetParameter();'
PACKAGE = 'from tools.support.caffe_import import import_caffe; caffe = import_caffe();'


@pytest.mark.parametrize('imports', [CLASSES + "import sys; assert 'caffe' not in sys.modules;" + PACKAGE, PACKAGE + CLASSES])
def test_the_classes_come_before_or_after_the_package(imports):
    """caffe_pb2() does not import the package caffe. The package, imported before or after, has the same classes."""
    code = (
        f'{imports} import prototxt.solver; from caffe.proto import caffe_pb2 as full;'
        'assert type(net) is full.NetParameter is caffe.proto.caffe_pb2.NetParameter; caffe.NetSpec().to_proto()'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
