"""tools/summarize.py --time: real passes of Caffe, layer by layer, and the mark of layers that wait for memory."""

import re

import pytest
from google.protobuf import text_format

from pretrained.caffemodel import caffe_pb2
from prototxt.experiments import NETS
from prototxt.networks import deploy, training, write
from tools import summarize
from tools.netinfo.setup import layers_of
from tools.netinfo.timing import Seconds, bound_by_memory, bytes_moved, layer_seconds, memory_speed, net_to_time
from tools.support.errors import UserError


def parsed(text):
    return text_format.Parse(text, caffe_pb2().NetParameter())


TWO_LAYERS = """
layer { name: 'in' type: 'Input' top: 'data' input_param { shape { dim: 2 dim: 3 dim: 10 dim: 12 } } }
layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv' convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: 'relu' type: 'ReLU' bottom: 'conv' top: 'conv' }
"""


def test_bytes_of_a_convolution_by_hand():
    """In 2x3x10x12, out 2x4x8x10, weights 4x3x3x3 and 4, columns of 27x80 of each image, written and read: 4 bytes each."""
    _, conv, relu = layers_of(parsed(TWO_LAYERS), 'test')
    assert bytes_moved(conv, {'data': (2, 3, 10, 12)}) == 4 * (720 + 640 + 108 + 4 + 2 * 2 * 27 * 80)
    assert bytes_moved(relu, {'conv': (2, 4, 8, 10)}) == 4 * (640 + 640)


def test_a_layer_is_bound_by_memory_from_half_of_its_time_on():
    """The ReLU's 5120 bytes take 5.12 s at 1000 bytes a second."""
    layers = layers_of(parsed(TWO_LAYERS), 'test')
    for taken, expected in ((10.24, {'relu'}), (10.25, set())):
        assert bound_by_memory(layers, {'relu': Seconds(taken, 0)}, bytes_per_s=1000) == expected


def test_the_parts_are_those_of_a_whole_pass():
    """Each layer has its time, and the costly one of a large convolution and a small one takes more."""
    text = TWO_LAYERS.replace('dim: 10 dim: 12', 'dim: 200 dim: 200') + (
        "layer { name: 'wide' type: 'Convolution' bottom: 'conv' top: 'w' convolution_param { num_output: 256 kernel_size: 5 } }"
    )
    message = parsed(text)
    message.force_backward = True
    found = layer_seconds(message, 'test', 2)
    assert set(found) == {'in', 'conv', 'relu', 'wide'}
    assert found['wide'].forward > found['conv'].forward > 0 and found['wide'].backward > found['conv'].backward > 0


def test_training_needs_no_lmdb():
    """Input layers of the records' shapes stand for the Data layers; the gradients are those of a training."""
    message = training('toy-front', 'nowhere', 404, 2)
    timed = net_to_time(message, layers_of(message, 'train'))
    assert [layer.type for layer in timed.layer if layer.name == 'pair'] == ['Input']
    found = layer_seconds(timed, 'train', 1)
    assert found['conv5_3'].backward > 1e-5


def test_memory_speed_is_that_of_a_memory():
    """Between a slow disk's and a processor cache's."""
    assert 1e8 < memory_speed() < 1e12


@pytest.mark.parametrize('words', [['front_toy', '--input', '404'], ['--stage', 'toy-front', '--input', '404', '--batch', '1']])
def test_the_command_prints_both_passes(words, capsys):
    """Of a network and of a stage: a line a layer, those in place too, with seconds beside multiply-adds."""
    summarize.main([*words, '--time', '1'])
    said = capsys.readouterr().out
    lines = {line.split()[0]: line for line in said.splitlines() if line.strip()}
    assert lines['layer'].endswith('forward s  backward s  bound by')
    assert re.search(r' M .* \d\.\d{4} +\d\.\d{4}', lines['conv5_3'])
    assert re.search(r'ReLU .* \d\.\d{4}', lines['relu1_1'])
    assert re.search(r'time: forward [\d.e-]+ s, backward [\d.e-]+ s', said)


def test_crf_rnn_is_timed(capsys):
    """Its layers are in Python."""
    summarize.main(['front_camvid_fc128_crfrnn', '--input', '380', '--time', '1'])
    assert re.search(r'inference1 .* \d\.\d{4}', capsys.readouterr().out)


def test_a_file_is_timed(tmp_path, capsys):
    """Any prototxt, without a backward pass where Caffe has none."""
    write(parsed(TWO_LAYERS), tmp_path / 'net.prototxt')
    summarize.main([str(tmp_path / 'net.prototxt'), '--time', '1'])
    assert 'time: forward' in capsys.readouterr().out


def test_a_net_that_does_not_fit_is_not_begun(monkeypatch):
    """It would be killed."""
    monkeypatch.setattr(summarize, 'available_bytes', lambda: 5e8)
    with pytest.raises(UserError, match='both passes take about .* GB, 0.50 GB are free; give a smaller --input'):
        summarize.main(['dilation8_camvid', '--time'])


def test_a_gpu_is_not_timed():
    with pytest.raises(UserError, match='--time measures this CPU'):
        summarize.main(['front_toy', '--time', '--gpu'])


def test_deployed_nets_keep_what_they_were():
    """The net to be timed is a copy."""
    message = deploy('front_toy', size_hw=(404, 404))
    before = message.SerializeToString()
    net_to_time(message, layers_of(message, 'test'))
    assert message.SerializeToString() == before and 'front_toy' in NETS
