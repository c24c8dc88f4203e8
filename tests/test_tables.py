"""The paper's tables with our results: which result fills which cell, how to fill the blank ones, and the page."""

import json
import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from dataset_prep.datasets import dataset
from dataset_prep.records import Record, load_split, save_split
from pretrained.weights import WEIGHTS
from prototxt.chains import CHAINS, ends, is_chain, stages_of
from prototxt.experiments import NETS, STAGES
from tests.browser import SIZES, assert_sound, open_page
from tools import crf_search, scoring, submit, tables, train
from tools import test as test_command
from tools.report import figures, tables_page, tables_text
from tools.report.paper_tables import TABLE, TABLES
from tools.report.results import find_results, lines_of
from tools.report.tables_text import cells, missing_data, terminal
from tools.support.errors import UserError
from tools.support.paths import ROOT

WEIRD = '<b>"x" & y'  # an id that a page must not take for markup
HALF = np.eye(11, dtype=int) * 20 + np.roll(np.eye(11, dtype=int), 1, axis=1) * 10  # 20 of 40 pixels: IoU 0.5
CRF = {'crf': {'w1': 4}}
DEEPLAB_SAW_VAL = (
    'deeplab_largefov_pascal_voc.caffemodel was trained on images of val (run_pascal.sh of its authors, train 2: trainval_aug)'
)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder without data, runs and results; the tables look for them there."""
    for module in (figures, tables_text):
        monkeypatch.setattr(module, 'DATA', tmp_path / 'data')
    monkeypatch.setattr(figures, 'ROOT', tmp_path)
    monkeypatch.setattr(tables_page, 'RUNS', tmp_path / 'runs')
    return tmp_path


@pytest.fixture
def result(place):
    """Writes a scores.json as tools/test.py does. `source` is a stage, a released file's row, or another file's name.

    By default all labels are right and all images of the split were scored.
    """

    def result(net, split, source, matrix=None, images=None, **settings):
        folder = place / 'out' / f'{net}-{source}-{split}-{images}-{len(settings)}'
        folder.mkdir(parents=True)
        facts = dataset(NETS[net].dataset)
        matrix = np.eye(facts.num_classes, dtype=int) if matrix is None else matrix
        scores = scoring.summary(facts.classes, matrix, facts.category_ids()) | {'images': images or facts.splits[split]}
        file = WEIGHTS[source].file if source in WEIGHTS else f'{source}_iter_9.caffemodel'
        said = {'net': net, 'dataset': facts.name, 'split': split, 'weights': [['vgg16.caffemodel', 'x'], [file, 'y']]}
        origin = {'stage': source if source in STAGES else '', 'row': source if source in WEIGHTS else ''}
        (folder / 'scores.json').write_text(json.dumps(scores | {'settings': said | settings, 'origin': origin}))
        return folder

    return result


def row_of(number, name, split=None):
    """A row of a table without any results."""
    return next(row for row in lines_of(TABLE[number], []) if row.name == name and split in (None, row.split))


def line(number, name, place, split=None):
    """The text of a row: name, split, paper, released weights, difference, trained here, difference."""
    table = TABLE[number]
    found = lines_of(table, find_results([place / 'out']))
    return next(cells(row, table) for row in found if row.name == name and split in (None, row.split))


def write(place):
    """Runs `make tables`; returns the path of its page."""
    (place / 'out').mkdir(exist_ok=True)
    tables.main(['--out', str(place / 'tables'), '--results', str(place / 'out')])
    return place / 'tables' / 'report.html'


# Cells


def test_results_stand_in_their_columns_with_the_difference(result, place):
    """The IoU of every class is 20 / (20 + 10 + 10); the paper has 65.3."""
    assert line(5, 'Dilation8', place) == ['Dilation8', 'test', '65.3', '', '', '', '']
    result('dilation8_camvid', 'test', 'camvid-joint', HALF)
    assert line(5, 'Dilation8', place) == ['Dilation8', 'test', '65.3', '', '', '50.0', '-15.3']
    result('dilation8_camvid', 'test', 'dilation8_camvid')
    assert line(5, 'Dilation8', place) == ['Dilation8', 'test', '65.3', '100.0', '+34.7', '50.0', '-15.3']
    assert line(5, 'ALE', place) == ['ALE', 'test', '53.6', '-', '-', '-', '-']


@pytest.mark.parametrize(('net', 'split', 'source', 'changes', 'filled'), [
    ('dilation8_camvid', 'test', 'camvid-joint', {}, {(5, 'Dilation8', 'trained')}),
    ('dilation8_camvid', 'test', 'camvid-joint', {'images': 232}, set()),
    # Other systems come after the paper's rows.
    ('dilation8_camvid', 'test', 'camvid-joint', CRF, {(5, 'dilation8_camvid + crf, camvid-joint', 'trained')}),
    ('dilation8_camvid', 'test', 'camvid-front', {}, {(5, 'dilation8_camvid, camvid-front', 'trained')}),
    ('dilation8_camvid', 'test', 'mine', {}, {(5, 'dilation8_camvid, weights given', 'trained')}),
    ('front_camvid_fc128', 'test', 'camvid-cpu-front', {}, {(5, 'front_camvid_fc128, camvid-cpu-front', 'trained')}),
    ('fcn8s_pascal_voc', 'val', 'voc-fcn8s', {}, {(3, 'fcn8s_pascal_voc, voc-fcn8s', 'trained')}),
    # A dense CRF has rows of its own; CRF-RNN is part of the network.
    ('dilation8_pascal_voc', 'val', 'dilation8_pascal_voc', CRF, {(3, 'Front + Large + CRF', 'released')}),
    ('large_pascal_voc_crfrnn', 'val', 'voc-large-crfrnn', {}, {(3, 'Front + Large + RNN', 'trained')}),
    ('fcn8s_pascal_voc_crfrnn', 'test', 'fcn8s_pascal_voc_crfrnn', {}, {(4, 'CRF-RNN', 'released')}),
    # The authors' file of a compared network fills its row; LargeFOV is not Table 2's DeepLab.
    ('fcn8s_pascal_voc', 'test', 'fcn8s_pascal_voc', {}, {(2, 'FCN-8s', 'released')}),
    ('deeplab_largefov_pascal_voc', 'test', 'deeplab_largefov_pascal_voc', {}, set()),
    # Two trainings of one network.
    ('front_pascal_voc', 'test', 'voc-front', {}, {(2, 'Our front end', 'trained')}),
    ('front_pascal_voc', 'test', 'voc-coco-front-finetune', {}, {(4, 'Front end', 'trained')}),
    # Classes and categories come from one run, on val.
    ('dilation10_cityscapes', 'val', 'cityscapes-joint', {}, {(7, 'Dilation10', 'trained'), (8, 'Dilation10', 'trained')}),
])  # fmt: skip
def test_a_result_only_fills_the_cells_of_its_system(net, split, source, changes, filled, result, place):
    """A system is a network, its weights and a refinement, tested on the whole split of the row."""
    result(net, split, source, **changes)
    rows = [(table, row) for table in TABLES for row in lines_of(table, find_results([place / 'out']))]
    found = {
        (table.number, row.name, column): row.split
        for table, row in rows
        for column, number in zip(('released', 'trained'), cells(row, table)[3::2], strict=False)
        if number not in ('', '-')
    }
    assert found == dict.fromkeys(filled, split)


def test_a_mistake_inside_a_category_costs_only_the_classes(result, place):
    """All trucks are called buses."""
    matrix = np.eye(19, dtype=int) * 10
    matrix[14, 14], matrix[14, 15] = 0, 10
    result('dilation10_cityscapes', 'val', 'cityscapes-joint', matrix)
    assert line(7, 'Dilation10', place, 'val')[5] == f'{100 * (17 + 0 + 0.5) / 19:.1f}'
    assert line(8, 'Dilation10', place, 'val')[5] == '100.0'


def test_a_row_that_only_released_weights_fill(result, place):
    """CRF-RNN has a dash for weights trained here, with the reason, and a note on the released weights."""
    assert line(4, 'CRF-RNN', place) == ['CRF-RNN', 'test', '74.7', '', '', '-', '-']
    result('fcn8s_pascal_voc_crfrnn', 'test', 'fcn8s_pascal_voc_crfrnn')
    assert line(4, 'CRF-RNN', place) == ['CRF-RNN', 'test', '74.7', '100.0', '+25.3', '-', '-']
    text = terminal(TABLE[4], lines_of(TABLE[4], []))
    assert 'CRF-RNN, test, trained here: its authors give no settings for their training on COCO' in text
    assert 'CRF-RNN, test: the only model that its authors published' in text


def test_a_score_on_images_of_the_training_is_left_out(result, place):
    """DeepLab's authors trained on VOC's val too. The row has dashes and the reason."""
    result('deeplab_largefov_pascal_voc', 'val', 'deeplab_largefov_pascal_voc')
    name = 'deeplab_largefov_pascal_voc, released'
    assert line(3, name, place) == [name, 'val', '', '-', '-', '-', '-']
    assert DEEPLAB_SAW_VAL in terminal(TABLE[3], lines_of(TABLE[3], find_results([place / 'out'])))


# Commands that fill blank cells


def commands():
    for table in TABLES:
        for row in lines_of(table, []):
            yield from (*row.released_todo, *row.trained_todo)


@pytest.mark.parametrize('command', sorted(set(commands())), ids=' '.join)
def test_the_commands_exist(command):
    """A make target is that of a stage or of weights. A tool accepts its options."""
    program, *words = command
    if program == 'make':
        kind, _, name = words[0].partition('-')
        assert name in {'train': {*STAGES, *CHAINS}, 'weights': WEIGHTS}[kind]
    else:
        tools = {'tools/test.py': test_command, 'tools/submit.py': submit, 'tools/crf_search.py': crf_search}
        tools[words[0]].parse_args(words[1:])


PRIOR_WORK_HERE = {(2, 'FCN-8s'), (2, 'DeepLab'), (2, 'DeepLab-Msc'), (4, 'DeepLab++'), (5, 'DeepLab-LFOV'), (6, 'DeepLab-LFOV')}
RELEASED_ONLY = {(4, 'CRF-RNN')}


def test_every_row_has_commands_or_a_reason():
    """The paper's systems and some compared ones can be run; the rows of other prior work say why not."""
    for table in TABLES:
        for row in lines_of(table, []):
            trained = row.source == 'this paper' or (table.number, row.name) in PRIOR_WORK_HERE
            tested = trained or (table.number, row.name) in RELEASED_ONLY
            assert (bool(row.trained_todo), bool(row.not_trained)) == (trained, tested and not trained), row.name
            assert (bool(row.released_todo) or trained, bool(row.not_run)) == (tested, not tested), row.name
    assert row_of(2, 'FCN-8s').released_todo[0] == ('make', 'weights-fcn8s_pascal_voc')


