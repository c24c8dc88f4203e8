"""Snapshots are scored during a training and the best is kept; curves and events show the scores."""

import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from dataset_prep.datasets import dataset
from tests.train_data import asked, finish, rows, split_with_maps
from tools.inference.pictures import column
from tools.report.content import read_curve
from tools.report.strips import timeline
from tools.runs import table
from tools.support.errors import UserError
from tools.support.paths import ROOT
from tools.training import events, validation
from tools.training.overview import overview
from tools.training.scores import Score, best_score, contact_sheets, read_scores
from tools.training.session import train
from tools.training.snapshots import snapshots

EVERY_20 = '--val-every', 20


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """A folder with three images of the splits val and train, and their stored maps."""
    root = tmp_path_factory.mktemp('data')
    split_with_maps(root, 'val')
    split_with_maps(root, 'train')
    return root


@pytest.fixture
def words(basic, data):
    """The words of a command that trains Basic in `tmp_path`/run."""
    return *basic, '--data', data, '--snapshot', 10


@pytest.fixture(scope='module')
def scored(toy_maps, data, tmp_path_factory):
    """A finished run of 50 iterations. The snapshots at 20 and 40 were scored; those at 10, 30 and 50 were not."""
    run_dir = tmp_path_factory.mktemp('scored') / 'run'
    words = 'toy-basic', '--lmdb', toy_maps, '--batch', 6, '--data', data, '--snapshot', 10, '--run-dir', run_dir
    finish(*words, *EVERY_20, '--iters', 50, '--keep', 1, '--tensorboard')
    return run_dir


@pytest.fixture
def copied(scored, tmp_path):
    """A copy of that run where `words` train."""
    return shutil.copytree(scored, tmp_path / 'run')


def scores_at(run_dir):
    """The iterations that have a score."""
    return [score.iteration for score in read_scores(run_dir)]


def test_deleted_snapshots_are_scored(scored):
    """Every 20th iteration has a score, and none of these snapshots is kept."""
    assert scores_at(scored) == [20, 40]
    assert [snapshot.iteration for snapshot in snapshots(scored)] == [50]


def test_best_weights_are_kept_and_named(scored, data, tmp_path):
    """best.json names the best score of the table, and tools/test.py finds the same score for best.caffemodel."""
    best = best_score(read_scores(scored))
    assert json.loads((scored / 'best.json').read_text()) == {
        'iteration': best.iteration, 'mean_iou': best.mean_iou, 'split': 'val', 'limit': None,
    }  # fmt: skip
    assert not list((scored / 'validation').glob('*.caffemodel'))
    command = [
        sys.executable, ROOT / 'tools' / 'test.py', '--net', 'basic_toy', '--weights', scored / 'best.caffemodel',
        '--data', data / 'toy', '--split', 'val', '--features', data / 'toy' / 'val_final_toy-front', '--out', tmp_path / 'again',
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    assert json.loads((tmp_path / 'again' / 'scores.json').read_text())['mean_iou'] == best.mean_iou


def test_each_scoring_leaves_pictures_of_the_same_images(scored):
    """Both sheets show the same images and truth. runs.py names the newest; the report shows both in a row."""
    first, last = contact_sheets(scored).items()
    assert (first[0], last[0]) == (20, 40)
    sheets = [cv2.imread(str(path)) for _, path in (first, last)]
    for place in (0, 1):
        np.testing.assert_array_equal(*(column(sheet, place, dataset('toy')) for sheet in sheets))
    assert overview(scored).pictures == str(last[1]) == str(scored / 'validation' / 'iter_40.png')
    assert f'{scored.name}: pictures {last[1]}' in table([overview(scored)]).splitlines()
    row = timeline(read_curve('run', scored))
    assert [picture.caption for picture in row.pictures] == ['image', 'ground truth', 'iteration 20', 'iteration 40']


def test_a_run_without_scores(words, scored, tmp_path):
    """It has no pictures, and the plot of a run with scores is taller by one panel."""
    run_dir = tmp_path / 'run'
    finish(*words, '--iters', 2)
    assert overview(run_dir).pictures is None
    assert timeline(read_curve('run', run_dir)) is None
    plain, shown = (cv2.imread(str(folder / 'loss.png')) for folder in (run_dir, scored))
    assert shown.shape[0] - plain.shape[0] == 200
    assert shown.shape[1] == plain.shape[1]


def test_earliest_score_wins_a_tie():
    """Without scores there is no best."""
    assert best_score([Score(10, 0.25), Score(20, 0.5), Score(30, 0.5)]) == Score(20, 0.5)
    assert best_score([]) is None


def test_the_same_command_scores_what_was_not_scored(copied, words, capsys):
    """The training is finished, but it stopped before iteration 40 was scored. A worse score leaves the best weights."""
    (copied / 'best.caffemodel').rename(copied / 'validation' / 'iter_40.caffemodel')
    (copied / 'best.caffemodel').write_bytes(b'perfect')
    (copied / 'validation.csv').write_text('iteration,mean_iou\n20,1.0\n')
    finish(*words, *EVERY_20, '--iters', 50)
    assert scores_at(copied) == [20, 40]
    assert (copied / 'best.caffemodel').read_bytes() == b'perfect'
    assert 'already at iteration 50' in capsys.readouterr().out


def test_images_without_labels_do_not_stop_the_training(words, tmp_path, capsys):
    """A message names the log with the reason, and the training continues."""
    (split_with_maps(tmp_path, 'val') / 'val1_label.png').unlink()
    finish(*words, *EVERY_20, '--data', tmp_path, '--iters', 20)
    assert 'iter_20 could not be scored (status 1); see ' in capsys.readouterr().err
    assert 'no label of val1' in (tmp_path / 'run' / 'validation' / 'iter_20.log').read_text()
    assert scores_at(tmp_path / 'run') == []


@pytest.mark.parametrize(
    ('more', 'fault'),
    [
        (('--val-every', 15), 'not a multiple of the 10 iterations between snapshots'),
        (('--val-split', 'vale'), r'toy has no split vale \(train, val, test\)'),
        (('--val-split', 'test'), r'no list of the split test at .*test\.json; run: make lmdb-toy'),
    ],
)
def test_what_cannot_be_scored_is_refused_before_training(words, tmp_path, more, fault):
    """The message names the next step."""
    with pytest.raises(UserError, match=fault):
        train(asked(*words, *EVERY_20, *more))
    assert not (tmp_path / 'run').exists()


def test_split_without_ground_truth_is_refused_before_training(words, tmp_path):
    """This is the case for the test images of VOC and Cityscapes."""
    path = split_with_maps(tmp_path, 'val') / 'val.json'
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | {'records': [row | {'label': None} for row in content['records']]}))
    with pytest.raises(UserError, match='the split val of toy has no ground truth'):
        train(asked(*words, *EVERY_20, '--data', tmp_path))


