"""Steps of recipes, and the page of a report: its tables, curves and pictures."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from dataset_prep.contact_sheet import spread
from dataset_prep.datasets import dataset
from dataset_prep.records import Record
from tests.browser import SIZES, assert_sound, open_page
from tools.inference.pictures import contact_sheet
from tools.recipes.steps import Steps
from tools.report import page_pictures
from tools.report.content import Curve, Done, Scores, System, read_curve, read_scores
from tools.report.page import Report, text_table, write_report
from tools.report.paper_tables import PaperRow
from tools.support.errors import UserError
from tools.support.paths import ROOT
from tools.support.sheets import GAP, LINE
from tools.support.stop_signals import STOPPED
from tools.training.scores import Score


def test_a_recipe_stops_at_the_first_failure(tmp_path):
    """The message names the command and its status. The record has the commands before it too."""
    recipe = Steps(tmp_path / 'steps.json', 'rm -r demo')
    recipe.do('works', '-c', 'pass')
    with pytest.raises(UserError, match='fails.*status 3.*to begin anew: rm -r demo'):
        recipe.do('fails', '-c', 'import sys; sys.exit(3)')
    assert [done.title for done in recipe.done] == ['works']
    assert [row['title'] for row in json.loads((tmp_path / 'steps.json').read_text())] == ['works', 'fails']


@pytest.mark.parametrize('text', ['{', '{}x', '[1]', '[{"command": "x"}]'])
def test_a_damaged_record_is_named(tmp_path, text):
    """The message says to delete it; it only holds seconds."""
    (tmp_path / 'steps.json').write_text(text)
    with pytest.raises(UserError, match=r'steps.json is not the record .* delete it'):
        Steps(tmp_path / 'steps.json', 'x')


def test_seconds_of_a_command_add_up(tmp_path):
    """The record keeps the seconds of earlier runs, also for commands that do not run now."""
    rows = [dict(title=title, command=f'python -c {title}', seconds=1234.5) for title in ('pass', 'other')]
    (tmp_path / 'steps.json').write_text(json.dumps(rows))
    recipe = Steps(tmp_path / 'steps.json', '')
    recipe.do('pass', '-c', 'pass')
    first, other = json.loads((tmp_path / 'steps.json').read_text())
    assert first['seconds'] > 1234.5 and other == rows[1]
    assert recipe.done == [Done(**first)]


# A step that needs a second to end after a stop signal, and then writes the number of the signal.
SLOW_TO_STOP = """
import pathlib, signal, sys, time
def stop(number, frame):
    time.sleep(1)
    pathlib.Path(sys.argv[1]).write_text(str(number))
    sys.exit(130)