@pytest.mark.parametrize(
    ('number', 'name', 'stages'),
    [
        (7, 'Dilation10', ['cityscapes-front', 'cityscapes-context', 'cityscapes-joint']),
        (3, 'Front + Large', ['voc-coco-front', 'voc-coco-front-finetune', 'voc-context-large']),
        (2, 'Our front end', ['voc-front']),
    ],
)
def test_one_command_trains_all_that_a_row_needs(number, name, stages):
    """It runs the stages before the last one too, and stores the maps between them."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith('MAKE')}  # not those of `make test`
    command = [*row_of(number, name).trained_todo[0], '-n']
    finished = subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True, check=True)
    args = train.parse_args(finished.stdout.partition('tools/train.py ')[2].replace('\\\n', ' ').split())
    assert args.options.chain or is_chain(args.stage)
    assert stages_of(ends(args.stage) if is_chain(args.stage) else (args.stage,)) == stages


def test_stages_of_one_network_share_no_files():
    """Tables 2 and 4 have two trainings of the front end. Each has its own snapshot, maps and archive for the server."""
    stages = ['voc-front', 'voc-coco-front-finetune']
    typed = [row_of(2, 'Our front end').trained_todo, row_of(4, 'Front end').trained_todo]
    tested = [test_command.parse_args(commands[1][2:]) for commands in typed]
    packed = [submit.parse_args(commands[2][2:]) for commands in typed]
    last = [STAGES[stage].max_iter for stage in stages]
    wanted = [[Path(f'runs/{stage}/{stage}_iter_{count}.caffemodel')] for stage, count in zip(stages, last, strict=True)]
    assert [args.weights for args in tested] == wanted and [args.net for args in tested] == ['front_pascal_voc'] * 2
    assert [args.out for args in tested] == [args.pred for args in packed] == [Path(f'out/test/{name}/test') for name in stages]
    archives = [submit.default_out(args.dataset, args.split, args.pred).name for args in packed]
    assert archives == [f'pascal_voc_test_{stage}.tar.gz' for stage in stages]


def test_a_stage_on_stored_maps_is_tested_with_the_weights_that_made_them():
    """The front end comes before the context module. Scores and parameters of the CRF lie in folders of the stage."""
    stored, searched, tested = (command[2:] for command in row_of(3, 'Front + Large + CRF').trained_todo[1:])
    stored, tested = test_command.parse_args(stored), test_command.parse_args(tested)
    assert [path.parent.name for path in stored.weights] == ['voc-coco-front-finetune', 'voc-context-large']
    assert tested.weights == stored.weights and stored.save_scores == Path('out/scores/voc-context-large')
    assert tested.crf == crf_search.parse_args(searched).out / 'crf.json' == Path('out/crf/voc-context-large/crf.json')
    assert (stored.out, tested.out) == (Path('out/test/voc-context-large/val'), Path('out/test/voc-context-large-crf/val'))


VOC, COCO, WHOLE = 'make lmdb-voc DATA=FOLDER', 'make lmdb-voc-coco DATA=FOLDER', 'make lmdb-voc DATA=FOLDER CROP_SIZE=884'
DEEPLAB = 'make lmdb-voc DATA=FOLDER CROP_SIZE=700'


@pytest.mark.parametrize(('number', 'there', 'missing'), [
    (3, [], {VOC: 'data/pascal_voc/val.json, data/pascal_voc/train_aug_500', COCO: 'data/pascal_voc/train_aug_coco_500',
             WHOLE: 'data/pascal_voc/train_aug_884'}),
    (3, ['val.json', 'train_aug_500', 'train_aug_884'], {COCO: 'data/pascal_voc/train_aug_coco_500'}),
    (4, ['test.json', 'train_aug_500', 'train_aug_coco_500', 'train_aug_700'], {WHOLE: 'data/pascal_voc/train_aug_884'}),
    (4, ['test.json', 'train_aug_500', 'train_aug_coco_500', 'train_aug_884'], {DEEPLAB: 'data/pascal_voc/train_aug_700'}),
])  # fmt: skip
def test_all_data_that_a_table_lacks_is_named(place, number, there, missing, capsys):
    """CRF-RNN takes whole images, DeepLab crops. The page, Markdown and the terminal name the same data."""
    for name in there:
        (place / 'data' / 'pascal_voc' / name).mkdir(parents=True)
    assert dict(missing_data(TABLE[number], lines_of(TABLE[number], []))) == missing
    page = write(place).read_text().partition(f'id="table-{number}"')[2].partition('<h2')[0]
    texts = capsys.readouterr().out, (place / 'tables' / 'tables.md').read_text()
    assert re.findall('<li><code>(make lmdb.*?)</code>: (.*?)</li>', page) == list(missing.items())
    for text, row in zip(texts, ('\n  {}: {}\n', '\n| {1} | `{0}` |\n'), strict=True):
        section = text.partition(f'Table {number}. ')[2].partition(f'Table {number + 1}. ')[0]
        assert section.count('make lmdb') == len(missing) and all(row.format(*item) in section for item in missing.items())


def test_data_of_filled_rows_is_not_named(result, place):
    """Two systems of CamVid are trained here. Data is named until both have a result."""
    result('dilation8_camvid', 'test', 'camvid-joint')
    result('dilation8_camvid', 'test', 'dilation8_camvid')

    def commands():
        return [command for command, _ in missing_data(TABLE[5], lines_of(TABLE[5], find_results([place / 'out'])))]

    assert commands() == ['make lmdb-camvid DATA=FOLDER', 'make lmdb-camvid DATA=FOLDER CROP_SIZE=700']
    result('deeplab_largefov_camvid', 'test', 'camvid-deeplab-largefov')
    assert not commands()


# Files with results


@pytest.fixture
def answered(place):
    """Writes label maps of Cityscapes that were sent to its server, and the server's answer beside them."""

    def answered(answer, split='test', age_s=0):
        folder = place / 'out' / 'test' / 'cityscapes-joint' / split
        folder.mkdir(parents=True)
        weights = [['cityscapes-joint_iter_60000.caffemodel', 'x']]
        settings = {'net': 'dilation10_cityscapes', 'dataset': 'cityscapes', 'split': split, 'weights': weights}
        (folder / 'settings.json').write_text(json.dumps(settings))
        (folder / 'origin.json').write_text(json.dumps({'stage': 'cityscapes-joint', 'row': ''}))
        (folder / 'server_scores.json').write_text(json.dumps(answer))
        written = (folder / 'settings.json').stat().st_mtime - age_s
        os.utime(folder / 'server_scores.json', (written, written))

    return answered


