"""Weight files against protobuf's own reading and writing, and against real Caffe."""

import subprocess
import sys

import numpy as np
import pytest

from pretrained import caffemodel
from prototxt.networks import deploy
from tools.support.caffe_import import import_caffe
from tools.support.errors import UserError
from tools.support.paths import ROOT
from tools.support.wire import bytes_field, head, varint

caffe = import_caffe()
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
    """SMALL_NET as a NetParameter."""
    from google.protobuf import text_format

    return text_format.Parse(SMALL_NET, PB2.NetParameter())


def loaded_by_caffe(tmp_path, path):
    """A real Caffe net of SMALL_NET with the weights of a file."""
    (tmp_path / 'net.prototxt').write_text(SMALL_NET)
    return caffe.Net(str(tmp_path / 'net.prototxt'), str(path), caffe.TEST)


def by_protobuf(weights, name):
    """The file's bytes as protobuf writes them."""
    message = PB2.NetParameter(name=name)
    for layer_name, arrays in weights.items():
        layer = message.layer.add(name=layer_name)
        for array in arrays:
            layer.blobs.add(data=array.ravel().tolist()).shape.dim.extend(array.shape)
    return message.SerializeToString()


def v1_message(weights, name='old'):
    """A NetParameter as Caffe wrote them to 2015: `layers`, blobs with num, channels, height, width."""
    message = PB2.NetParameter(name=name)
    message.layers.add(name='data', type=PB2.V1LayerParameter.DUMMY_DATA)
    for layer_name, arrays in weights.items():
        layer = message.layers.add(name=layer_name, type=PB2.V1LayerParameter.CONVOLUTION)
        for array in arrays:
            num, channels, height, width = (1,) * (4 - array.ndim) + array.shape
            layer.blobs.add(data=array.ravel().tolist(), num=num, channels=channels, height=height, width=width)
    return message


def assert_equal(found, expected):
    assert list(found) == list(expected)
    for name in expected:
        assert [blob.tolist() for blob in found[name]] == [blob.tolist() for blob in expected[name]]


def test_written_bytes_are_those_of_protobuf(tmp_path):
    """Long names and sizes of more than 127 bytes included, whose lengths take two bytes."""
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


def test_caffe_loads_the_written_file(tmp_path):
    """Every blob arrives in real Caffe."""
    weights = random_weights()
    caffemodel.write(tmp_path / 'w.caffemodel', weights)
    net = loaded_by_caffe(tmp_path, tmp_path / 'w.caffemodel')
    assert_equal({name: [blob.data.copy() for blob in net.params[name]] for name in weights}, weights)


def test_what_caffe_saves_is_loaded(tmp_path):
    """The round trip the other way: Caffe's own file, whose layers carry their type and settings."""
    caffemodel.write(tmp_path / 'w.caffemodel', random_weights())
    loaded_by_caffe(tmp_path, tmp_path / 'w.caffemodel').save(str(tmp_path / 'saved.caffemodel'))
    found = caffemodel.load(tmp_path / 'saved.caffemodel')
    assert found.pop('up')[0].shape == (2, 1, 4, 4)
    assert_equal(found, random_weights())


def test_layers_of_before_2015_are_read(tmp_path):
    """As in VGG_ILSVRC_16_layers.caffemodel: a bias comes as (1, 1, 1, n)."""
    weights = random_weights()
    (tmp_path / 'old.caffemodel').write_bytes(v1_message(weights).SerializeToString())
    found = caffemodel.load(tmp_path / 'old.caffemodel')
    assert [blob.shape for blob in found['one']] == [(4, 3, 3, 3), (1, 1, 1, 4)]
    assert_equal({name: [found[name][0], found[name][1].reshape(-1)] for name in found}, weights)


def test_old_shapes_fit_where_caffe_takes_them(tmp_path):
    """check() passes a (1, 1, 1, 4) bias for (4,), and real Caffe loads it."""
    weights = random_weights()
    path = tmp_path / 'old.caffemodel'
    path.write_bytes(v1_message(weights).SerializeToString())
    caffemodel.check(small_net(), [path])
    assert loaded_by_caffe(tmp_path, path).params['one'][1].data.tolist() == weights['one'][1].tolist()


