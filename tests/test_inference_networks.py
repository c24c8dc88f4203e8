"""Names of networks as people type them."""

import re
from dataclasses import replace

import pytest

from dataset_prep import datasets
from prototxt.experiments import NETS, STAGES
from prototxt.networks import deploy, training
from prototxt.shapes import param_shapes
from tools.inference.net_choice import ALIASES, network
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
        (('front-pascal',), 'front_pascal_voc'),  # other names with this beginning are variants of it
        (('fcn8s',), 'fcn8s_pascal_voc'),
        (('deeplab-msc',), 'deeplab_msc_pascal_voc'),
        (('fcn8s', 'cityscapes'), 'fcn8s_cityscapes'),
    ],
)
def test_a_short_name_stands_for_a_network(asked, expected):
    """The names are the paper's, a network's own, or the beginning of one, perhaps with a data set."""
    assert network(*asked) == expected


def test_a_new_data_set_takes_any_network(monkeypatch):
    """No row of NETS names it."""
    monkeypatch.setitem(datasets.DATASETS, 'new', replace(datasets.DATASETS['toy'], name='new'))
    assert [network(name, 'new') for name in ('front_toy', 'front')] == ['front_toy@new', 'front_pascal_voc@new']


def test_names_of_rows_have_one_pattern():
    """Networks are <net>_<data set>[_<variant>]; stages begin with the data set and have hyphens. No name is both."""
    data = {'pascal_voc': 'voc'}
    for name, net in NETS.items():
        assert re.fullmatch(rf'[a-z0-9_]+_{net.dataset}(_[a-z0-9_]+)?', name)
    for name, stage in STAGES.items():
        dataset = NETS[stage.net].dataset
        assert re.fullmatch(rf'{data.get(dataset, dataset)}(-[a-z0-9]+)+', name)
    assert not NETS.keys() & STAGES.keys()


def test_the_network_of_a_short_name_is_printed(capsys):
    """A full name is not printed."""
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
    """The message has the names to choose from."""
    with pytest.raises(UserError, match=message):
        network(*asked)


def test_an_alias_is_a_network_of_its_data_set():
    """The alias ends with the data set."""
    for alias, row in ALIASES.items():
        assert alias.endswith(NETS[row].dataset)


@pytest.mark.parametrize('stage', STAGES)
def test_no_layer_of_a_snapshot_has_the_name_of_another(stage):
    """Caffe loads weights by name and aborts if the layer of that name has no weights."""
    with_weights = param_shapes(deploy(STAGES[stage].net)).keys()
    net = training(stage, 'unused')
    others = {layer.name for layer in net.layer} - param_shapes(net).keys()
    assert not with_weights & others
