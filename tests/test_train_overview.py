"""tools/runs.py: the list of runs, for each state of a run."""

import json
import os
import shutil
import signal

import pytest

from tests.train_data import asked, begin, kill_all, maps_lmdb, rows, wait_for
from tools import runs as command
from tools.support.errors import UserError
from tools.training.overview import overview
from tools.training.session import train
from tools.training.snapshots import snapshots


@pytest.fixture(scope='module')
def words(tmp_path_factory):
    """The words of a command that trains Basic."""
    return 'toy-basic', '--lmdb', maps_lmdb(tmp_path_factory.mktemp('maps')), '--batch', 2, '--snapshot', 20


@pytest.fixture(scope='module')
def finished(words, tmp_path_factory):
    """A run of 40 iterations with two made-up scores."""
    run_dir = tmp_path_factory.mktemp('runs') / 'mine'
    assert train(asked(*words, '--run-dir', run_dir, '--iters', 40)) == 0
    (run_dir / 'validation.csv').write_text('iteration,mean_iou\n20,0.25\n40,0.125\n')
    return run_dir


def test_finished_run(finished):
    """The loss is the mean of the last 25 rows."""
    found = overview(finished)
    assert (found.name, found.stage, found.state) == ('mine', 'toy-basic', 'finished')
    assert (found.iteration, found.max_iter, found.sessions) == (40, 40, 1)
    last = [float(row['loss']) for row in rows(finished)][-25:]
    assert found.loss == pytest.approx(sum(last) / 25)
    assert (found.lr, found.best_iou, found.best_iteration) == (0.0003, 0.25, 20)
    assert found.snapshot == 'toy-basic_iter_40.caffemodel'


def test_training_and_killed_run(words, tmp_path):
    """The lock shows that a run is training; a killed run has neither a lock nor an entry for its end."""
    process = begin(*words, '--run-dir', tmp_path / 'run', '--iters', 100_000)
    try:
        wait_for(lambda: len(snapshots(tmp_path / 'run')) > 1)
        assert overview(tmp_path / 'run').state == 'training'
        os.kill(process.pid, signal.SIGKILL)
        wait_for(lambda: overview(tmp_path / 'run').state != 'training')
    finally:
        kill_all(process)
    found = overview(tmp_path / 'run')
    assert found.state == 'killed' and 0 < found.iteration < 100_000


def test_failed_run_says_why(words, tmp_path):
    """Its line says 'failed', and the reason is below the table."""
    with pytest.raises(UserError, match='diverged'):
        train(asked(*words, '--run-dir', tmp_path / 'run', '--iters', 100_000, '--max-loss', 1e-3))
    found = overview(tmp_path / 'run')
    assert found.state == 'failed' and 'on average for 50 iterations' in found.problem
    text = command.table([found])
    assert text.splitlines()[-1].startswith('run: ') and 'learning rate' in text.splitlines()[-1]


@pytest.mark.parametrize('content', ['', '{"settings": {}, "sessions": []}', '[]', '{"settings": 1, "sessions": [{}]}'])
def test_damaged_record_is_a_state(finished, tmp_path, content):
    """run.json cannot be read; the list still works."""
    run_dir = shutil.copytree(finished, tmp_path / 'run')
    (run_dir / 'run.json').write_text(content)
    assert overview(run_dir).state == 'damaged'


@pytest.mark.parametrize(('name', 'content'), [('metrics.csv', b'\xff\x00,x\n' * 30), ('validation.csv', b'iteration\nx\n')])
def test_damaged_table_is_named(finished, tmp_path, name, content):
    """The run is damaged, and its problem names the file."""
    run_dir = shutil.copytree(finished, tmp_path / 'run')
    (run_dir / name).write_bytes(content)
    found = overview(run_dir)
    assert found.state == 'damaged' and f'{name} is damaged' in found.problem


def test_row_cut_short_does_not_count(finished, tmp_path):
    """The file may be read while a row is being written."""
    run_dir = shutil.copytree(finished, tmp_path / 'run')
    with (run_dir / 'metrics.csv').open('a') as file:
        file.write('40,1.')
    assert overview(run_dir).iteration == 40


def test_list(finished, capsys):
    """The columns have heads; a folder that is not a run is left out."""
    (finished.parent / 'something else').mkdir(exist_ok=True)
    command.main([str(finished.parent)])
    head, line = capsys.readouterr().out.splitlines()
    assert head.split('  ')[0] == 'run' and 'best IoU %' in head
    assert line.startswith('mine  finished  40 of 40') and '25.0 at 20' in line


def test_json(finished, capsys):
    """--json prints the fields of a run."""
    command.main([str(finished.parent), '--json'])
    (found,) = json.loads(capsys.readouterr().out)
    assert found['best_iou'] == 0.25 and found['snapshot'] == 'toy-basic_iter_40.caffemodel'


def test_json_of_a_diverged_run_is_json(finished, tmp_path, capsys):
    """JSON has no NaN: a strict parser would refuse the whole list."""
    run_dir = shutil.copytree(finished, tmp_path / 'run')
    with (run_dir / 'metrics.csv').open('a') as file:
        file.write('40,nan,0.001,0.1\n')
    command.main([str(tmp_path), '--json'])
    (found,) = json.loads(capsys.readouterr().out, parse_constant=pytest.fail)
    assert found['loss'] is None and found['iteration'] == 41


def test_run_killed_after_its_end_is_finished_by_the_same_command(finished, words, tmp_path, capsys):
    """Caffe had ended, but run.json did not say so and the curve was missing."""
    run_dir = shutil.copytree(finished, tmp_path / 'run')
    record = json.loads((run_dir / 'run.json').read_text())
    del record['sessions'][-1]['how']
    (run_dir / 'run.json').write_text(json.dumps(record))
    (run_dir / 'loss.png').unlink()
    assert overview(run_dir).state == 'killed'
    assert train(asked(*words, '--run-dir', run_dir, '--iters', 40)) == 0
    assert overview(run_dir).state == 'finished' and (run_dir / 'loss.png').exists()


def test_missing_folder_names_the_command_that_makes_it(tmp_path):
    """The message contains the complete command."""
    with pytest.raises(UserError, match='no runs in .*make train-STAGE'):
        command.main([str(tmp_path / 'none')])
