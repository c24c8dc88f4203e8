"""The paper's tables with results beside them: which result fills which cell, what fills the blank ones, and the page."""

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
from prototxt.experiments import STAGES
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


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A computer with nothing on it; data, runs and results go below tmp_path."""
    for module in (figures, tables_text):
        monkeypatch.setattr(module, 'DATA', tmp_path / 'data')
    monkeypatch.setattr(figures, 'ROOT', tmp_path)
    monkeypatch.setattr(tables_page, 'RUNS', tmp_path / 'runs')
    return tmp_path


@pytest.fixture
def result(place):
    """Writes a scores.json as tools/test.py does, of the stage or the released file that the name of the weights is of."""

    def result(net, data, split, weights, matrix, images, **settings):
        folder = place / 'out' / f'{weights}-{images}-{split}-{len(settings)}'
        folder.mkdir(parents=True)
        scores = scoring.summary(dataset(data).classes, matrix, dataset(data).category_ids()) | {'images': images}
        settings = {
            'net': net,
            'dataset': data,
            'split': split,
            'weights': [['vgg16.caffemodel', 'x'], [weights, 'y']],
        } | settings
        stage = weights.partition('_iter_')[0]
        row = next((name for name, row in WEIGHTS.items() if row.file == weights), '')
        origin = {'stage': stage if stage in STAGES else '', 'row': row}
        (folder / 'scores.json').write_text(json.dumps(scores | {'settings': settings, 'origin': origin}))
        return folder

    return result


def line(number, name, place, split=None):
    table = TABLE[number]
    found = lines_of(table, find_results([place / 'out']))
    return next(cells(row, table) for row in found if row.name == name and split in (None, row.split))


HALF = np.full((11, 11), 0) + np.eye(11, dtype=int) * 20 + np.roll(np.eye(11, dtype=int), 1, axis=1) * 10  # 20 of 40: IoU 0.5


def test_results_stand_in_their_columns_with_the_difference(result, place):
    """IoU of every class 20 / (20 + 10 + 10); the paper has 65.3."""
    assert line(5, 'Dilation8', place) == ['Dilation8', 'test', '65.3', '', '', '', '']
    result('dilation8_camvid', 'camvid', 'test', 'camvid-joint_iter_20000.caffemodel', HALF, 233)
    assert line(5, 'Dilation8', place) == ['Dilation8', 'test', '65.3', '', '', '50.0', '-15.3']
    result('dilation8_camvid', 'camvid', 'test', 'dilation8_camvid.caffemodel', np.eye(11, dtype=int), 233)
    assert line(5, 'Dilation8', place) == ['Dilation8', 'test', '65.3', '100.0', '+34.7', '50.0', '-15.3']
    assert line(5, 'ALE', place) == ['ALE', 'test', '53.6', '-', '-', '-', '-']


@pytest.mark.parametrize(
    ('weights', 'images', 'settings'),
    [
        ('camvid-joint_iter_1.caffemodel', 232, {}),
        ('camvid-joint_iter_1.caffemodel', 233, {'crf': {'w1': 4}}),
        ('camvid-front_iter_1.caffemodel', 233, {}),
        ('mine.caffemodel', 233, {}),
    ],
)
def test_what_is_something_else_does_not_fill_a_cell(result, place, weights, images, settings):
    """Some of the images, refined scores, weights of another stage or of an unknown one."""
    result('dilation8_camvid', 'camvid', 'test', weights, HALF, images, **settings)
    assert line(5, 'Dilation8', place)[5] == ''


def test_networks_that_the_paper_has_not_come_after_its_rows(result, place):
    """With their own numbers and none of the paper."""
    result('front_camvid_fc128', 'camvid', 'test', 'camvid-cpu-front_iter_2202.caffemodel', HALF, 233)
    assert line(5, 'front_camvid_fc128, camvid-cpu-front', place)[2:] == ['', '', '', '50.0', '']


def test_categories_of_cityscapes_come_from_the_same_run(result, place):
    """A confusion inside a category costs the classes and not the category: truck for bus."""
    matrix = np.eye(19, dtype=int) * 10
    matrix[14, 14], matrix[14, 15] = 0, 10
    result('dilation10_cityscapes', 'cityscapes', 'val', 'cityscapes-joint_iter_60000.caffemodel', matrix, 500)
    assert line(7, 'Dilation10', place, 'val')[5] == f'{100 * (17 + 0 + 0.5) / 19:.1f}'
    assert line(8, 'Dilation10', place, 'val')[5] == '100.0'
    assert line(7, 'Dilation10', place, 'test')[5] == ''


def test_a_crf_fills_its_own_row(result, place):
    matrix = np.eye(21, dtype=int)
    result('dilation8_pascal_voc', 'pascal_voc', 'val', 'dilation8_pascal_voc.caffemodel', matrix, 1449, crf={'w1': 4})
    assert line(3, 'Front + Large + CRF', place)[3] == '100.0' and line(3, 'Front + Large', place)[3] == ''


def commands():
    for table in TABLES:
        for row in lines_of(table, []):
            yield from (*row.released_todo, *row.trained_todo)


@pytest.mark.parametrize('command', sorted(set(commands())), ids=' '.join)
def test_what_fills_a_cell_can_be_typed(command):
    """Targets are stages and weights that there are; options are those of the commands."""
    program, *words = command
    if program == 'make':
        kind, _, name = words[0].partition('-')
        assert name in {'train': {*STAGES, *CHAINS}, 'weights': WEIGHTS}[kind]
    else:
        commands = {'tools/test.py': test_command, 'tools/submit.py': submit, 'tools/crf_search.py': crf_search}
        commands[words[0]].parse_args(words[1:])


PRIOR_WORK_HERE = {(2, 'FCN-8s'), (2, 'DeepLab'), (2, 'DeepLab-Msc'), (4, 'DeepLab++'), (5, 'DeepLab-LFOV'), (6, 'DeepLab-LFOV')}
RELEASED_ONLY = {(4, 'CRF-RNN')}


def test_every_row_has_a_way_to_fill_it_or_a_reason_why_it_stays_the_papers():
    """What the paper made and the networks that it compares with can be run; other prior work cannot, and that is said."""
    for table in TABLES:
        for row in lines_of(table, []):
            trained = row.source == 'this paper' or (table.number, row.name) in PRIOR_WORK_HERE
            tested = trained or (table.number, row.name) in RELEASED_ONLY
            assert (bool(row.trained_todo), bool(row.not_trained)) == (trained, tested and not trained), row.name
            assert (bool(row.released_todo) or trained, bool(row.not_run)) == (tested, not tested), row.name


def test_a_row_that_only_released_weights_fill(result, place):
    """CRF-RNN: a dash for what is trained here, with the reason, and a note on the weights."""
    assert line(4, 'CRF-RNN', place) == ['CRF-RNN', 'test', '74.7', '', '', '-', '-']
    result('fcn8s_pascal_voc_crfrnn', 'pascal_voc', 'test', 'fcn8s_pascal_voc_crfrnn.caffemodel', np.eye(21, dtype=int), 1456)
    assert line(4, 'CRF-RNN', place) == ['CRF-RNN', 'test', '74.7', '100.0', '+25.3', '-', '-']
    text = terminal(TABLE[4], lines_of(TABLE[4], []))
    assert 'CRF-RNN, test, trained here: its authors give no settings for their training on COCO' in text
    assert 'CRF-RNN, test: the only model that its authors published' in text


def test_a_released_file_of_a_compared_network_fills_its_row(result, place):
    """fcn8s.caffemodel is its authors'; on VOC's val, which is not in Table 2, it fills nothing. LargeFOV is not its DeepLab."""
    [row] = [row for row in lines_of(TABLE[2], []) if row.name == 'FCN-8s']
    assert row.released_todo[0] == ('make', 'weights-fcn8s_pascal_voc')
    for net in ('fcn8s_pascal_voc', 'deeplab_largefov_pascal_voc'):
        result(net, 'pascal_voc', 'test', f'{net}.caffemodel', np.eye(21, dtype=int), 1456)
        result(net, 'pascal_voc', 'val', f'{net}.caffemodel', np.eye(21, dtype=int), 1449)
    assert line(2, 'FCN-8s', place) == ['FCN-8s', 'test', '62.2', '100.0', '+37.8', '', '']
    assert line(2, 'DeepLab', place) == ['DeepLab', 'test', '62.1', '', '', '', '']


def test_a_score_on_images_of_the_training_is_left_out(result, place):
    """DeepLab's authors trained their file on VOC's val too: it has a dash and the reason; one trained here has a number."""
    for net, file in (
        ('deeplab_largefov_pascal_voc', 'deeplab_largefov_pascal_voc.caffemodel'),
        ('fcn8s_pascal_voc', 'voc-fcn8s_iter_9.caffemodel'),
    ):
        result(net, 'pascal_voc', 'val', file, np.eye(21, dtype=int), 1449)
    assert line(3, 'deeplab_largefov_pascal_voc, released', place) == [
        'deeplab_largefov_pascal_voc, released',
        'val',
        '',
        '-',
        '-',
        '-',
        '-',
    ]
    assert line(3, 'fcn8s_pascal_voc, voc-fcn8s', place)[5] == '100.0'
    file = 'deeplab_largefov_pascal_voc.caffemodel'
    reason = f'{file} was trained on images of val (run_pascal.sh of its authors, train 2: trainval_aug)'
    assert reason in terminal(TABLE[3], lines_of(TABLE[3], find_results([place / 'out'])))


@pytest.mark.parametrize('size', SIZES)
def test_rows_that_stay_the_papers_are_marked_with_their_reason(tested, chromium, size, capsys):
    """A dash in each column of ours and the reason below, in the terminal, in Markdown and on the page."""
    page = write(tested)
    reason = 'needs unpooling to the places of the maxima, for which stock Caffe has no layer'
    said = capsys.readouterr().out
    assert re.search(r'SegNet +test +46\.4 +- +- +- +-\n', said) and f'\n  SegNet, test: {reason}\n' in said
    text = (tested / 'tables' / 'tables.md').read_text()
    assert '| SegNet | test | 46.4 | - | - | - | - |' in text and f'| SegNet, test | {reason} |' in text
    open_page(chromium, page, size)
    assert_sound(chromium, size)
    shown = chromium.find_element('tag name', 'body').text
    assert f'SegNet, test: {reason}' in shown and re.search(r'SegNet .* test 46\.4 - - - -', shown)


@pytest.mark.parametrize(
    ('number', 'name', 'stages'),
    [
        (7, 'Dilation10', ['cityscapes-front', 'cityscapes-context', 'cityscapes-joint']),
        (3, 'Front + Large', ['voc-coco-front', 'voc-coco-front-finetune', 'voc-context-large']),
        (2, 'Our front end', ['voc-front']),
    ],
)
def test_one_command_trains_all_that_a_row_needs(number, name, stages):
    """The stages before it and the stored maps between them, which one make train-STAGE after the other would miss."""
    row = next(row for row in lines_of(TABLE[number], []) if row.name == name)
    plain = {name: value for name, value in os.environ.items() if not name.startswith('MAKE')}  # not those of `make test`
    command = [*row.trained_todo[0], '-n']
    finished = subprocess.run(command, cwd=ROOT, env=plain, capture_output=True, text=True, check=True)
    args = train.parse_args(finished.stdout.partition('tools/train.py ')[2].replace('\\\n', ' ').split())
    assert args.options.chain or is_chain(args.stage)
    assert stages_of(ends(args.stage) if is_chain(args.stage) else (args.stage,)) == stages


def test_stages_of_one_network_do_not_share_weights_folders_or_archives(place):
    """Tables 2 and 4 have the front end of two trainings: what is printed names each one's snapshot, maps and submission."""
    typed = [next(row for row in lines_of(TABLE[number], []) if row.name.endswith('ront end')).trained_todo for number in (2, 4)]
    tested = [test_command.parse_args(commands[1][2:]) for commands in typed]
    packed = [submit.parse_args(commands[2][2:]) for commands in typed]
    stages = ['voc-front', 'voc-coco-front-finetune']
    last = [STAGES[stage].max_iter for stage in stages]
    wanted = [[Path(f'runs/{stage}/{stage}_iter_{count}.caffemodel')] for stage, count in zip(stages, last, strict=True)]
    assert [args.weights for args in tested] == wanted and [args.net for args in tested] == ['front_pascal_voc'] * 2
    assert [args.out for args in tested] == [args.pred for args in packed] == [Path(f'out/test/{name}/test') for name in stages]
    archives = [submit.default_out(args.dataset, args.split, args.pred).name for args in packed]
    assert archives == [f'pascal_voc_test_{stage}.tar.gz' for stage in stages]