ANSWER = {'mean_iou': 67.1, 'class_iou': {'road': 97.6}, 'mean_category_iou': 86.5}


def test_a_servers_answer_fills_the_rows_of_its_split(answered, place):
    """It is typed in percent. The page has no confusion matrix of it."""
    assert 'server_scores.json beside the maps, fills the cell' in terminal(TABLE[7], lines_of(TABLE[7], []))
    answered(ANSWER)
    assert line(7, 'Dilation10', place, 'test')[5] == '67.1' and line(8, 'Dilation10', place, 'test')[5] == '86.5'
    [found] = find_results([place / 'out'])
    assert found.scores(TABLE[7])[:3] == pytest.approx([67.1, 97.6, None])
    assert 'Confusion' not in write(place).read_text()


def test_an_answer_that_is_older_than_the_maps_is_passed_over(answered, place):
    """It belongs to other label maps."""
    answered(ANSWER, age_s=60)
    assert find_results([place / 'out']) == []


@pytest.mark.parametrize(
    ('answer', 'split', 'fault'),
    [
        (ANSWER | {'mean_iou': 0.671}, 'test', 'must be in percent'),
        (ANSWER | {'mean_iou': '67.1'}, 'test', "'67.1' is not a number"),
        (ANSWER | {'mean_iou': 671}, 'test', '671 is not a number between 0 and 100'),
        (ANSWER | {'class_iou': {'Street': 97.6}}, 'test', 'no class or category: Street'),
        (ANSWER | {'miou': 1}, 'test', 'no such entry: miou'),
        (ANSWER | {'class_iou': 67.1}, 'test', 'class_iou must be an object'),
        ({'class_iou': {}}, 'test', 'it must be an object with a mean_iou; tools/README.md'),
        ([67.1], 'test', 'it must be an object with a mean_iou'),
        (ANSWER, 'val', 'cityscapes val is scored here'),
    ],
)
def test_a_faulty_answer_is_an_error(answered, place, answer, split, fault):
    """It was typed by hand, so it is not passed over silently."""
    answered(answer, split)
    with pytest.raises(UserError, match=f'server_scores.json: .*{fault}'):
        find_results([place / 'out'])