@pytest.mark.parametrize('values', [
    head(5, 8) + np.float32([1, 2]).tobytes() + head(5, 4) + np.float32([3]).tobytes(),  # packed, in two pieces
    b''.join(varint(5 << 3 | 5) + np.float32(v).tobytes() for v in (1, 2, 3)),  # one field a float
    head(8, 24) + np.float64([1, 2, 3]).tobytes(),  # double precision
])  # fmt: skip
@pytest.mark.parametrize('dims', [bytes_field(1, b'\x03'), varint(1 << 3) + b'\x03'])
def test_unusual_encodings(tmp_path, values, dims):
    """Whatever protobuf reads as three values is read as the same three values."""
    blob = values + bytes_field(7, dims)
    data = bytes_field(100, bytes_field(1, b'one') + bytes_field(7, blob))
    (proto,) = PB2.NetParameter.FromString(data).layer[0].blobs
    assert [*proto.data, *proto.double_data] == [1, 2, 3] and list(proto.shape.dim) == [3]
    (tmp_path / 'w.caffemodel').write_bytes(data)
    assert caffemodel.load(tmp_path / 'w.caffemodel')['one'][0].tolist() == [1, 2, 3]


@pytest.mark.parametrize('kept', [0.2, 0.5, 0.9, 0.999])
def test_a_cut_off_file_is_refused(tmp_path, kept):
    """Wherever the cut is, the message names the file."""
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
    """Web pages, HDF5, zip, solver states: one message with the file's name."""
    (tmp_path / 'w.caffemodel').write_bytes(data)
    with pytest.raises(UserError, match=rf'w\.caffemodel: .*{why}'):
        caffemodel.load(tmp_path / 'w.caffemodel')


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    """Both are errors of the user, not tracebacks."""
    for path in (tmp_path / 'none.caffemodel', tmp_path):
        with pytest.raises(UserError, match=str(path)):
            caffemodel.load(path)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    """And no temporary file."""
    path = tmp_path / 'w.caffemodel'
    path.write_bytes(b'old')
    with pytest.raises(ValueError, match='could not convert'):
        caffemodel.write(path, {'one': [np.array(['text'])]})
    assert path.read_bytes() == b'old' and list(tmp_path.iterdir()) == [path]


def test_more_than_two_gib_is_refused(tmp_path):
    """Protocol buffers end there. One array is given many times, so that little memory is taken."""
    block = np.zeros(2**24, np.float32)  # 64 MiB
    with pytest.raises(UserError, match='at most 2,147,483,647'):
        caffemodel.write(tmp_path / 'w.caffemodel', {f'layer{i}': [block] for i in range(32)})
    assert not any(tmp_path.iterdir())


def test_more_than_512_mib_goes_through_caffe(tmp_path):
    """The limit of the released Caffe: a file of 2^27 values and some, in and out of real Caffe, first and last value kept."""
    out, into = 4096, 32800
    text = f"""
    layer {{ name: 'data' type: 'Input' top: 'data' input_param {{ shape {{ dim: 1 dim: {into} }} }} }}
    layer {{ name: 'fc' type: 'InnerProduct' bottom: 'data' top: 'fc' inner_product_param {{ num_output: {out} }} }}"""
    (tmp_path / 'net.prototxt').write_text(text)
    big = np.zeros((out, into), np.float32)
    big[0, 0], big[-1, -1] = 3, 5
    path = tmp_path / 'big.caffemodel'
    caffemodel.write(path, {'fc': [big, np.zeros(out)]})
    assert path.stat().st_size > 2**29
    net = caffe.Net(str(tmp_path / 'net.prototxt'), str(path), caffe.TEST)
    held = net.params['fc'][0].data
    assert (held[0, 0], held[-1, -1], np.count_nonzero(held)) == (3, 5, 2)
    del net, held
    assert np.array_equal(caffemodel.load(path)['fc'][0], big)
    path.unlink()


def test_check_passes_what_covers_the_net(tmp_path):
    """In one file, in two, or with a layer fresh; bilinear upsampling needs no file."""
    weights = random_weights()
    for name in weights:
        caffemodel.write(tmp_path / f'{name}.caffemodel', {name: weights[name]})
    one, two = tmp_path / 'one.caffemodel', tmp_path / 'two.caffemodel'
    caffemodel.check(small_net(), [one, two])
    caffemodel.check(small_net(), [str(one)], fresh=('two',))
    caffemodel.check(small_net(), [], fresh=('one', 'two'))


