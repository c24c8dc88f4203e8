"""Own data in the other commands: short names of networks, scores, the CRF recipe, the tables."""

import json
import shutil
import unicodedata

import numpy as np
import pytest
from mini_archives import save

from dataset_prep import datasets
from dataset_prep.datasets import Dataset, own_json
from dataset_prep.records import Record, save_split
from tests.toy_nets import make_split, random_weights
from tools import score, tables
from tools import test as test_command
from tools.inference import net_choice
from tools.recipes import crf_recipe as recipe
from tools.report import figures, tables_page
from tools.support.errors import UserError
from tools.support.paths import PRETRAINED

CLASSES, PALETTE = ('sky', 'road', 'car'), ((1, 2, 3), (4, 5, 6), (7, 8, 9))
TRUTH = np.array([[0, 0, 1, 1], [2, 2, 2, 255]], np.uint8)
MAP = np.array([[0, 1, 1, 1], [2, 2, 0, 0]], np.uint8)
# By hand: pixels in both divided by pixels in either, without the pixel of 255.
IOU = {'sky': 1 / 3, 'road': 2 / 3, 'car': 2 / 3}


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The folder of the data set `my-data`, with its row, in a folder of data sets for this test."""
    monkeypatch.setattr(datasets, 'DATA', tmp_path / 'data')
    monkeypatch.setattr(datasets, '_own', {})
    monkeypatch.setattr(net_choice, 'RUNS', tmp_path / 'runs')
    folder = tmp_path / 'data' / 'my-data'
    folder.mkdir(parents=True)
    row = Dataset('my-data', CLASSES, PALETTE, (0, 0, 0), {'train': 1, 'val': 1})
    (folder / 'dataset.json').write_text(own_json(row))
    return folder


@pytest.mark.parametrize(
    ('asked', 'trained', 'expected'),
    [
        (('front', 'my-data'), (), 'front_pascal_voc@my-data'),
        (('front@my-data',), (), 'front_pascal_voc@my-data'),
        (('front-large', 'my-data'), (), 'dilation8_pascal_voc@my-data'),
        (('dilation10', 'my-data'), (), 'dilation10_cityscapes@my-data'),
        (('front', 'my-data'), ('toy-front',), 'front_toy@my-data'),
        (('front@my-data',), ('camvid-front',), 'front_camvid@my-data'),
        (('front-basic', 'my-data'), ('camvid-joint',), 'dilation8_camvid@my-data'),
        (('dilation8', 'my-data'), ('camvid-joint',), 'dilation8_camvid@my-data'),
        (('front_camvid', 'my-data'), ('toy-front',), 'front_camvid@my-data'),
    ],
)
def test_short_names(own, tmp_path, asked, trained, expected):
    """They mean the network that was trained on this data, or else Table 3's network for VOC."""
    for stage in trained:
        (tmp_path / 'runs' / f'{stage}@my-data').mkdir(parents=True)
    assert net_choice.network(*asked) == expected


@pytest.mark.parametrize(
    ('asked', 'trained', 'words'),
    [
        (('front', 'my-data'), ('toy-front', 'camvid-front'), 'front could be any of: front_camvid, front_toy; give the full'),
        (('dilation8', 'my-data'), (), 'dilation8 could be any of: dilation8_pascal_voc, dilation8_camvid, '),
        (('front@my-data', 'camvid'), (), '--net front@my-data is of my-data, --dataset of camvid'),
        (('front', 'my-dta'), (), 'no network of a data set my-dta; there are those of .*, my-data'),
    ],
)
def test_ambiguous_and_unknown_names_are_refused(own, tmp_path, asked, trained, words):
    for stage in trained:
        (tmp_path / 'runs' / f'{stage}@my-data').mkdir(parents=True)
    with pytest.raises(UserError, match=words):
        net_choice.network(*asked)


def test_renamed_folder_is_an_error_with_both_names(own, tmp_path):
    own.rename(tmp_path / 'data' / 'yours')
    words = 'data/yours holds the data set my-data; rename the folder to my-data, or prepare the data set again with NAME=yours'
    with pytest.raises(UserError, match=words):
        datasets.dataset('yours')


def score_own(tmp_path, *options, truth=TRUTH, form='NFC', suffix='.png'):
    """Run tools/score.py on one image of the data set `my-data`; returns its JSON."""
    save(tmp_path / 'gt' / 'é.png', truth)
    save(tmp_path / 'pred' / unicodedata.normalize(form, f'é{suffix}'), MAP)
    words = ['--pred', str(tmp_path / 'pred'), '--gt', str(tmp_path / 'gt'), '--json', str(tmp_path / 'scores.json')]
    score.main(['--dataset', 'my-data', *words, *options])
    return json.loads((tmp_path / 'scores.json').read_text())


IN_COLOURS = np.array([*PALETTE, *[(0, 0, 0)] * 253], np.uint8)[TRUTH]