def test_a_missing_folder_is_an_error(tmp_path):
    """It is not taken for a folder without results."""
    with pytest.raises(UserError, match='no folder .*nowhere; give one'):
        tables.main(['--results', str(tmp_path / 'nowhere'), '--out', str(tmp_path)])


def test_files_that_are_no_results_are_passed_over(place):
    """They are damaged, from another program, or from a network that no longer exists."""
    contents = '{', '[]', '{"mean_iou": 1}', '{"settings": {"net": "old", "dataset": "x", "weights": []}}'
    for number, content in enumerate(contents):
        (place / 'out' / str(number)).mkdir(parents=True)
        (place / 'out' / str(number) / 'scores.json').write_text(content)
    assert find_results([place / 'out', place / 'nowhere']) == []


# The page


@pytest.fixture
def tested(result, place):
    """Two systems on three small CamVid images. Both label the first image worst, the second labels all of it wrongly."""
    data, records = place / 'data' / 'camvid', []
    data.mkdir(parents=True)
    truth = np.repeat(np.arange(3, dtype=np.uint8), 12 * 40).reshape(36, 40)
    for number, name in enumerate((WEIRD, 'b', 'c')):
        cv2.imwrite(str(data / f'{number}.png'), np.full((36, 40, 3), 60 * number, np.uint8))
        cv2.imwrite(str(data / f'{number}_label.png'), truth)
        records.append(Record(name, data / f'{number}.png', data / f'{number}_label.png', 'camvid'))
    save_split(data, 'test', records)
    for net, stage, wrong in (('front_camvid', 'camvid-front', 20), ('dilation8_camvid', 'camvid-joint', 36)):
        folder = result(net, 'test', stage, HALF)
        for record in records:
            labels = truth.copy()
            if record.id == WEIRD:
                labels[:wrong] = 7
            cv2.imwrite(str(folder / f'{record.id}.png'), labels)
        run = place / 'runs' / stage
        run.mkdir(parents=True)
        (run / 'metrics.csv').write_text('iteration,loss\n0,2.4\n1,1.2\n2,0.9\n')
    return place


