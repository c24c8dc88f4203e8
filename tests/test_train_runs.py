"""Trainings on real Caffe that finish, stop, are killed, fail and continue."""

import errno
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dataset_prep.lmdb_store import read_manifest, write_manifest
from pretrained import caffemodel
from prototxt.experiments import STAGES
from tests.train_data import (
    alive,
    asked,
    begin,
    begin_in_terminal,
    caffe_of,
    images_lmdb,
    iterations,
    kill_all,
    maps_lmdb,
    rows,
    wait_for,
)
from tools.support.errors import UserError
from tools.support.hashing import file_sum
from tools.support.paths import ROOT
from tools.support.stop_signals import STOPPED
from tools.training import process
from tools.training.metrics import Metrics
from tools.training.record import STOPPED as STOPPED_RUN
from tools.training.record import amend_session, read_record, write_record
from tools.training.run_folder import locked, newest_snapshot
from tools.training.session import train
from tools.training.snapshots import newest_whole, snapshots

FILES = {'train.prototxt', 'solver.prototxt', 'run.json', 'caffe.log', 'metrics.csv', 'loss.png'}
LONG = '--iters', 100_000, '--snapshot', 10


@pytest.fixture(scope='module')
def maps(tmp_path_factory):
    """Stored scores of 6 records; a batch of 6 is an epoch."""
    return maps_lmdb(tmp_path_factory.mktemp('maps'))


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """The words of a command that trains the toy front end on one crop per iteration."""
    lmdb = images_lmdb(tmp_path_factory.mktemp('images'))
    return 'toy-front', '--lmdb', lmdb, '--crop-size', 380, '--batch', 1


@pytest.fixture
def basic(maps, tmp_path):
    """The words of a command that trains Basic in `tmp_path`/run, one epoch per iteration."""
    return 'toy-basic', '--lmdb', maps, '--run-dir', tmp_path / 'run', '--batch', 6


@pytest.fixture
def running(basic, tmp_path):
    """The process of a long training that has written its second snapshot."""
    process = begin(*basic, *LONG)
    wait_for(lambda: len(snapshots(tmp_path / 'run')) > 1 or process.poll() is not None)
    yield process
    kill_all(process)


def finish(*words):
    """Train to the end, in this process."""
    assert train(asked(*words)) == 0


def session_starts(run_dir):
    """The iterations at which Caffe was started, from run.json."""
    return [session['from_iteration'] for session in json.loads((run_dir / 'run.json').read_text())['sessions']]


def test_front_end_from_images(images, tmp_path, capsys):
    """A run on images writes its files, a row per iteration, and the weights of all layers."""
    finish(*images, '--base-lr', 1e-6, '--iters', 2, '--run-dir', tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= FILES
    assert iterations(tmp_path) == [0, 1]
    assert caffemodel.load(newest_snapshot(tmp_path)).keys() == set(asked('toy-front').stage.fresh)


def test_log_lines_written_before_we_read_are_not_missed(basic, tmp_path, monkeypatch):
    """On a busy machine Caffe may have ended before its log is read."""
    start = process.start

    def start_late(*words):
        child = start(*words)
        child.wait()
        return child

    monkeypatch.setattr(process, 'start', start_late)
    finish(*basic, '--iters', 2)
    assert iterations(tmp_path / 'run') == [0, 1]


@pytest.mark.parametrize('lmdb', ['maps', 'gone'])
def test_finished_run_is_left_alone(finished, maps, lmdb, capsys):
    """The command prints its iteration and changes no file, also if the LMDB is gone."""
    before = {path: path.stat().st_mtime_ns for path in finished.iterdir()}
    finish('toy-basic', '--lmdb', maps.with_name(lmdb), '--run-dir', finished, '--batch', 6, '--iters', 4)
    assert 'already at iteration 4' in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in finished.iterdir()} == before


def test_other_settings_are_refused(basic, tmp_path, capsys):
    """The message names both values, the option and --restart, which keeps the old run beside the new one."""
    finish(*basic, '--iters', 2)
    said = r'base_lr 0.0003, but this command asks for 0.01; give --base-lr .BASE_LR=. as before, or .*--restart'
    with pytest.raises(UserError, match=said):
        train(asked(*basic, '--iters', 4, '--base-lr', 0.01))
    finish(*basic, '--iters', 4, '--base-lr', 0.01, '--restart')
    assert iterations(tmp_path / 'run.old1') == [0, 1]
    assert iterations(tmp_path / 'run') == [0, 1, 2, 3]


