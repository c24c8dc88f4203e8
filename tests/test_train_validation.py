"""Snapshots are scored during a training and the best is kept; curves and events show the scores."""

import json
import shutil
import subprocess
import sys

import cv2
import numpy as np
import pytest

from dataset_prep.datasets import dataset
from tests.train_data import asked, maps_lmdb, rows, split_with_maps
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


@pytest.fixture(scope='module')
def words(tmp_path_factory):
    """The words of a command that trains Basic and scores some snapshots on three images."""
    root = tmp_path_factory.mktemp('data')
    split_with_maps(root, 'val')
    return 'toy-basic', '--lmdb', maps_lmdb(root), '--batch', 2, '--data', root, '--snapshot', 10, '--val-every', 20


@pytest.fixture(scope='module')
def scored(words, tmp_path_factory):
    """A finished run of 50 iterations. The snapshots at 20 and 40 were scored; those at 10, 30 and 50 were not."""
    run_dir = tmp_path_factory.mktemp('scored') / 'run'
    assert train(asked(*words, '--run-dir', run_dir, '--iters', 50, '--keep', 1, '--tensorboard')) == 0
    return run_dir


def score_again(run_dir, words, weights):
    """Mean IoU of a weight file, from tools/test.py."""
    data = words[words.index('--data') + 1] / 'toy'
    command = [
        sys.executable, str(ROOT / 'tools' / 'test.py'), '--net', 'basic_toy', '--weights', str(weights), '--data', str(data),
        '--split', 'val', '--features', str(data / 'val_final_toy-front'), '--out', str(run_dir / 'again'),
    ]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return json.loads((run_dir / 'again' / 'scores.json').read_text())['mean_iou']


def test_deleted_snapshots_are_scored(scored):
    """Every 20th iteration has a score, and none of these snapshots is kept."""
    assert [score.iteration for score in read_scores(scored)] == [20, 40]
    assert [snapshot.iteration for snapshot in snapshots(scored)] == [50]


def test_best_weights_are_kept_and_named(scored, words):
    """best.caffemodel has the best score of the table, and best.json names its iteration."""
    best = best_score(read_scores(scored))
    assert json.loads((scored / 'best.json').read_text()) == {
        'iteration': best.iteration, 'mean_iou': best.mean_iou, 'split': 'val', 'limit': None,
    }  # fmt: skip
    assert score_again(scored, words, scored / 'best.caffemodel') == best.mean_iou
    assert not list((scored / 'validation').glob('*.caffemodel'))


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


def test_a_run_without_scores_has_no_pictures(words, tmp_path):
    assert train(asked(*words[:-2], '--run-dir', tmp_path / 'run', '--iters', 2)) == 0
    assert overview(tmp_path / 'run').pictures is None
    assert timeline(read_curve('run', tmp_path / 'run')) is None


def test_earliest_score_wins_a_tie():
    """Without scores there is no best."""
    assert best_score([Score(10, 0.25), Score(20, 0.5), Score(30, 0.5)]) == Score(20, 0.5)
    assert best_score([]) is None


def test_worse_score_leaves_the_best(scored, words, tmp_path, monkeypatch, capsys):
    """A run with an earlier perfect score keeps those weights."""
    run_dir = tmp_path / 'run'
    assert train(asked(*words[:-2], '--run-dir', run_dir, '--iters', 20)) == 0
    (run_dir / 'validation.csv').write_text('iteration,mean_iou\n10,1.0\n')
    (run_dir / 'best.caffemodel').write_bytes(b'perfect')
    assert train(asked(*words, '--run-dir', run_dir, '--iters', 20)) == 0
    assert [score.iteration for score in read_scores(run_dir)] == [10, 20]
    assert (run_dir / 'best.caffemodel').read_bytes() == b'perfect'


def test_the_same_command_scores_what_was_not_scored(scored, words, tmp_path, capsys):
    """The training is finished, but it stopped before iteration 40 was scored."""
    run_dir = shutil.copytree(scored, tmp_path / 'run')
    shutil.copy(run_dir / 'best.caffemodel', run_dir / 'validation' / 'iter_40.caffemodel')
    first = read_scores(run_dir)[0]
    (run_dir / 'validation.csv').write_text(f'iteration,mean_iou\n20,{first.mean_iou}\n')
    assert train(asked(*words, '--run-dir', run_dir, '--iters', 50)) == 0
    assert [score.iteration for score in read_scores(run_dir)] == [20, 40]
    assert 'already at iteration 50' in capsys.readouterr().out