def test_check_names_layers_without_weights(tmp_path):
    """Each by name, with the files that were given."""
    caffemodel.write(tmp_path / 'one.caffemodel', {'one': random_weights()['one']})
    with pytest.raises(UserError, match=r'no weights for two in .*one\.caffemodel'):
        caffemodel.check(small_net(), [tmp_path / 'one.caffemodel'])
    with pytest.raises(UserError, match='no weights for one, two in no file'):
        caffemodel.check(small_net(), [])


def test_check_counts_layers_that_are_many(tmp_path):
    """A file of other names leaves all of a network without a start: one line that can be read, not a list of 15 names."""
    weights = {'one': np.zeros((1, 1)), 'two': np.zeros((1, 1))}
    caffemodel.write(tmp_path / 'w.caffemodel', {name: [blob] for name, blob in weights.items()})
    with pytest.raises(
        UserError, match='no weights for 15 layers: conv1_1, conv1_2, conv2_1, conv2_2, ... in .*w.caffemodel; add'
    ):
        caffemodel.check(deploy('front_camvid'), [tmp_path / 'w.caffemodel'], fresh=('final',))


def test_check_names_shapes_that_do_not_fit(tmp_path):
    """File, layer and both shapes, for every blob at once, even for a layer meant to be fresh: Caffe would abort on it."""
    weights = {'one': [np.zeros((4, 3, 3, 1)), np.zeros(4)], 'two': [np.zeros((2, 4, 1, 1)), np.zeros(3)]}
    caffemodel.write(tmp_path / 'w.caffemodel', weights)
    with pytest.raises(UserError) as caught:
        caffemodel.check(small_net(), [tmp_path / 'w.caffemodel'], fresh=('two',))
    assert str(caught.value) == '; '.join([
        f'{tmp_path}/w.caffemodel: layer one has a blob of shape (4, 3, 3, 1), the net has (4, 3, 3, 3)',
        'layer two has a blob of shape (3,), the net has (2,)',
        'give weights of this net, or name the net that these are of',
    ])  # fmt: skip


def test_wrong_weights_are_not_a_page_of_names():
    """Nearly every layer of theirs has another shape."""
    faults = [f'fault {number}' for number in range(32)]
    assert caffemodel.few(faults) == 'fault 0; fault 1; fault 2, and 29 more'
    assert caffemodel.few(faults[:3]) == 'fault 0; fault 1; fault 2'


def test_check_counts_blobs(tmp_path):
    """A layer without its bias is refused."""
    caffemodel.write(tmp_path / 'w.caffemodel', {'one': random_weights()['one'][:1]})
    with pytest.raises(UserError, match='layer one has 1 blobs, the net has 2'):
        caffemodel.check(small_net(), [tmp_path / 'w.caffemodel'], fresh=('two',))


def test_check_refuses_a_file_of_another_net(tmp_path):
    """Caffe would ignore it without a word."""
    caffemodel.write(tmp_path / 'other.caffemodel', {'fc8': [np.zeros((1, 1))]})
    with pytest.raises(UserError, match=r'other\.caffemodel: none of its layers \(fc8\) is in the net \(one, two, up\)'):
        caffemodel.check(small_net(), [tmp_path / 'other.caffemodel'], fresh=('one', 'two'))


def test_check_refuses_an_unknown_fresh_layer():
    """A misspelt name must not pass."""
    with pytest.raises(UserError, match='no layer final in the net'):
        caffemodel.check(small_net(), [], fresh=('one', 'two', 'final'))


CLASSES = 'from pretrained.caffemodel import caffe_pb2; net = caffe_pb2().NetParameter();'
PACKAGE = 'from tools.support.caffe_import import import_caffe; caffe = import_caffe();'


@pytest.mark.parametrize('imports', [CLASSES + "import sys; assert 'caffe' not in sys.modules;" + PACKAGE, PACKAGE + CLASSES])
def test_the_classes_come_before_or_after_the_package(imports):
    """caffe_pb2() alone does not import caffe; the package has the same classes, in every way of naming them."""
    code = (
        f'{imports} import prototxt.solver; from caffe.proto import caffe_pb2 as full;'
        'assert type(net) is full.NetParameter is caffe.proto.caffe_pb2.NetParameter; caffe.NetSpec().to_proto()'
    )
    done = subprocess.run([sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
