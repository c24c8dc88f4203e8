"""Names of networks as people type them."""

import pytest

from prototxt.experiments import NETS, STAGES
from prototxt.networks import deploy, training
from prototxt.shapes import param_shapes
from tools.inference.networks import ALIASES, network
from tools.support.errors import UserError


@pytest.mark.parametrize(
    ('asked', 'expected'),
    [
        (('dilation10',), 'dilation10_cityscapes'),
        (('dilation7',), 'dilation7_kitti'),
        (('dilation8', 'camvid'), 'dilation8_camvid'),
        (('dilation8', 'pascal_voc'), 'dilation8_pascal_voc'),
        (('dilation8-camvid',), 'dilation8_camvid'),
        (('front',), 'front_pascal_voc'),
        (('front-basic',), 'basic_pascal_voc'),
        (('front-large',), 'dilation8_pascal_voc'),
        (('front', 'kitti'), 'front_kitti'),
        (('front-basic', 'cityscapes'), 'dilation10_cityscapes'),
        (('front-basic', 'toy'), 'basic_toy'),
        (('dilation10_cityscapes', 'cityscapes'), 'dilation10_cityscapes'),
        (('dilation8_camvid_fc128',), 'dilation8_camvid_fc128'),
    ],
)
def test_names(asked, expected):
    assert network(*asked) == expected


def test_what_a_short_name_stands_for_is_said(capsys):
    """And a full name is not."""
    network('front-large')
    assert capsys.readouterr().err == 'network: dilation8_pascal_voc\n'
    network('front_camvid')
    assert capsys.readouterr().err == ''


@pytest.mark.parametrize(
    ('asked', 'message'),
    [
        (('dilation8',), 'dilation8 could be any of: dilation8_pascal_voc, dilation8_camvid'),
        (('dilation9',), 'no network dilation9; did you mean .*? there are: dilation8_pascal_voc'),
        (('dilation10', 'camvid'), 'no network of camvid dilation10; (did you mean .*? )?there are: dilation8_camvid, '),
        (('front', 'imagenet'), 'no network of a data set imagenet; there are those of camvid, '),
    ],
)
def test_names_that_fit_none_or_several(asked, message):
    with pytest.raises(UserError, match=message):
        network(*asked)


def test_aliases_stand_for_rows_of_their_data_set():
    for alias, row in ALIASES.items():
        assert alias.endswith(NETS[row].dataset)


@pytest.mark.parametrize('stage', STAGES)
def test_a_snapshot_holds_no_layer_under_another_ones_name(stage):
    """Caffe loads weights by name, and aborts where a layer of that name has none."""
    with_weights = param_shapes(deploy(STAGES[stage].net)).keys()
    net = training(stage, 'unused')
    others = {layer.name for layer in net.layer} - param_shapes(net).keys()
    assert not with_weights & others