@pytest.mark.parametrize('iters', [4, 6])
def test_other_records_are_refused(finished, tmp_path, iters):
    """Another LMDB means another run, whether iterations are left or not."""
    words = '--run-dir', finished, '--batch', 6, '--iters', iters, '--lmdb', maps_lmdb(tmp_path, split='val')
    with pytest.raises(UserError, match='maps does not hold the records that .* was begun on .*; give another'):
        train(asked('toy-basic', *words))


def test_run_continues_with_the_same_records_written_by_another_version(finished, maps, tmp_path):
    """Run and LMDB were copied, and the tool version in the manifest differs."""
    copies = [shutil.copytree(source, tmp_path / source.name) for source in (finished, maps)]
    write_manifest(copies[1], read_manifest(maps) | {'tool_version': '99.0'})
    finish('toy-basic', '--run-dir', copies[0], '--lmdb', copies[1], '--batch', 6, '--iters', 6)
    assert iterations(copies[0]) == list(range(6))


def test_run_that_was_begun_before_rows_had_a_field_goes_on(finished, maps, tmp_path):
    """A version later the rows have one field more. Its default is what a run had until then; another value is refused."""
    run_dir = shutil.copytree(finished, tmp_path / 'run')
    record = read_record(run_dir)
    del record['settings']['lr_steps'], record['settings']['normalization']
    again = 'toy-basic', '--run-dir', run_dir, '--lmdb', maps, '--batch', 6, '--iters', 6
    write_record(run_dir, record)
    with pytest.raises(UserError, match=r'begun with lr_steps \[\], but this command asks for \[330\]'):
        train(asked(*again))
    write_record(run_dir, record | {'settings': {**record['settings'], 'lr_steps': [330]}})
    finish(*again)
    assert iterations(run_dir) == list(range(6))


def test_weights_without_solverstates_are_kept(finished, basic, tmp_path):
    """Training cannot continue from them; it is refused and deletes nothing."""
    run_dir = shutil.copytree(finished, tmp_path / 'run')
    for snapshot in snapshots(run_dir):
        snapshot.solverstate.unlink()
    with pytest.raises(UserError, match='toy-basic_iter_4.solverstate is missing; .*--restart'):
        train(asked(*basic, '--iters', 6))
    assert [snapshot.iteration for snapshot in snapshots(run_dir)] == [2, 4]


def test_run_killed_during_its_first_snapshot_begins_anew(finished, basic, tmp_path, capsys):
    """No snapshot was complete, so the same command starts from zero and deletes the fragment."""
    run_dir = shutil.copytree(finished, tmp_path / 'run')
    first, only = snapshots(run_dir)
    for path in (*first.files(), only.solverstate):
        path.unlink()
    cut_short(run_dir, '.caffemodel', 0.5)
    finish(*basic, '--iters', 1, '--snapshot', 2)
    assert [snapshot.iteration for snapshot in snapshots(run_dir)] == [1]


def test_refused_restart_leaves_the_run_in_place(finished, basic, tmp_path):
    """A command that fails its checks does not move the old run or change its files."""
    run_dir = shutil.copytree(finished, tmp_path / 'run')
    before = {path: path.stat().st_mtime_ns for path in run_dir.iterdir()}
    with pytest.raises(UserError, match='no LMDB'):
        train(asked(*basic, '--restart', '--lmdb', tmp_path / 'none'))
    with pytest.raises(UserError, match='is in the run that --restart moves aside'):
        train(asked(*basic, '--restart', '--weights', newest_snapshot(run_dir)))
    assert {path: path.stat().st_mtime_ns for path in run_dir.iterdir()} == before
    assert [path.name for path in tmp_path.glob('run*')] == ['run']