signal.signal(signal.SIGINT, stop)
signal.signal(signal.SIGTERM, stop)
print('ready', flush=True)
time.sleep(60)
"""
RECIPE = """
import sys
from pathlib import Path
from tools.recipes.steps import Steps
recipe = Steps(Path(sys.argv[1]) / 'steps.json', 'anew')
recipe.do('slow', '-c', sys.argv[2], str(Path(sys.argv[1]) / 'saved'))
recipe.do('next', '-c', 'pass')
"""


@pytest.mark.parametrize(('number', 'whole_group'), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_a_stopped_recipe_waits_for_its_step(tmp_path, number, whole_group):
    """The terminal sends Ctrl-C to the whole group; only the recipe gets SIGTERM and must pass it on."""
    command = [sys.executable, '-c', RECIPE, str(tmp_path), SLOW_TO_STOP]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while process.stdout.readline() not in ('ready\n', ''):
        pass
    (os.killpg if whole_group else os.kill)(process.pid, number)
    out, err = process.communicate(timeout=30)
    assert (tmp_path / 'saved').read_text() == str(int(number))
    assert process.returncode == STOPPED
    assert 'stopped; the same command goes on' in err and 'next' not in out
    assert json.loads((tmp_path / 'steps.json').read_text())[0]['seconds'] > 1


def test_the_text_table_is_in_percent():
    """A class that does not occur has a dash. The mean comes last."""
    table = text_table([Scores('Front end', 0.375, {'sky': 0.5, 'barn': None}, 2)])
    header, row = table.splitlines()
    assert header.split() == ['sky', 'barn', 'mean', 'IoU']
    assert row.split() == ['Front', 'end', '50.0', '-', '37.5']


def test_a_curve_has_losses_and_the_scores_of_snapshots(tmp_path):
    """Columns are found by name. Snapshots need not be scored."""
    (tmp_path / 'metrics.csv').write_text('lr,iteration,loss\n0.1,0,2.5\n0.1,20,1.25\n')
    assert read_curve('x', tmp_path) == Curve('x', [0, 20], [2.5, 1.25], run_folder=tmp_path)
    (tmp_path / 'validation.csv').write_text('iteration,mean_iou\n20,0.5\n')
    assert read_curve('x', tmp_path).val_iou == (Score(20, 0.5),)


def test_a_summed_loss_is_divided_by_the_pixels(tmp_path):
    """A sum of 24 over 8 pixels is drawn as 3."""
    (tmp_path / 'metrics.csv').write_text('iteration,loss\n0,24\n')
    (tmp_path / 'run.json').write_text('{"settings": {}, "sessions": [], "pixels_summed": 8}')
    assert read_curve('x', tmp_path).losses == [3]


def test_records_are_taken_at_even_distances():
    """Six of 24 are every 4.6th, rounded. If fewer exist, all are taken; one is the first."""
    assert spread(list(range(24)), 6) == [0, 5, 9, 14, 18, 23]
    assert (spread([1, 2], 6), spread([1, 2, 3], 1)) == ([1, 2], [1])


@pytest.fixture
def tested(tmp_path):
    """A report on one image, half sky and half lake, which one system labels as half field and half boat."""
    label = np.zeros((16, 24), np.uint8)
    label[8:] = 5
    cv2.imwrite(str(tmp_path / 'a.png'), np.full((16, 24, 3), 200, np.uint8))
    cv2.imwrite(str(tmp_path / 'a_label.png'), label)
    record = Record('a', tmp_path / 'a.png', tmp_path / 'a_label.png', 'toy')
    system = System('Front <end>', tmp_path / 'system')
    system.folder.mkdir()
    cv2.imwrite(str(system.folder / 'a.png'), np.where(label == 5, 3, 6).astype(np.uint8))
    scores = dict(mean_iou=0.25, class_iou={name: None for name in dataset('toy').classes}, images=1)
    (system.folder / 'scores.json').write_text(json.dumps(scores))
    curve = Curve('front', [0, 1, 2], [2.0, 1.0, 0.5])
    return Report('A & B', ['note'], dataset('toy'), [record], [system], [curve], [Done('step', 'python x', 2.0)])


def test_a_row_shows_image_truth_and_prediction(tested):
    """The pictures are BGR, the palette is RGB."""
    image, truth, prediction = page_pictures.row(tested.records[0], tested.systems, tested.dataset)
    palette = tested.dataset.palette
    assert image[0, 0].tolist() == [200, 200, 200]
    assert (tuple(truth[0, 0][::-1]), tuple(truth[15, 0][::-1])) == (palette[0], palette[5])
    assert (tuple(prediction[0, 0][::-1]), tuple(prediction[15, 0][::-1])) == (palette[6], palette[3])


def test_the_page_escapes_names_and_contains_its_pictures(tested, tmp_path):
    """It loads nothing from elsewhere."""
    picture, page = write_report(tested, tmp_path / 'out')
    text = page.read_text()
    assert 'A &amp; B' in text
    assert 'Front &lt;end&gt;' in text
    assert text.count('src="data:image/png;base64,') == 3 and text.count('src="data:image/jpeg;base64,') == 1
    assert 'http' not in text
    assert cv2.imread(str(picture)).shape[1] == 3 * 360 + 2 * GAP


def test_the_page_shows_fcns_other_measures(tested, tmp_path):
    """It does so if scores.json has them."""
    path = tested.systems[0].folder / 'scores.json'
    measures = {'frequency_weighted_iou': 0.5, 'mean_class_accuracy': 0.625, 'pixel_accuracy': None}
    path.write_text(json.dumps(json.loads(path.read_text()) | measures))
    write_report(tested, tmp_path)
    expected = 'Front &lt;end&gt;: frequency-weighted IoU 50.0 %, mean class accuracy 62.5 %, pixel accuracy - %'
    assert expected in (tmp_path / 'report.html').read_text()


def test_the_page_shows_validation_and_the_papers_classes(tested, tmp_path):
    """These are two more pictures. A row of the paper on another data set only gives its mean."""
    row = PaperRow('', 'Front <end>', 'toy', 'test', (50.0,) * 7, 49.9)
    scored = replace(tested, curves=[replace(tested.curves[0], val_iou=(Score(2, 0.5),))])
    for data, images in (('toy', 5), ('camvid', 4)):
        paper = {'Front <end>': replace(row, dataset=data)}
        text = write_report(replace(scored, paper=paper), tmp_path / data)[1].read_text()
        assert text.count('src="data:image/png;base64,') == images and '<td>49.9</td>' in text


def test_the_page_shows_how_snapshots_label_the_same_images(tested, tmp_path, chromium):
    """The row has image, truth and a picture for each of two contact sheets. It scrolls on a phone."""
    panels = [np.full((16, 24, 3), 40 * place, np.uint8) for place in range(4)]
    (tmp_path / 'validation').mkdir()
    for iteration in (50, 100):
        cv2.imwrite(str(tmp_path / 'validation' / f'iter_{iteration}.png'), contact_sheet([('a', panels)], tested.dataset))
    (tmp_path / 'run.json').write_text('{"settings": {"stage": "toy-front"}, "sessions": []}')
    curve = replace(tested.curves[0], run_folder=tmp_path)
    page = write_report(replace(tested, curves=[curve]), tmp_path / 'out')[1]
    open_page(chromium, page, 'phone')
    assert_sound(chromium, 'phone')
    captions = chromium.execute_script('return [...document.querySelectorAll(".timeline figcaption")].map(c => c.textContent)')
    assert captions == ['image', 'ground truth', 'iteration 50', 'iteration 100']


def test_missing_results_are_named(tested, tmp_path):
    """First the label map of a shown image, then the scores."""
    (tested.systems[0].folder / 'a.png').unlink()
    with pytest.raises(UserError, match='no label map at .*a.png; run tools/test.py'):
        write_report(tested, tmp_path / 'out')
    with pytest.raises(UserError, match='no scores at .*scores.json; run tools/test.py for Front end'):
        read_scores(System('Front end', tmp_path))


def test_a_sheet_has_a_bar_of_titles():
    """Below it are two rows of two pictures, each 40 x 20 pixels."""
    picture = np.zeros((10, 20, 3), np.uint8)
    sheet = page_pictures.sheet([[picture, picture]] * 2, ['a', 'b'], width_px=40)
    assert sheet.shape == (LINE + 2 * (GAP + 20), 2 * 40 + GAP, 3)


@pytest.mark.parametrize('size', SIZES)
def test_the_page_in_a_browser(tested, tmp_path, chromium, size):
    """It opens from disk on a desktop and a phone, and shows names as they are."""
    open_page(chromium, write_report(tested, tmp_path / 'out')[1], size)
    assert_sound(chromium, size)
    captions = chromium.execute_script('return [...document.querySelectorAll("figcaption")].map(c => c.textContent)')
    assert captions == ['Image', 'Ground truth', 'Front <end>']
