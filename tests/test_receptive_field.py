"""Receptive fields by gradient through real Caffe, against the paper's numbers."""

import cv2
import numpy as np
import pytest

from prototxt.experiments import NETS
from tools import receptive_field
from tools.receptive.fields import Field, context_fields, dilation_fields, whole_fields
from tools.support.errors import UserError

TABLE_1 = [3, 5, 9, 17, 33, 65, 67, 67]


def sides(fields: list[Field]) -> list[int]:
    """Side of each field, all of which must be square."""
    assert all(field.size_hw[0] == field.size_hw[1] for field in fields)
    return [field.size_hw[0] for field in fields]


@pytest.mark.parametrize(('name', 'fields'), [
    ('dilation8_camvid', TABLE_1),  # padded at each layer
    ('dilation8_pascal_voc', TABLE_1),  # padded once, Large
    ('large_pascal_voc_reflect', TABLE_1),
    ('dilation7_kitti', [3, 5, 9, 17, 33, 35, 35]),  # paper A.2: layer 6 removed
    ('dilation10_cityscapes', [3, 5, 9, 17, 33, 65, 129, 257, 259, 259]),  # A.3: two more layers, dilation 32 and 64
])  # fmt: skip
def test_context_module_sees_what_table_1_says(name, fields):
    """A cell of each layer has a gradient from an area with these sides."""
    assert sides(context_fields(NETS[name])) == fields


def test_front_end_sees_380_pixels():
    """Up to conv4_3 the fields are VGG-16's known ones; then cells of 8 pixels and dilations of 2 and 4 add to them."""
    front = {field.layer: field.size_hw for field in whole_fields(NETS['front_camvid'])}
    counted = dict(conv1_2=5, pool1=6, conv2_2=14, pool2=16, conv3_3=40, pool3=44, conv4_3=92, conv5_3=188, fc6=380, final=380)
    assert {layer: front[layer] for layer in counted} == {layer: (side, side) for layer, side in counted.items()}


def test_whole_network_sees_908_pixels():
    """380 for one cell, and 8 more for each of the other 66 cells that the context module sees."""
    assert whole_fields(NETS['dilation8_camvid'])[-1].size_hw == (380 + 8 * 66,) * 2


def test_every_element_within_is_seen():
    """Dilations that double leave no holes (paper Sec. 2)."""
    for field in context_fields(NETS['dilation8_camvid']):
        assert (field.gradient > 0).all(), field.layer


def test_figure_1():
    """F1, F2, F3 with dilations 1, 2, 4 see 2^(i+2) - 1 = 3, 7 and 15 (paper Sec. 2). The gradient is the number of paths."""
    fields = dilation_fields((1, 2, 4))
    assert [(field.layer, *field.size_hw) for field in fields] == [('F1', 3, 3), ('F2', 7, 7), ('F3', 15, 15)]
    tap = np.ones(3)
    ways = np.convolve(np.convolve(tap, [1, 0, 1, 0, 1]), [1, 0, 0, 0, 1, 0, 0, 0, 1])  # three layers along one side
    found = fields[2].gradient / fields[2].gradient[0, 0]  # a corner is reached in one way
    np.testing.assert_allclose(found, np.outer(ways, ways), rtol=1e-5)


def test_command_draws_and_prints(tmp_path, capsys):
    """It prints a line for each layer and draws a picture with green fields and red taps."""
    out = tmp_path / 'figure.png'
    receptive_field.main(['--net', 'dilation7', '--out', str(out)])
    said = capsys.readouterr().out
    assert 'ctx_conv4_1  kernel 3  dilation 8   33x33' in said and f'drawn: {out}' in said
    picture = cv2.imread(str(out)).astype(int)
    blue, green, red = picture.transpose(2, 0, 1)
    assert ((green > blue + 20) & (green > red + 20)).sum() > 10_000
    assert ((red > 200) & (green < 60)).sum() > 100  # the taps


@pytest.mark.parametrize(('argv', 'message'), [
    (['--dilations', '1', '2'], 'at least three'),
    (['--dilations', '1', '2', '0'], 'each at least 1'),
    (['--dilations', '1', '2', '1000'], 'a sum of at most 256'),
    (['--net', 'front_camvid', '--part', 'context'], 'no context module'),
])  # fmt: skip
def test_command_refuses(argv, message):
    """The error says what to give instead."""
    with pytest.raises(UserError, match=message):
        receptive_field.main(argv)
