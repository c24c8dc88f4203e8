"""`make crf-NET`: its commands, and that each reads what the command before it wrote."""

import shlex
import subprocess

import pytest

from tools import crf_search
from tools import test as test_command
from tools.recipes import crf_recipe as recipe
from tools.support.errors import UserError
from tools.support.paths import PRETRAINED, ROOT, RUNS


def steps(monkeypatch, name, weights):
    """The options of the three commands that `make crf-NAME` runs if it finds `weights`."""
    said = []
    monkeypatch.setattr(recipe.Steps, 'do', lambda _self, _title, *argv: said.append(argv))
    monkeypatch.setattr(recipe, 'find_weights', lambda _net: weights)
    recipe.main([name])
    (_, *stored), (_, *searched), (_, *tested) = said
    assert [argv[0] for argv in said] == ['tools/test.py', 'tools/crf_search.py', 'tools/test.py']
    return test_command.parse_args(stored), crf_search.parse_args(searched), test_command.parse_args(tested)


@pytest.mark.parametrize(('name', 'net', 'data'), [
    ('deeplab_msc_largefov_pascal_voc', 'deeplab_msc_largefov_pascal_voc', 'pascal_voc'),
    ('dilation8_camvid', 'dilation8_camvid', 'camvid'),
    ('front', 'front_pascal_voc', 'pascal_voc'), ('fcn8s_camvid_small', 'fcn8s_camvid_small', 'camvid-320x240'),
])  # fmt: skip
def test_scores_of_val_then_the_search_then_the_test(name, net, data, monkeypatch):
    """The test uses the split of the paper's tables, and the parameters that the search found on val."""
    stored, searched, tested = steps(monkeypatch, name, [RUNS / 'x' / 'x_iter_9.caffemodel'])
    assert (stored.net, tested.net) == (net, net) and stored.save_scores == searched.scores
    assert (stored.split, searched.split, tested.split) == ('val', 'val', None) and str(searched.data) == f'data/{data}'
    assert tested.crf == searched.out / 'crf.json' and stored.crf is None
    on_val = data == 'pascal_voc'  # then the test uses the scores that the search used
    assert tested.save_scores == (stored.save_scores if on_val else None)


def test_released_weights_and_those_trained_here_share_no_folder(monkeypatch):
    """All steps name their weights, so a training that writes a new snapshot meanwhile changes nothing."""
    files = {
        'released': PRETRAINED / 'dilation8_camvid.caffemodel',
        'own': RUNS / 'camvid-joint' / 'camvid-joint_iter_9.caffemodel',
    }
    folders = []
    for file in files.values():
        stored, searched, tested = steps(monkeypatch, 'dilation8_camvid', [file])
        assert [ROOT / path for path in (*stored.weights, *tested.weights)] == [file, file]
        folders.append({stored.save_scores, searched.out, tested.crf.parent})
        assert stored.save_scores == searched.scores and searched.out == tested.crf.parent
    assert not folders[0] & folders[1]


def test_missing_weights_of_the_second_network_are_reported_before_the_first_begins(monkeypatch):
    """The first network takes hours."""
    said = []

    def find_weights(net):
        if net == 'front_camvid':
            raise UserError('no weights')
        return [PRETRAINED / f'{net}.caffemodel']

    monkeypatch.setattr(recipe.Steps, 'do', lambda *argv: said.append(argv))
    monkeypatch.setattr(recipe, 'find_weights', find_weights)
    with pytest.raises(UserError, match='no weights'):
        recipe.main(['dilation8_camvid', 'front_camvid'])
    assert not said


@pytest.mark.parametrize(('target', 'nets'), [
    ('crf-front', 'front'), ('deeplab-crf', 'deeplab_pascal_voc deeplab_msc_pascal_voc'),
])  # fmt: skip
def test_targets(target, nets):
    words = ['make', '--no-print-directory', '-n', '-o', 'crf-packages', target]
    printed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert shlex.split(printed)[1:] == ['-m', 'tools.recipes.crf_recipe', *nets.split()]


def test_a_warning_names_weights_that_were_trained_on_val(monkeypatch, capsys):
    """Only one of the two files was trained on val."""
    monkeypatch.setattr(recipe.Steps, 'do', lambda *_: None)
    monkeypatch.setattr(recipe, 'find_weights', lambda net: [PRETRAINED / f'{net}.caffemodel'])
    recipe.main(['deeplab_largefov_pascal_voc', 'deeplab_msc_largefov_pascal_voc'])
    assert capsys.readouterr().err.count('deeplab_largefov_pascal_voc.caffemodel was trained on images of pascal_voc val') == 1


def test_a_data_set_without_val_is_refused_before_anything_runs(monkeypatch):
    """KITTI only has train and test. The network before it in the list does not begin either."""
    said = []
    monkeypatch.setattr(recipe.Steps, 'do', lambda *argv: said.append(argv))
    with pytest.raises(UserError, match='dilation7_kitti: kitti has no val split to search on, only train, test; take the'):
        recipe.main(['dilation8_camvid', 'dilation7_kitti'])
    assert not said