@pytest.mark.parametrize('more', [('--val-limit', 2), ('--val-split', 'train')])
def test_scores_of_other_images_are_not_mixed(copied, words, more):
    """Scores on other images cannot be compared."""
    said = 'scored on val, all images, but this command asks for .*; give --val-split and --val-limit as before'
    with pytest.raises(UserError, match=said):
        train(asked(*words, *EVERY_20, *more, '--iters', 60))


def test_damaged_table_is_refused_before_training(copied, words):
    """The error must not come when the first curve is drawn."""
    (copied / 'validation.csv').write_text('iteration,mean_iou\n20,\n')
    with pytest.raises(UserError, match='validation.csv is damaged'):
        train(asked(*words, '--iters', 60))


def test_failed_scoring_is_tried_again_after_caffe_has_ended(words, tmp_path, monkeypatch):
    """The first try may have failed because Caffe used the memory of the GPU."""
    command, tries = validation._command, []

    def fails_once(settings, weights):
        tries.append(weights.stem)
        return ['false'] if len(tries) == 1 else command(settings, weights)

    monkeypatch.setattr(validation, '_command', fails_once)
    finish(*words, *EVERY_20, '--iters', 20)
    assert tries == ['iter_20', 'iter_20']
    assert scores_at(tmp_path / 'run') == [20]


def test_snapshots_that_wait_at_a_stop_are_reported(words, monkeypatch, capsys):
    """A stop does not wait for their scores."""
    monkeypatch.setattr(validation.Validation, 'keep_up', lambda _self: None)
    finish(*words, *EVERY_20, '--iters', 40)
    assert 'snapshots that wait to be scored: 2; the same command' in capsys.readouterr().out


def test_ctrl_c_while_the_last_snapshot_is_scored(words, tmp_path, monkeypatch):
    """The run counts as stopped, not as killed, and the same command scores the snapshot."""

    def interrupt(_validation):
        raise KeyboardInterrupt

    words = *words, *EVERY_20, '--iters', 20
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(validation.Validation, 'finish', interrupt)
        train(asked(*words))
    assert overview(tmp_path / 'run').state == 'stopped'
    finish(*words)
    assert overview(tmp_path / 'run').state == 'finished' and scores_at(tmp_path / 'run') == [20]


def test_events_hold_what_the_tables_hold(scored):
    """tensorboardX's protocol buffers read back a loss per iteration and a mean IoU per score."""
    from tensorboardX.proto.event_pb2 import Event

    found = {}
    (path,) = (scored / 'tensorboard').iterdir()
    for record in records_of(path.read_bytes()):
        event = Event.FromString(record)
        for value in event.summary.value:
            found.setdefault(value.tag, []).append((event.step, value.simple_value))
    assert found['loss'] == [(int(row['iteration']), pytest.approx(float(row['loss']))) for row in rows(scored)]
    assert [step for step, _ in found['mean_IoU']] == [20, 40]
    assert found['mean_IoU'] == [(score.iteration, pytest.approx(score.mean_iou)) for score in read_scores(scored)]


def records_of(content):
    """The records of a TFRecord file: length (8 bytes), checksum (4), record, checksum (4)."""
    while content:
        size = int.from_bytes(content[:8], 'little')
        yield content[12 : 12 + size]
        content = content[16 + size :]


def test_without_the_package_the_command_is_named(monkeypatch):
    """The message contains the pip command."""
    monkeypatch.setitem(sys.modules, 'tensorboardX', None)
    with pytest.raises(UserError, match="run: .venv/bin/pip install 'tensorboardX"):
        events.check_tensorboard()