def test_a_stage_on_stored_maps_is_tested_with_the_weights_that_made_them():
    """Front end, then context module; with a CRF its scores and parameters lie in folders of the stage, too."""
    row = next(row for row in lines_of(TABLE[3], []) if row.name == 'Front + Large + CRF')
    stored, searched, tested = (command[2:] for command in row.trained_todo[1:])
    stored, tested = test_command.parse_args(stored), test_command.parse_args(tested)
    assert [path.parent.name for path in stored.weights] == ['voc-coco-front-finetune', 'voc-context-large']
    assert tested.weights == stored.weights and stored.save_scores == Path('out/scores/voc-context-large')
    assert tested.crf == crf_search.parse_args(searched).out / 'crf.json' == Path('out/crf/voc-context-large/crf.json')
    assert (stored.out, tested.out) == (Path('out/test/voc-context-large/val'), Path('out/test/voc-context-large-crf/val'))


def test_results_of_two_trainings_of_one_network_fill_a_row_each(result, place):
    """By the stage in the name of the weights."""
    for stage, part in (('voc-front', 1), ('voc-coco-front-finetune', 0)):
        matrix = np.eye(21, dtype=int) + part * np.roll(np.eye(21, dtype=int), 1, axis=1)
        result('front_pascal_voc', 'pascal_voc', 'test', f'{stage}_iter_9.caffemodel', matrix, 1456)
    assert [line(2, 'Our front end', place)[5], line(4, 'Front end', place)[5]] == ['33.3', '100.0']