@pytest.mark.parametrize(
    ('form', 'suffix', 'truth', 'options'),
    [
        ('NFC', '.png', TRUTH, []),
        ('NFD', '.png', TRUTH, []),
        ('NFC', '.PNG', TRUTH, []),
        ('NFC', '.png', IN_COLOURS, ['--gt-encoding', 'colours']),
    ],
)
def test_own_classes_are_scored(own, tmp_path, form, suffix, truth, options):
    """By PASCAL VOC's measures. File names match in either Unicode form, and whatever the case of the suffix."""
    assert score_own(tmp_path, *options, truth=truth, form=form, suffix=suffix)['class_iou'] == pytest.approx(IOU)


def test_list_selects_the_images_to_score(own, tmp_path):
    """The folder of labels also has those of other splits."""
    save_split(own, 'val', [Record('é', tmp_path / 'é.png', None, 'my-data')])
    save(tmp_path / 'gt' / 'of train.png', TRUTH)
    assert score_own(tmp_path, '--list', str(own / 'val.json'))['images'] == 1


def test_maps_of_another_data_set_are_not_scored(own, tmp_path):
    """Their ids mean other classes."""
    (tmp_path / 'pred').mkdir()
    (tmp_path / 'pred' / 'settings.json').write_text(json.dumps({'dataset': 'camvid'}))
    with pytest.raises(UserError, match='pred holds label maps of camvid, whose classes differ from those of my-data'):
        score_own(tmp_path)


def run_test(tmp_path, net, dataset, row=None):
    """tools/test.py with random weights on a split of `dataset`, with the row of an own data set beside it."""
    data = make_split(tmp_path / 'copy', {'a': (20, 28)})
    said = json.loads((data / 'test.json').read_text())
    (data / 'test.json').write_text(json.dumps(said | {'dataset': dataset}))
    if row:
        (data / 'dataset.json').write_text(own_json(row))
    weights = random_weights(net, tmp_path / 'w.caffemodel')
    words = ['--net', net, '--weights', str(weights), '--data', str(data), '--split', 'test', '--out', str(tmp_path / 'out')]
    test_command.main(words)


def test_network_is_not_scored_on_another_data_set(tmp_path):
    """The scores would have the names of other classes."""
    with pytest.raises(UserError, match='holds kitti, front_toy is for toy; give --net front_toy@kitti, or another --data'):
        run_test(tmp_path, 'front_toy', 'kitti')


def test_network_is_not_scored_on_a_copy_with_other_classes(own, tmp_path):
    """--data has a data set of the same name that was prepared with another list of classes."""
    row = Dataset('my-data', CLASSES[::-1], PALETTE, (0, 0, 0), {})
    with pytest.raises(UserError, match='copy has other classes than .*my-data, which front_toy@my-data is for; give one of'):
        run_test(tmp_path, 'front_toy@my-data', 'my-data', row)


def test_crf_is_tested_on_val_if_there_is_no_test_split(own, monkeypatch, capsys):
    """A note says so before the first step, because the CRF's parameters are chosen on val."""
    said = []
    monkeypatch.setattr(recipe.Steps, 'do', lambda _self, _title, *argv: said.append(argv))
    monkeypatch.setattr(recipe, 'find_weights', lambda _net: [PRETRAINED / 'x.caffemodel'])
    recipe.main(['front_toy@my-data'])
    tested = test_command.parse_args(list(said[2][1:]))
    assert tested.save_scores and tested.split is None  # None: tools/test.py also takes val then
    line = "front_toy@my-data: my-data has no test split: val is tested, on which the CRF's parameters were chosen"
    assert line in capsys.readouterr().err


def test_own_data_has_its_own_table(own, tmp_path, monkeypatch, capsys):
    """The table names its classes. It is gone after the data set was deleted."""
    monkeypatch.setattr(figures, 'DATA', tmp_path / 'data')
    monkeypatch.setattr(tables_page, 'RUNS', tmp_path / 'runs')
    result = tmp_path / 'out' / 'result'
    result.mkdir(parents=True)
    settings = {'net': 'front_toy@my-data', 'dataset': 'my-data', 'split': 'val', 'weights': [['w.caffemodel', 'x']]}
    said = {'mean_iou': 5 / 9, 'class_iou': IOU, 'confusion': [[1, 1, 0], [0, 2, 0], [1, 0, 2]], 'images': 1}
    (result / 'scores.json').write_text(json.dumps(said | {'settings': settings, 'origin': {'stage': 'toy-front@my-data'}}))
    words = ['--results', str(tmp_path / 'out'), '--out', str(tmp_path / 'tables')]
    tables.main(words)
    shown = capsys.readouterr().out.partition('Your own data: my-data; mean IoU in percent\n')[2]
    assert 'front_toy@my-data, toy-front@my-data' in shown and '55.6' in shown
    rows = {line.split()[0]: line.split()[-1] for line in shown.splitlines() if line.startswith(CLASSES)}
    assert rows == {'sky': '33.3', 'road': '66.7', 'car': '66.7'}
    assert 'Your own data: my-data' in (tmp_path / 'tables' / 'report.html').read_text()
    assert '## Your own data: my-data' in (tmp_path / 'tables' / 'tables.md').read_text()
    shutil.rmtree(own)
    datasets._own.clear()
    tables.main(words)
    assert 'Your own data' not in capsys.readouterr().out
