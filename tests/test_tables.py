"""The paper's tables with results beside them: which result fills which cell, what fills the blank ones, and the page."""

import json
import re

import cv2
import numpy as np
import pytest

from dataset_prep.datasets import dataset
from dataset_prep.records import Record, save_split
from pretrained.weights import WEIGHTS
from prototxt.experiments import STAGES
from tests.browser import SIZES, assert_sound, open_page
from tools import crf_search, scoring, submit, tables
from tools import test as test_command
from tools.paper_tables import TABLE, TABLES
from tools.report import figures, tables_page
from tools.report.results import find_results, lines_of
from tools.report.tables_text import cells, terminal
from tools.scoring.benchmarks import CATEGORIES

WEIRD = '<b>"x" & y'  # an id that a page must not take for markup


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A computer with nothing on it; data, runs and results go below tmp_path."""
    for module in (figures, tables_page):
        monkeypatch.setattr(module, 'DATA', tmp_path / 'data')
    monkeypatch.setattr(figures, 'ROOT', tmp_path)
    monkeypatch.setattr(tables_page, 'RUNS', tmp_path / 'runs')
    return tmp_path


@pytest.fixture
def result(place):
    """Writes a scores.json as tools/test.py does."""

    def result(net, data, split, weights, matrix, images, **settings):
        folder = place / 'out' / f'{weights}-{images}-{split}-{len(settings)}'
        folder.mkdir(parents=True)
        scores = scoring.summary(dataset(data).classes, matrix, CATEGORIES.get(data)) | {'images': images}
        settings = {
            'net': net,
            'dataset': data,
            'split': split,
            'weights': [['vgg16.caffemodel', 'x'], [weights, 'y']],
        } | settings
        (folder / 'scores.json').write_text(json.dumps(scores | {'settings': settings}))
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
    assert line(5, 'ALE', place) == ['ALE', 'test', '53.6', '', '', '', '']


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


@pytest.mark.parametrize('command', sorted(set(commands())))
def test_what_fills_a_cell_can_be_typed(command):
    """Targets are stages and weights that there are; options are those of the commands."""
    program, *words = command.split()
    if program == 'make':
        kind, _, name = words[0].partition('-')
        assert name in {'train': STAGES, 'weights': WEIGHTS}[kind]
    else:
        commands = {'tools/test.py': test_command, 'tools/submit.py': submit, 'tools/crf_search.py': crf_search}
        commands[words[0]].parse_args(words[1:])


def test_every_row_of_ours_has_a_way_to_fill_it():
    """Prior work has none; CRF-RNN has one when its stages are in the table."""
    for table in TABLES:
        for row in lines_of(table, []):
            ours = row.source == 'this paper' and not row.name.endswith(('RNN', 'CRF-RNN'))
            assert bool(row.trained_todo) == ours or row.name.endswith('RNN'), row.name


def test_earlier_stages_come_first():
    """Cityscapes: front end, context, joint (paper A.3)."""
    [row] = [row for row in lines_of(TABLE[7], []) if row.split == 'val']
    assert row.trained_todo[:3] == tuple(f'make train-cityscapes-{stage}' for stage in ('front', 'context', 'joint'))


def test_files_that_are_no_results_are_passed_over(place):
    """Damaged, of another program, of a network that is no more."""
    for number, content in enumerate(
        ('{', '[]', '{"mean_iou": 1}', '{"settings": {"net": "old", "dataset": "x", "weights": []}}')
    ):
        (place / 'out' / str(number)).mkdir(parents=True)
        (place / 'out' / str(number) / 'scores.json').write_text(content)
    assert find_results([place / 'out', place / 'nowhere']) == []


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


def test_the_terminal_names_the_paper_sections():
    assert terminal(TABLE[6], lines_of(TABLE[6], [])).startswith('Table 6. KITTI (paper, A.2)')


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