def test_crf_rnn_fills_its_own_row(result, place):
    """It is part of the network, which has a row of its own."""
    net = STAGES['voc-basic-crfrnn'].net
    result(net, 'pascal_voc', 'val', 'voc-basic-crfrnn_iter_100000.caffemodel', np.eye(21, dtype=int), 1449)
    assert line(3, 'Front + Basic + RNN', place)[5] == '100.0'


@pytest.fixture
def answered(place):
    """Label maps of Cityscapes' test that were sent away, with a server's answer beside them."""

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


def test_the_answer_of_a_server_fills_the_rows_of_its_split(answered, place):
    """Classes and categories, in percent as it was typed; on the page, too, which has no confusion of it."""
    assert 'server_scores.json beside the maps, fills the cell' in terminal(TABLE[7], lines_of(TABLE[7], []))
    answered(ANSWER)
    assert line(7, 'Dilation10', place, 'test')[5] == '67.1' and line(8, 'Dilation10', place, 'test')[5] == '86.5'
    [found] = find_results([place / 'out'])
    assert found.scores(TABLE[7])[:3] == pytest.approx([67.1, 97.6, None])
    assert 'Confusion' not in write(place).read_text()


def test_the_answer_for_maps_that_were_made_anew_since_is_passed_over(answered, place):
    answered(ANSWER, age_s=60)
    assert find_results([place / 'out']) == []


