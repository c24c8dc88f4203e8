"""tools/runs.py: the list of runs, for each state of a run."""

import json
import os
import shutil
import signal

import pytest

from tests.train_data import asked, begin, finish, kill_all, losses, wait_for
from tools import runs as command
from tools.support.errors import UserError
from tools.training.overview import overview
from tools.training.session import train
from tools.training.snapshots import snapshots


@pytest.fixture(scope='module')
def finished(toy_maps, tmp_path_factory):
    """A run of 40 iterations with two made-up scores."""
    run_dir = tmp_path_factory.mktemp('runs') / 'mine'
    finish('toy-basic', '--lmdb', toy_maps, '--batch', 6, '--snapshot', 20, '--run-dir', run_dir, '--iters', 40)
    (run_dir / 'validation.csv').write_text('iteration,mean_iou\n20,0.25\n40,0.125\n')
    return run_dir


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of that run that a test may change."""
    return shutil.copytree(finished, tmp_path / 'run')


def append(path, text):
    """Add text to a file."""
    path.write_text(path.read_text() + text)


def test_finished_run(finished):
    """The loss is the mean of the last 25 rows."""
    found = overview(finished)
    assert (found.name, found.stage, found.state) == ('mine', 'toy-basic', 'finished')
    assert (found.iteration, found.max_iter, found.sessions) == (40, 40, 1)
    assert found.loss == pytest.approx(sum(losses(finished)[-25:]) / 25)
    assert (found.lr, found.best_iou, found.best_iteration) == (0.0003, 0.25, 20)
    assert found.snapshot == 'toy-basic_iter_40.caffemodel'


def test_training_and_killed_run(basic, tmp_path):
    """The lock shows that a run is training; a killed run has neither a lock nor an entry for its end."""
    process = begin(*basic, '--snapshot', 20, '--iters', 100_000)
    try:
        wait_for(lambda: len(snapshots(tmp_path / 'run')) > 1)
        assert overview(tmp_path / 'run').state == 'training'
        os.kill(process.pid, signal.SIGKILL)
        wait_for(lambda: overview(tmp_path / 'run').state != 'training')
    finally:
        kill_all(process)
    found = overview(tmp_path / 'run')
    assert found.state == 'killed' and 0 < found.iteration < 100_000


def test_failed_run_says_why(basic, tmp_path):
    """Its line says 'failed', and the reason is below the table."""
    with pytest.raises(UserError, match='diverged'):
        train(asked(*basic, '--iters', 100_000, '--max-loss', 1e-3))
    found = overview(tmp_path / 'run')
    assert found.state == 'failed' and 'on average for 50 iterations' in found.problem
    text = command.table([found])
    assert text.splitlines()[-1].startswith('run: ') and 'learning rate' in text.splitlines()[-1]


@pytest.mark.parametrize(
    ('name', 'content'),
    [
        ('run.json', b''),
        ('run.json', b'[]'),
        ('run.json', b'{"settings": {}, "sessions": []}'),
        ('run.json', b'{"settings": 1, "sessions": [{}]}'),
        ('metrics.csv', b'\xff\x00,x\n' * 30),
        ('validation.csv', b'iteration\nx\n'),
    ],
)
def test_damaged_file_is_a_state(copied, name, content):
    """The list still works, and the run's problem names the file."""
    (copied / name).write_bytes(content)
    found = overview(copied)
    assert found.state == 'damaged' and name in found.problem


def test_row_cut_short_does_not_count(copied):
    """The file may be read while a row is being written."""
    append(copied / 'metrics.csv', '40,1.')
    assert overview(copied).iteration == 40


def test_list(finished, capsys):
    """The columns have heads; a folder that is not a run is left out."""
    (finished.parent / 'something else').mkdir(exist_ok=True)
    command.main([str(finished.parent)])
    head, line = capsys.readouterr().out.splitlines()
    assert head.split('  ')[0] == 'run' and 'best IoU %' in head
    assert line.startswith('mine  finished  40 of 40') and '25.0 at 20' in line


def test_json(copied, capsys):
    """--json prints the fields of a run. JSON has no NaN: a strict parser would refuse the whole list."""
    append(copied / 'metrics.csv', '40,nan,0.001,0.1\n')
    command.main([str(copied.parent), '--json'])
    (found,) = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found['best_iou'] == 0.25 and found['snapshot'] == 'toy-basic_iter_40.caffemodel'
    assert found['loss'] is None and found['iteration'] == 41


def test_run_killed_after_its_end_is_finished_by_the_same_command(copied, basic):
    """Caffe had ended, but run.json did not say so and the curve was missing."""
    record = json.loads((copied / 'run.json').read_text())
    del record['sessions'][-1]['how']
    (copied / 'run.json').write_text(json.dumps(record))
    (copied / 'loss.png').unlink()
    assert overview(copied).state == 'killed'
    finish(*basic, '--iters', 40)
    assert overview(copied).state == 'finished' and (copied / 'loss.png').exists()


def test_missing_folder_names_the_command_that_makes_it(tmp_path):
    """The message contains the complete command."""
    with pytest.raises(UserError, match='no runs in .*make train-STAGE'):
        command.main([str(tmp_path / 'none')])