def test_the_page_holds_everything_and_escapes_what_it_shows(tested, capsys):
    """Nothing is loaded from elsewhere. Ids are shown as text."""
    text = write(tested).read_text()
    assert WEIRD not in text and '&lt;b&gt;&#34;x&#34; &amp; y' in text
    assert not re.search(r'(src|href)="(?!data:|#)', text) and 'url(' not in text
    # three images of two systems side by side (4 pictures), one through the stages (4), 3 worst of each system (3); two curves
    assert text.count('<img') == 3 * 4 + 4 + 2 * 3 * 3 + 2
    assert '50.0' in capsys.readouterr().out
    assert '| Dilation8 | test | 65.3 |  |  | 50.0 | -15.3 |' in (tested / 'tables' / 'tables.md').read_text()


def test_the_worst_images_come_first(tested):
    """They are sorted by their mean IoU; two images are labelled right."""
    [result] = [result for result in find_results([tested / 'out']) if result.net == 'front_camvid']
    titles = [row.title for row in figures.worst(result, figures.records_of(result))]
    assert titles[0].startswith(f'{WEIRD}: ') and titles[1:] == [f'{name}: mean IoU of this image 100.0' for name in 'bc']


def test_the_page_shows_nothing_of_a_score_that_is_left_out(result, place):
    """It has no confusion matrix and no pictures of the authors' DeepLab on VOC's val, whole or in part."""
    data = place / 'data' / 'pascal_voc'
    data.mkdir(parents=True)
    deeplab = 'deeplab_largefov_pascal_voc'
    folders = [result(deeplab, 'val', deeplab, images=images) for images in (1449, 3)] + [
        result('fcn8s_pascal_voc', 'val', 'voc-fcn8s')
    ]
    for path in (data / 'a.png', data / 'a_label.png', *(folder / 'a.png' for folder in folders)):
        cv2.imwrite(str(path), np.zeros((36, 40), np.uint8))
    save_split(data, 'val', [Record('a', data / 'a.png', data / 'a_label.png', 'pascal_voc')])
    head, pictures, confusion = re.split('<h2 id="(?:pictures|confusion)">', write(place).read_text())
    assert 'fcn8s_pascal_voc, voc-fcn8s' in pictures and 'fcn8s_pascal_voc, voc-fcn8s' in confusion
    assert 'deeplab' not in pictures and 'deeplab' not in confusion
    for images in (1449, 3):
        assert f'Left out of this page: {deeplab}, released, pascal_voc val, {images} images: {DEEPLAB_SAW_VAL}.' in head