@pytest.mark.parametrize(
    ('answer', 'split', 'fault'),
    [
        (ANSWER | {'mean_iou': 0.671}, 'test', 'is to be in percent'),
        (ANSWER | {'mean_iou': 671}, 'test', 'between 0 and 100'),
        (ANSWER | {'class_iou': {'Street': 97.6}}, 'test', 'no class or category: Street'),
        (ANSWER | {'miou': 1}, 'test', 'no such entry: miou'),
        ({'class_iou': {}}, 'test', 'mean_iou'),
        ([67.1], 'test', 'tools/README.md'),
        (ANSWER, 'val', 'cityscapes val is scored here'),
    ],
)
def test_a_faulty_answer_is_named(answered, place, answer, split, fault):
    """It was typed by hand, and would be missed silently."""
    answered(answer, split)
    with pytest.raises(UserError, match=f'server_scores.json: .*{fault}'):
        find_results([place / 'out'])


def test_a_folder_that_is_not_there_is_named(tmp_path):
    """Not taken for one without results."""
    with pytest.raises(UserError, match='no folder .*nowhere; give one'):
        tables.main(['--results', str(tmp_path / 'nowhere'), '--out', str(tmp_path)])


def test_files_that_are_no_results_are_passed_over(place):
    """Damaged, of another program, of a network that is no more."""
    for number, content in enumerate(
        ('{', '[]', '{"mean_iou": 1}', '{"settings": {"net": "old", "dataset": "x", "weights": []}}')
    ):
        (place / 'out' / str(number)).mkdir(parents=True)
        (place / 'out' / str(number) / 'scores.json').write_text(content)
    assert find_results([place / 'out', place / 'nowhere']) == []


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
    """VOC, SBD and COCO; CRF-RNN takes whole images, DeepLab crops. Said on the page, in Markdown and in the terminal."""
    for name in there:
        (place / 'data' / 'pascal_voc' / name).mkdir(parents=True)
    assert dict(missing_data(TABLE[number], lines_of(TABLE[number], []))) == missing
    page = write(place).read_text().partition(f'id="table-{number}"')[2].partition('<h2')[0]
    texts = capsys.readouterr().out, (place / 'tables' / 'tables.md').read_text()
    assert re.findall('<li><code>(make lmdb.*?)</code>: (.*?)</li>', page) == list(missing.items())
    for text, row in zip(texts, ('\n  {}: {}\n', '\n| {1} | `{0}` |\n'), strict=True):
        section = text.partition(f'Table {number}. ')[2].partition(f'Table {number + 1}. ')[0]
        assert section.count('make lmdb') == len(missing) and all(row.format(*item) in section for item in missing.items())