def test_record_of_a_run(finished, maps):
    """run.json has row, overrides, weights, data, Caffe, commit and the typed command."""
    record = json.loads((finished / 'run.json').read_text())
    assert record['settings']['base_lr'] == 0.0003
    assert record['overrides'] == {'batch_size': 6, 'iter_size': 3, 'max_iter': 4, 'snapshot': 2}
    (weights,) = record['weights']
    assert weights['sha256'] == hashlib.sha256((finished / 'identity.caffemodel').read_bytes()).hexdigest()
    assert record['lmdb'] == {'folder': str(maps), 'manifest': json.loads((maps / 'manifest.json').read_text())}
    (session,) = record['sessions']
    program = Path(session['command'][0])
    assert session['caffe']['sha256'] == hashlib.sha256(program.read_bytes()).hexdigest()
    assert session['caffe']['blas_in_use']['library']
    head = subprocess.run(['git', 'rev-parse', 'HEAD'], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    assert session['git_commit'] == (head or None)
    assert session['typed'] == [Path(sys.argv[0]).name, *sys.argv[1:]]
    assert session['how'] == 'finished'


def test_newest_snapshots_are_kept(basic, tmp_path, capsys):
    """--keep counts snapshots; each has two files."""
    finish(*basic, '--iters', 9, '--snapshot', 2, '--keep', 3)
    assert [snapshot.iteration for snapshot in snapshots(tmp_path / 'run')] == [6, 8, 9]
    assert len(list((tmp_path / 'run').glob('*_iter_*'))) == 6


@pytest.fixture(scope='module')
def finished(maps, tmp_path_factory):
    """A run folder with snapshots at 2 and 4."""
    run_dir = tmp_path_factory.mktemp('finished') / 'run'
    finish('toy-basic', '--lmdb', maps, '--run-dir', run_dir, '--batch', 6, '--iters', 4, '--snapshot', 2)
    return run_dir


def cut_short(run_dir, suffix, left):
    """Truncate a file of the newest snapshot to the fraction `left`."""
    path = snapshots(run_dir)[-1].caffemodel.with_suffix(suffix)
    os.truncate(path, int(path.stat().st_size * left))


@pytest.mark.parametrize('suffix', ['.caffemodel', '.solverstate'])
@pytest.mark.parametrize('left', [0.0, 0.5, 0.999])
def test_snapshot_cut_short_is_not_whole(finished, tmp_path, suffix, left):
    """The newest complete snapshot is then the one before."""
    run_dir, net = shutil.copytree(finished, tmp_path / 'run'), caffemodel.read_net(finished / 'train.prototxt')
    assert newest_whole(run_dir, net).iteration == 4
    cut_short(run_dir, suffix, left)
    assert newest_whole(run_dir, net).iteration == 2


def test_training_continues_from_the_snapshot_before_one_cut_short(finished, basic, tmp_path, capsys):
    """This also holds for a run folder that was copied elsewhere."""
    cut_short(shutil.copytree(finished, tmp_path / 'run'), '.solverstate', 0.5)
    finish(*basic, '--iters', 5, '--snapshot', 2)
    assert session_starts(tmp_path / 'run') == [0, 2]
    assert iterations(tmp_path / 'run') == list(range(5))


def test_caffemodel_without_its_last_layer_is_not_whole(finished, tmp_path):
    """A file that is cut at the end of a layer still parses."""
    run_dir = shutil.copytree(finished, tmp_path / 'run')
    older, newer = (snapshot.caffemodel for snapshot in snapshots(run_dir))
    assert newest_snapshot(run_dir) == newer
    caffemodel.write(newer, dict(list(caffemodel.load(newer).items())[:-1]))
    assert newest_snapshot(run_dir) == older


def test_killed_training_loses_the_work_since_its_snapshot(running, basic, tmp_path, capsys):
    """kill -9 also ends Caffe. The same command continues from the newest complete snapshot, without gaps in the rows."""
    child = caffe_of(running)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    wait_for(lambda: not alive(child))
    reached = snapshots(tmp_path / 'run')[-1].iteration + 5
    finish(*basic, '--iters', reached, '--snapshot', 10)
    assert reached - 16 < session_starts(tmp_path / 'run')[-1] < reached
    assert iterations(tmp_path / 'run') == list(range(reached))


def test_ctrl_c_writes_a_snapshot(running, basic, tmp_path, capsys):
    """A terminal signals the whole process group. Caffe is in another group, so it gets the signal once."""
    assert os.getpgid(caffe_of(running)) != os.getpgid(running.pid)
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == STOPPED
    assert 'the same command goes on' in out
    reached = snapshots(tmp_path / 'run')[-1].iteration
    assert f'iteration {reached} of 100000' in out
    assert iterations(tmp_path / 'run') == list(range(reached))
    assert 'Optimization stopped early.' in (tmp_path / 'run' / 'caffe.log').read_text()


def test_closed_terminal_stops_as_ctrl_c_does(basic, tmp_path):
    """Writing to the terminal then fails, but the snapshot is written."""
    process, terminal = begin_in_terminal(*basic, *LONG)
    try:
        wait_for(lambda: len(snapshots(tmp_path / 'run')) > 1 or process.poll() is not None)
        os.close(terminal)
        assert process.wait(60) == STOPPED
    finally:
        kill_all(process)
    assert 'Optimization stopped early.' in (tmp_path / 'run' / 'caffe.log').read_text()


def test_stop_works_when_stdout_and_stderr_are_closed(running, tmp_path):
    """As in `make train-STAGE 2>&1 | tee FILE`, where Ctrl-C also ends tee."""
    running.stdout.close()
    running.stderr.close()
    running.send_signal(signal.SIGINT)
    running.wait(60)
    assert 'Optimization stopped early.' in (tmp_path / 'run' / 'caffe.log').read_text()
    assert read_record(tmp_path / 'run')['sessions'][-1]['how'] == STOPPED_RUN


def test_stop_without_its_snapshot_is_a_failure(running, tmp_path):
    """Caffe aborts after the stop signal, as it does if it cannot write the snapshot."""
    child = caffe_of(running)
    os.kill(child, signal.SIGSTOP)
    running.send_signal(signal.SIGINT)
    wait_for(lambda: 'stopping' in running.stderr.readline())
    os.kill(child, signal.SIGABRT)
    os.kill(child, signal.SIGCONT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 1 and 'ended by SIGABRT' in err
    assert read_record(tmp_path / 'run')['sessions'][-1]['how'].startswith('failed: ')


def full(*_words):
    """Fail like a full disk: the error names no file."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_names_the_folder_and_the_next_step(basic, tmp_path, monkeypatch):
    """Our own files can fill the disk, too, before and while Caffe runs."""
    monkeypatch.setattr(Metrics, 'append', full)
    with pytest.raises(UserError, match=r'run: the disk is full: make room .*the same command then goes on'):
        train(asked(*basic, '--iters', 4))
    assert read_record(tmp_path / 'run')['sessions'][-1]['how'].startswith('failed: ')
    monkeypatch.setattr('tools.training.record.write_record', full)
    with pytest.raises(UserError, match=r'run: the disk is full: make room '):
        train(asked(*basic, '--iters', 4, '--restart'))


def test_end_without_a_complete_snapshot_is_a_failure(basic, tmp_path, monkeypatch):
    """Caffe does not notice if a full disk loses the last bytes of its snapshot."""
    monkeypatch.setattr('tools.training.supervisor.newest_whole', lambda *_words: None)
    with pytest.raises(UserError, match='Caffe ended, but its snapshot at iteration 2 is not whole'):
        train(asked(*basic, '--iters', 2))


def test_second_sigterm_does_not_kill(running, tmp_path):
    """The whole process group gets the signal, and make and recipes pass it on again."""
    for _ in range(3):
        running.send_signal(signal.SIGTERM)
    running.communicate(timeout=60)
    assert running.returncode == STOPPED
    assert 'Optimization stopped early.' in (tmp_path / 'run' / 'caffe.log').read_text()


def test_two_trainings_at_once_are_refused(running, basic):
    """The second one names the reason."""
    with pytest.raises(UserError, match='another training is running there'):
        train(asked(*basic, *LONG))


def test_lock_lasts_as_long_as_caffe(running, basic):
    """If Caffe outlives its parent, its folder stays locked."""
    locked = subprocess.run(['ls', '-l', f'/proc/{caffe_of(running)}/fd'], capture_output=True, text=True).stdout
    assert str(basic[4] / '.lock') in locked


def test_caffe_killed_alone_is_explained(running):
    """The system kills it when memory runs out. The message says so and shows the last lines of the log."""
    os.kill(caffe_of(running), signal.SIGKILL)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 1
    assert 'memory ran out' in err
    assert 'caffe.log' in err and 'Iteration' in err.rsplit('the last lines of', 1)[1]


@pytest.fixture
def sgd(monkeypatch):
    """toy-front with SGD, which diverges at a rate of 1; a step of Adam is at most the rate."""
    monkeypatch.setitem(STAGES, 'toy-front', replace(STAGES['toy-front'], solver='SGD'))


def test_diverged_training_stops(images, sgd, tmp_path, capsys):
    """If the loss is not finite, snapshots of spoiled weights are deleted and the message says so."""
    with pytest.raises(UserError, match='has diverged; there is no good snapshot yet.*--base-lr'):
        train(asked(*images, '--run-dir', tmp_path, '--base-lr', 1, '--iters', 100, '--snapshot', 1))
    assert rows(tmp_path)[-1]['loss'] == 'nan'
    assert not snapshots(tmp_path)


def test_last_update_that_spoils_the_weights_is_divergence(images, sgd, tmp_path):
    """No later iteration would show it; Caffe's last forward pass does."""
    with pytest.raises(UserError, match='the loss is .* at iteration 2, training has diverged; there is no good snapshot yet'):
        train(asked(*images, '--run-dir', tmp_path, '--base-lr', 1, '--iters', 2))
    assert iterations(tmp_path) == [0, 1] and not snapshots(tmp_path)


def test_damaged_prototxt_is_named(finished, basic, tmp_path):
    """By the training of the run, and by a stage that starts from it."""
    run_dir = shutil.copytree(finished, tmp_path / 'run')
    (run_dir / 'train.prototxt').write_text('garbage {')
    for use in (lambda: train(asked(*basic, '--iters', 6)), lambda: newest_snapshot(run_dir)):
        with pytest.raises(UserError, match=r'train\.prototxt is not the prototxt of a net \(.*--restart'):
            use()


def test_start_from_an_unfinished_stage_is_reported(images, tmp_path, capsys):
    """toy-basic trains on maps of a toy-front that stopped at iteration 1 of 250."""
    finish(*images, '--iters', 1, '--run-dir', tmp_path / 'toy-front')
    said = {'weights_sha256': file_sum(newest_snapshot(tmp_path / 'toy-front'))}
    words = 'toy-basic', '--lmdb', maps_lmdb(tmp_path, **said), '--iters', 1, '--batch', 6, '--run-dir'
    finish(*words, tmp_path / 'toy-basic')
    assert 'starts from' not in capsys.readouterr().err
    amend_session(tmp_path / 'toy-front', max_iter=250)
    finish(*words, tmp_path / 'toy-basic-2')
    assert f'starts from {tmp_path / "toy-front"}, which is at iteration 1 of 250' in capsys.readouterr().err


def test_folder_that_another_training_has_taken_is_left(tmp_path, monkeypatch):
    """A failed training deletes its empty folder while a second one takes its lock, or just before."""
    run_dir, rmdir, opened = tmp_path / 'run', Path.rmdir, os.open
    monkeypatch.setattr(Path, 'rmdir', lambda path: ((path / '.lock').touch(), rmdir(path)))
    with pytest.raises(UserError, match='as it was raised'), locked(run_dir):
        raise UserError('as it was raised')
    assert (run_dir / '.lock').exists()
    monkeypatch.undo()
    failures = iter([FileNotFoundError()])

    def open_late(*words):
        for failure in failures:
            raise failure
        return opened(*words)

    monkeypatch.setattr('tools.training.run_folder.os.open', open_late)
    with locked(run_dir):
        assert (run_dir / '.lock').exists()


def test_missing_snapshot_names_the_folder_and_a_stage_that_exists(tmp_path):
    """The name of the folder counts as a stage only if that stage exists."""
    for name, stage in (('toy-front', 'toy-front'), ('mine', 'STAGE')):
        with pytest.raises(UserError, match=f'run: python3 tools/train.py {stage} --run-dir {tmp_path / name}$'):
            newest_snapshot(tmp_path / name)


def test_folder_of_something_else(basic, tmp_path):
    """Snapshots without a train.prototxt are not from this toolkit, so they stay."""
    (tmp_path / 'run').mkdir()
    (tmp_path / 'run' / 'mine_iter_5.caffemodel').touch()
    with pytest.raises(UserError, match='has snapshots but no train.prototxt'):
        train(asked(*basic))
    assert (tmp_path / 'run' / 'mine_iter_5.caffemodel').exists()