def test_images_without_labels_do_not_stop_the_training(words, tmp_path, capsys):
    """A message names the log with the reason, and the training continues."""
    data = split_with_maps(tmp_path / 'data', 'val')
    (data / 'val1_label.png').unlink()
    own = [tmp_path / 'data' if word == words[words.index('--data') + 1] else word for word in words]
    assert train(asked(*own, '--run-dir', tmp_path / 'run', '--iters', 20)) == 0
    assert 'iter_20 could not be scored (status 1); see ' in capsys.readouterr().err
    assert 'no label of val1' in (tmp_path / 'run' / 'validation' / 'iter_20.log').read_text()
    assert read_scores(tmp_path / 'run') == []


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
        train(asked(*words, *more, '--run-dir', tmp_path / 'run'))
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize('more', [('--val-limit', 2), ('--val-split', 'train')])
def test_scores_of_other_images_are_not_mixed(scored, words, tmp_path, more):
    """Scores on other images cannot be compared."""
    split_with_maps(words[words.index('--data') + 1], 'train')
    run_dir = shutil.copytree(scored, tmp_path / 'run')
    said = 'scored on val, all images, but this command asks for .*; give --val-split and --val-limit as before'
    with pytest.raises(UserError, match=said):
        train(asked(*words, *more, '--run-dir', run_dir, '--iters', 60))


def test_split_without_ground_truth_is_refused_before_training(words, tmp_path):
    """This is the case for the test images of VOC and Cityscapes."""
    data = split_with_maps(tmp_path / 'data', 'val')
    content = json.loads((data / 'val.json').read_text())
    content['records'] = [row | {'label': None} for row in content['records']]
    (data / 'val.json').write_text(json.dumps(content))
    own = [tmp_path / 'data' if word == words[words.index('--data') + 1] else word for word in words]
    with pytest.raises(UserError, match='the split val of toy has no ground truth'):
        train(asked(*own, '--run-dir', tmp_path / 'run', '--iters', 20))


def test_failed_scoring_is_tried_again_after_caffe_has_ended(words, tmp_path, monkeypatch, capsys):
    """The first try may have failed because Caffe used the memory of the GPU."""
    command, tries = validation._command, []

    def fails_once(settings, weights):
        tries.append(weights.stem)
        return ['false'] if len(tries) == 1 else command(settings, weights)

    monkeypatch.setattr(validation, '_command', fails_once)
    assert train(asked(*words, '--run-dir', tmp_path / 'run', '--iters', 20)) == 0
    assert tries == ['iter_20', 'iter_20']
    assert [score.iteration for score in read_scores(tmp_path / 'run')] == [20]


def test_snapshots_that_wait_at_a_stop_are_reported(words, tmp_path, monkeypatch, capsys):
    """A stop does not wait for their scores."""
    monkeypatch.setattr(validation.Validation, 'keep_up', lambda _self: None)
    assert train(asked(*words, '--run-dir', tmp_path / 'run', '--iters', 40)) == 0
    assert 'snapshots that wait to be scored: 2; the same command' in capsys.readouterr().out


def test_ctrl_c_while_the_last_snapshot_is_scored(words, tmp_path, monkeypatch, capsys):
    """The run counts as stopped, not as killed, and the same command scores the snapshot."""

    def interrupt(_validation):
        raise KeyboardInterrupt

    words = *words, '--run-dir', tmp_path / 'run', '--iters', 20
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(validation.Validation, 'finish', interrupt)
        train(asked(*words))
    assert overview(tmp_path / 'run').state == 'stopped'
    assert train(asked(*words)) == 0
    assert overview(tmp_path / 'run').state == 'finished' and len(read_scores(tmp_path / 'run')) == 1


def test_damaged_table_is_refused_before_training(scored, words, tmp_path):
    """The error must not come when the first curve is drawn."""
    run_dir = shutil.copytree(scored, tmp_path / 'run')
    (run_dir / 'validation.csv').write_text('iteration,mean_iou\n20,\n')
    with pytest.raises(UserError, match='validation.csv is damaged'):
        train(asked(*words[:-2], '--run-dir', run_dir, '--iters', 60))


def test_curves_show_the_scores(scored, tmp_path, words, capsys):
    """The plot of a run with scores is taller by one panel."""
    assert train(asked(*words[:-2], '--run-dir', tmp_path / 'run', '--iters', 2)) == 0
    plain, shown = (cv2.imread(str(folder / 'loss.png')) for folder in (tmp_path / 'run', scored))
    assert shown.shape[0] - plain.shape[0] == 200
    assert shown.shape[1] == plain.shape[1]


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