def test_data_of_rows_that_are_filled_is_not_missed(result, place):
    """With both of CamVid's rows there, nothing is to be trained; with one, what the other takes."""
    result('dilation8_camvid', 'camvid', 'test', 'camvid-joint_iter_20000.caffemodel', HALF, 233)
    result('dilation8_camvid', 'camvid', 'test', 'dilation8_camvid.caffemodel', HALF, 233)

    def commands():
        return [command for command, _ in missing_data(TABLE[5], lines_of(TABLE[5], find_results([place / 'out'])))]

    assert commands() == ['make lmdb-camvid DATA=FOLDER', 'make lmdb-camvid DATA=FOLDER CROP_SIZE=700']
    result('deeplab_largefov_camvid', 'camvid', 'test', 'camvid-deeplab-largefov_iter_6000.caffemodel', HALF, 233)
    assert not commands()


def labelled_all_right(place, folder, name, split):
    """One image of noise in data/pascal_voc, and the truth as the label map that a result has of it."""
    data = place / 'data' / 'pascal_voc'
    data.mkdir(parents=True, exist_ok=True)
    for path in (data / f'{name}.png', data / f'{name}_label.png', folder / f'{name}.png'):
        cv2.imwrite(str(path), np.zeros((36, 40), np.uint8))
    save_split(data, split, [Record(name, data / f'{name}.png', data / f'{name}_label.png', 'pascal_voc')])