def test_a_page_without_results_has_all_tables(place, capsys):
    """It has no empty headings. Terminal, Markdown and page give the reason for a row that nothing fills."""
    page = write(place).read_text()
    assert all(f'Table {number}. ' in page for number in range(2, 9))
    assert 'Pictures' not in page and 'Confusion' not in page and '<img' not in page
    assert page.count('It prints no number for background, which its means count.') == 3  # Tables 2 to 4, of VOC
    said, text = capsys.readouterr().out, (place / 'tables' / 'tables.md').read_text()
    reason = 'needs unpooling to the places of the maxima, for which stock Caffe has no layer'
    assert re.search(r'SegNet +test +46\.4 +- +- +- +-\n', said) and f'\n  SegNet, test: {reason}\n' in said
    assert '| SegNet | test | 46.4 | - | - | - | - |' in text and f'| SegNet, test | {reason} |' in text
    assert f'SegNet, test: {reason}' in re.sub('<[^>]*>', '', page)
    assert 'Table 6. KITTI (paper, A.2)' in said


def test_images_of_another_size_have_pictures_of_their_own(tested, result):
    """Table 2 in miniature uses CamVid at 320x240, so its label maps do not stand beside those of whole images."""
    data = tested / 'data' / 'camvid-320x240'
    data.mkdir()
    save_split(data, 'test', [replace(record, size_wh=(20, 18)) for record in load_split(tested / 'data' / 'camvid', 'test')])
    folder = result('fcn8s_camvid_small', 'test', 'camvid-small-fcn8s', HALF)
    for record in load_split(data, 'test'):
        cv2.imwrite(str(folder / f'{record.id}.png'), np.zeros((18, 20), np.uint8))
    text = write(tested).read_text()
    assert re.findall('<h3>(camvid.*), test</h3>', text.partition('Pictures</h2>')[2]) == ['camvid-320x240', 'camvid']
    assert line(5, 'fcn8s_camvid_small, camvid-small-fcn8s', tested)[5] == '50.0'


