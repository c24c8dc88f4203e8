"""`make crf-NET`: its commands, and that each reads what the command before it wrote."""

import shlex
import subprocess

import pytest

from tools import crf_search
from tools import test as test_command
from tools.recipes import crf_recipe as recipe
from tools.support.errors import UserError
from tools.support.paths import PRETRAINED, ROOT, RUNS


@pytest.fixture
def begun(monkeypatch):
    """The commands that the recipe begins; they do not run. Weights of a network are pretrained/NET.caffemodel."""
    commands = []
    monkeypatch.setattr(recipe.Steps, 'do', lambda _self, _title, *argv: commands.append(argv))
    monkeypatch.setattr(recipe, 'find_weights', lambda net: [PRETRAINED / f'{net}.caffemodel'])
    return commands


def parsed(commands):
    """The options of the three commands for a network."""
    assert [tool for tool, *_ in commands] == ['tools/test.py', 'tools/crf_search.py', 'tools/test.py']
    return [tool.parse_args(words) for tool, (_, *words) in zip((test_command, crf_search, test_command), commands, strict=True)]


@pytest.mark.parametrize(('name', 'net', 'data'), [
    ('deeplab_msc_largefov_pascal_voc', 'deeplab_msc_largefov_pascal_voc', 'pascal_voc'),
    ('dilation8_camvid', 'dilation8_camvid', 'camvid'),
    ('front', 'front_pascal_voc', 'pascal_voc'), ('fcn8s_camvid_small', 'fcn8s_camvid_small', 'camvid-320x240'),
])  # fmt: skip
def test_scores_of_val_then_the_search_then_the_test(name, net, data, begun):
    """The test uses the split of the paper's tables, and the parameters that the search found on val."""
    recipe.main([name])
    stored, searched, tested = parsed(begun)
    assert (stored.net, tested.net) == (net, net) and stored.save_scores == searched.scores
    assert (stored.split, searched.split, tested.split) == ('val', 'val', None) and str(searched.data) == f'data/{data}'
    assert tested.crf == searched.out / 'crf.json' and stored.crf is None
    on_val = data == 'pascal_voc'  # then the test uses the scores that the search used
    assert tested.save_scores == (stored.save_scores if on_val else None)


def test_released_weights_and_those_trained_here_share_no_folder(begun, monkeypatch):
    """All steps name their weights, so a training that writes a new snapshot meanwhile changes nothing."""
    folders = []
    for file in (PRETRAINED / 'dilation8_camvid.caffemodel', RUNS / 'camvid-joint' / 'camvid-joint_iter_9.caffemodel'):
        begun.clear()
        monkeypatch.setattr(recipe, 'find_weights', lambda _net, file=file: [file])
        recipe.main(['dilation8_camvid'])
        stored, searched, tested = parsed(begun)
        assert [ROOT / path for path in (*stored.weights, *tested.weights)] == [file, file]
        folders.append({stored.save_scores, searched.out, tested.crf.parent})
        assert stored.save_scores == searched.scores and searched.out == tested.crf.parent
    assert not folders[0] & folders[1]


def test_faults_of_the_second_network_are_reported_before_the_first_begins(begun, monkeypatch):
    """The first network takes hours. The second has no val split (KITTI only has train and test), or no weights."""
    with pytest.raises(UserError, match='dilation7_kitti: kitti has no val split to search on, only train, test; take the'):
        recipe.main(['dilation8_camvid', 'dilation7_kitti'])

    def find_weights(net):
        if net == 'front_camvid':
            raise UserError('no weights')
        return [PRETRAINED / f'{net}.caffemodel']

    monkeypatch.setattr(recipe, 'find_weights', find_weights)
    with pytest.raises(UserError, match='no weights'):
        recipe.main(['dilation8_camvid', 'front_camvid'])
    assert not begun


@pytest.mark.parametrize(('target', 'nets'), [
    ('crf-front', 'front'), ('deeplab-crf', 'deeplab_pascal_voc deeplab_msc_pascal_voc'),
])  # fmt: skip
def test_a_make_target_runs_the_recipe(target, nets):
    """The target names one network, or several are fixed."""
    words = ['make', '--no-print-directory', '-n', '-o', 'crf-packages', target]
    printed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert shlex.split(printed)[1:] == ['-m', 'tools.recipes.crf_recipe', *nets.split()]


@pytest.mark.usefixtures('begun')
def test_a_warning_names_weights_that_were_trained_on_val(capsys):
    """Only one of the two files was trained on val."""
    recipe.main(['deeplab_largefov_pascal_voc', 'deeplab_msc_largefov_pascal_voc'])
    assert capsys.readouterr().err.count('deeplab_largefov_pascal_voc.caffemodel was trained on images of pascal_voc val') == 1