def test_the_page_shows_nothing_of_a_score_that_the_tables_leave_out(result, place):
    """Neither confusion nor pictures of the authors' DeepLab, which has seen VOC's val, be it the whole split or a part."""
    deeplab, fcn = 'deeplab_largefov_pascal_voc.caffemodel', 'voc-fcn8s_iter_9.caffemodel'
    for net, file, images in (
        ('deeplab_largefov_pascal_voc', deeplab, 1449),
        ('fcn8s_pascal_voc', fcn, 1449),
        ('deeplab_largefov_pascal_voc', deeplab, 3),
    ):
        folder = result(net, 'pascal_voc', 'val', file, np.eye(21, dtype=int), images)
        labelled_all_right(place, folder, 'a', 'val')
    head, pictures, confusion = re.split('<h2 id="(?:pictures|confusion)">', write(place).read_text())
    assert 'fcn8s_pascal_voc, voc-fcn8s' in pictures and 'fcn8s_pascal_voc, voc-fcn8s' in confusion
    assert 'deeplab' not in pictures and 'deeplab' not in confusion
    file = 'deeplab_largefov_pascal_voc.caffemodel'
    reason = f'{file} was trained on images of val (run_pascal.sh of its authors, train 2: trainval_aug)'
    for images in (1449, 3):
        assert f'Left out of this page: deeplab_largefov_pascal_voc, released, pascal_voc val, {images} images: {reason}.' in head


@pytest.fixture
def tested(result, place):
    """Two systems on three small CamVid images; the first image is labelled worst, by the second system wholly wrong."""
    data, records = place / 'data' / 'camvid', []
    data.mkdir(parents=True)
    truth = np.repeat(np.arange(3, dtype=np.uint8), 12 * 40).reshape(36, 40)
    for number, name in enumerate((WEIRD, 'b', 'c')):
        cv2.imwrite(str(data / f'{number}.png'), np.full((36, 40, 3), 60 * number, np.uint8))
        cv2.imwrite(str(data / f'{number}_label.png'), truth)
        records.append(Record(name, data / f'{number}.png', data / f'{number}_label.png', 'camvid'))
    save_split(data, 'test', records)
    for net, stage, wrong in (('front_camvid', 'camvid-front', 20), ('dilation8_camvid', 'camvid-joint', 36)):
        folder = result(net, 'camvid', 'test', f'{stage}_iter_9.caffemodel', HALF, 233)
        for record in records:
            labels = truth.copy()
            if record.id == WEIRD:
                labels[:wrong] = 7
            cv2.imwrite(str(folder / f'{record.id}.png'), labels)
        run = place / 'runs' / stage
        run.mkdir(parents=True)
        (run / 'metrics.csv').write_text('iteration,loss\n0,2.4\n1,1.2\n2,0.9\n')
    return place


def write(place):
    (place / 'out').mkdir(exist_ok=True)
    tables.main(['--out', str(place / 'tables'), '--results', str(place / 'out')])
    return place / 'tables' / 'report.html'


def test_the_page_holds_everything_and_escapes_what_it_shows(tested, capsys):
    """Nothing is loaded from elsewhere; ids are text."""
    text = write(tested).read_text()
    assert WEIRD not in text and '&lt;b&gt;&#34;x&#34; &amp; y' in text
    assert not re.search(r'(src|href)="(?!data:|#)', text) and 'url(' not in text
    # three images of two systems side by side (4 pictures), one through the stages (4), 3 worst of each system (3); two curves
    assert text.count('<img') == 3 * 4 + 4 + 2 * 3 * 3 + 2
    assert '50.0' in capsys.readouterr().out
    assert '| Dilation8 | test | 65.3 |  |  | 50.0 | -15.3 |' in (tested / 'tables' / 'tables.md').read_text()


