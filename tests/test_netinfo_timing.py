"""tools/summarize.py --time: seconds of each layer in real passes of Caffe, and the mark of layers that wait for memory."""

import re

import pytest

from prototxt.networks import deploy
from tests.narrow_nets import parsed
from tools import summarize
from tools.netinfo.setup import layers_of
from tools.netinfo.timing import Seconds, bound_by_memory, bytes_moved, layer_seconds, memory_speed, net_to_time
from tools.support.errors import UserError

TWO_LAYERS = """
layer { name: 'in' type: 'Input' top: 'data' input_param { shape { dim: 2 dim: 3 dim: 10 dim: 12 } } }
layer { name: 'conv' type: 'Convolution' bottom: 'data' top: 'conv' convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: 'relu' type: 'ReLU' bottom: 'conv' top: 'conv' }
"""


def test_bytes_of_a_convolution_by_hand():
    """In 2x3x10x12, out 2x4x8x10, weights 4x3x3x3 and 4; columns 27x80 of each image, written and read; 4 bytes each."""
    _, conv, relu = layers_of(parsed(TWO_LAYERS), 'test')
    assert bytes_moved(conv, {'data': (2, 3, 10, 12)}) == 4 * (720 + 640 + 108 + 4 + 2 * 2 * 27 * 80)
    assert bytes_moved(relu, {'conv': (2, 4, 8, 10)}) == 4 * (640 + 640)


def test_a_layer_that_moves_data_half_of_its_time_is_bound_by_memory():
    """The ReLU's 5120 bytes take 5.12 s at 1000 bytes per second."""
    layers = layers_of(parsed(TWO_LAYERS), 'test')
    for taken, expected in ((10.24, {'relu'}), (10.25, set())):
        assert bound_by_memory(layers, {'relu': Seconds(taken, 0)}, bytes_per_s=1000) == expected


def test_each_layer_has_its_times():
    """Each layer has its times, and the larger convolution takes longer."""
    text = TWO_LAYERS.replace('dim: 10 dim: 12', 'dim: 200 dim: 200') + (
        "layer { name: 'wide' type: 'Convolution' bottom: 'conv' top: 'w' convolution_param { num_output: 256 kernel_size: 5 } }"
    )
    message = parsed(text)
    message.force_backward = True
    found = layer_seconds(message, 'test', 2)
    assert set(found) == {'in', 'conv', 'relu', 'wide'}
    assert found['wide'].forward > found['conv'].forward > 0 and found['wide'].backward > found['conv'].backward > 0


def test_memory_speed_is_that_of_a_memory():
    """It lies between a slow disk's speed and a cache's."""
    assert 1e8 < memory_speed() < 1e12


@pytest.mark.parametrize('words', [['front_toy', '--input', '404'], ['--stage', 'toy-front', '--input', '404', '--batch', '1']])
def test_the_command_prints_both_passes(words, capsys):
    """Each layer of a network, or of a stage without its LMDB, has a line with its seconds, layers in place too."""
    summarize.main([*words, '--time', '1'])
    said = capsys.readouterr().out
    lines = {line.split()[0]: line for line in said.splitlines() if line.strip()}
    assert lines['layer'].endswith('forward s  backward s  bound by')
    assert re.search(r' M .* \d\.\d{4} +\d\.\d{4}', lines['conv5_3'])
    assert re.search(r'ReLU .* \d\.\d{4}', lines['relu1_1'])
    assert re.search(r'time: forward [\d.e-]+ s, backward [\d.e-]+ s', said)


def test_crf_rnn_is_timed(capsys):
    """A layer in Python has its seconds too."""
    summarize.main(['front_camvid_fc128_crfrnn', '--input', '380', '--time', '1'])
    assert re.search(r'inference1 .* \d\.\d{4}', capsys.readouterr().out)


def test_a_file_is_timed(tmp_path, capsys):
    """Any prototxt will do."""
    (tmp_path / 'net.prototxt').write_text(TWO_LAYERS)
    summarize.main([str(tmp_path / 'net.prototxt'), '--time', '1'])
    assert 'time: forward' in capsys.readouterr().out


@pytest.mark.parametrize(
    ('words', 'message'),
    [
        (['dilation8_camvid'], 'both passes take about .* GB, 0.50 GB are free; give a smaller --input'),
        (['front_toy', '--gpu'], '--time measures this CPU'),
    ],
    ids=['too large for the memory', 'a GPU'],
)
def test_what_cannot_be_timed_is_refused(words, message, monkeypatch):
    """Nothing runs that the system would kill, or that is not on the CPU."""
    monkeypatch.setattr(summarize, 'available_bytes', lambda: 5e8)
    with pytest.raises(UserError, match=message):
        summarize.main([*words, '--time'])


def test_the_net_to_time_is_a_copy():
    """The deploy net stays as it was."""
    message = deploy('front_toy', size_hw=(404, 404))
    before = message.SerializeToString()
    net_to_time(message, layers_of(message, 'test'))
    assert message.SerializeToString() == before