@pytest.mark.parametrize('size', SIZES)
def test_the_page_in_a_browser(tested, chromium, size):
    """Pictures show, every link leads somewhere, ids are shown as text, and bars are as long as their numbers."""
    open_page(chromium, write(tested), size)
    assert_sound(chromium, size)
    shown = chromium.find_element('tag name', 'body').text
    assert re.search(r'SegNet .* test 46\.4 - - - -', shown)
    links = chromium.execute_script('return [...document.querySelectorAll("a")].map(a => a.hash.slice(1))')
    there = 'return !!document.getElementById(arguments[0])'
    assert len(links) == 10 and all(chromium.execute_script(there, link) for link in links)
    titles = chromium.execute_script('return [...document.querySelectorAll(".strip")].map(p => p.textContent)')
    assert any(WEIRD in title for title in titles)
    assert chromium.execute_script('return document.querySelectorAll("b b, p b, figcaption b").length') == 0
    lengths = chromium.execute_script('return [...document.querySelectorAll(".bar")].slice(0, 2).map(b => b.offsetWidth)')
    assert lengths[1] / lengths[0] == pytest.approx(50.0 / 82.6, rel=0.05)  # Building: ours and the paper's


def test_all_classes_are_in_sight_on_a_desktop(place, chromium):
    """Tables with 21 and 19 columns need no scrolling."""
    open_page(chromium, write(place), 'desktop')
    chromium.execute_script('document.querySelectorAll("details").forEach(part => part.open = true)')
    wide = 'return [...document.querySelectorAll(".wide")].map(part => part.scrollWidth - part.clientWidth)'
    assert chromium.execute_script(wide) == [0] * 14