def test_the_worst_images_come_first(tested):
    """By the mean IoU of each image: one third of it is right, then all."""
    [result] = [result for result in find_results([tested / 'out']) if result.net == 'front_camvid']
    records = figures.records_of(result)
    titles = [row.title for row in figures.worst(result, records)]
    assert titles[0].startswith(f'{WEIRD}: ') and titles[1:] == [f'{name}: mean IoU of this image 100.0' for name in 'bc']


def test_a_page_without_any_results_has_all_tables(place):
    """And no headings of what there is not."""
    text = write(place).read_text()
    assert all(f'Table {number}. ' in text for number in range(2, 9))
    assert 'Pictures' not in text and 'Confusion' not in text and '<img' not in text
    assert text.count('It prints no number for background, which its means count.') == 3  # Tables 2 to 4, of VOC


def test_the_terminal_names_the_paper_sections():
    assert terminal(TABLE[6], lines_of(TABLE[6], [])).startswith('Table 6. KITTI (paper, A.2)')


def test_images_of_another_size_have_pictures_of_their_own(tested):
    """Table 2 in miniature is of CamVid at 320x240: other files, so another place for its label maps beside each other."""
    data = tested / 'data' / 'camvid-320x240'
    data.mkdir()
    save_split(data, 'test', [replace(record, size_wh=(20, 18)) for record in load_split(tested / 'data' / 'camvid', 'test')])
    settings = {'net': 'fcn8s_camvid_small', 'dataset': 'camvid', 'split': 'test'}
    folder = tested / 'out' / 'small'
    folder.mkdir()
    scores = scoring.summary(dataset('camvid').classes, HALF) | {'images': 233}
    weights = {'weights': [['camvid-small-fcn8s_iter_367.caffemodel', 'y']]}
    origin = {'origin': {'stage': 'camvid-small-fcn8s', 'row': ''}}
    (folder / 'scores.json').write_text(json.dumps(scores | origin | {'settings': settings | weights}))
    for record in load_split(data, 'test'):
        cv2.imwrite(str(folder / f'{record.id}.png'), np.zeros((18, 20), np.uint8))
    text = write(tested).read_text()
    assert re.findall('<h3>(camvid.*), test</h3>', text.partition('Pictures</h2>')[2]) == ['camvid-320x240', 'camvid']
    assert line(5, 'fcn8s_camvid_small, camvid-small-fcn8s', tested)[5] == '50.0'


@pytest.mark.parametrize('size', SIZES)
def test_the_page_opens_in_a_browser(tested, chromium, size):
    """From disk: pictures show, nothing sticks out, every link of its head leads somewhere, ids are shown as they are."""
    open_page(chromium, write(tested), size)
    assert_sound(chromium, size)
    links = chromium.execute_script('return [...document.querySelectorAll("a")].map(a => a.hash.slice(1))')
    assert len(links) == 10 and all(
        chromium.execute_script('return !!document.getElementById(arguments[0])', link) for link in links
    )
    titles = chromium.execute_script('return [...document.querySelectorAll(".strip")].map(p => p.textContent)')
    assert any(WEIRD in title for title in titles)
    assert chromium.execute_script('return document.querySelectorAll("b b, p b, figcaption b").length') == 0


@pytest.mark.parametrize('size', SIZES)
def test_bars_are_as_long_as_their_numbers(tested, chromium, size):
    """Half of the scores of the paper's 82.6 and our 50.0 for Building: lengths in that proportion."""
    open_page(chromium, write(tested), size)
    lengths = chromium.execute_script('return [...document.querySelectorAll(".bar")].slice(0, 2).map(b => b.offsetWidth)')
    assert lengths[1] / lengths[0] == pytest.approx(50.0 / 82.6, rel=0.05)


def test_all_classes_are_in_sight_on_a_desktop(place, chromium):
    """Tables with 21 and 19 columns need no scrolling."""
    open_page(chromium, write(place), 'desktop')
    chromium.execute_script('document.querySelectorAll("details").forEach(part => part.open = true)')
    wide = 'return [...document.querySelectorAll(".wide")].map(part => part.scrollWidth - part.clientWidth)'
    assert chromium.execute_script(wide) == [0] * 14
