"""Trainings on real Caffe that finish, stop, are killed, fail and continue."""

import errno
import hashlib
import json
import os
import re
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
    asked,
    begin,
    begin_in_terminal,
    caffe_of,
    finish,
    iterations,
    kill_all,
    maps_lmdb,
    rows,
    sessions,
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


@pytest.fixture
def images(toy_images):
    """The words of a command that trains the toy front end on one crop per iteration."""
    return 'toy-front', '--lmdb', toy_images, '--crop-size', 380, '--batch', 1


@pytest.fixture(scope='module')
def finished(toy_maps, tmp_path_factory):
    """A run folder with snapshots at 2 and 4."""
    run_dir = tmp_path_factory.mktemp('finished') / 'run'
    finish('toy-basic', '--lmdb', toy_maps, '--run-dir', run_dir, '--batch', 6, '--iters', 4, '--snapshot', 2)
    return run_dir


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of that folder where `basic` trains."""
    return shutil.copytree(finished, tmp_path / 'run')


@pytest.fixture
def running(basic, tmp_path):
    """The process of a long training that has written its second snapshot."""
    process = begin(*basic, *LONG)
    wait_for(lambda: len(snapshots(tmp_path / 'run')) > 1 or process.poll() is not None)
    yield process
    kill_all(process)


def kept(run_dir):
    """The iterations of the snapshots in a run folder."""
    return [snapshot.iteration for snapshot in snapshots(run_dir)]


def times(folder):
    """The files of a folder with their times of change."""
    return {path: path.stat().st_mtime_ns for path in folder.iterdir()}


def stopped_early(run_dir):
    """Whether Caffe's log says that it ended its iteration and wrote a snapshot."""
    return 'Optimization stopped early.' in (run_dir / 'caffe.log').read_text()


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
def test_finished_run_is_left_alone(copied, basic, toy_maps, lmdb, capsys):
    """The command prints its iteration and changes no file, also if the LMDB is gone."""
    before = times(copied)
    finish(*basic, '--lmdb', toy_maps.with_name(lmdb), '--iters', 4)
    assert 'already at iteration 4' in capsys.readouterr().out
    assert times(copied) == before


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
def test_other_records_are_refused(copied, basic, tmp_path, iters):
    """Another LMDB means another run, whether iterations are left or not."""
    with pytest.raises(UserError, match='maps does not hold the records that .* was begun on .*; give another'):
        train(asked(*basic, '--iters', iters, '--lmdb', maps_lmdb(tmp_path, split='val')))


def test_run_continues_with_the_same_records_written_by_another_version(copied, basic, toy_maps, tmp_path):
    """Run and LMDB were copied, and the tool version in the manifest differs."""
    lmdb = shutil.copytree(toy_maps, tmp_path / 'maps')
    write_manifest(lmdb, read_manifest(lmdb) | {'tool_version': '99.0'})
    finish(*basic, '--lmdb', lmdb, '--iters', 6)
    assert iterations(copied) == list(range(6))


def test_run_that_was_begun_before_rows_had_a_field_goes_on(copied, basic):
    """A later version's rows have one more field. Its default is what a run had until then; another value is refused."""
    record = read_record(copied)
    del record['settings']['lr_steps'], record['settings']['normalization']
    write_record(copied, record)
    with pytest.raises(UserError, match=r'begun with lr_steps \[\], but this command asks for \[330\]'):
        train(asked(*basic, '--iters', 6))
    write_record(copied, record | {'settings': {**record['settings'], 'lr_steps': [330]}})
    finish(*basic, '--iters', 6)
    assert iterations(copied) == list(range(6))


def test_weights_without_solverstates_are_kept(copied, basic):
    """Training cannot continue from them; it is refused and deletes nothing."""
    for snapshot in snapshots(copied):
        snapshot.solverstate.unlink()
    with pytest.raises(UserError, match='toy-basic_iter_4.solverstate is missing; .*--restart'):
        train(asked(*basic, '--iters', 6))
    assert kept(copied) == [2, 4]


def test_run_killed_during_its_first_snapshot_begins_anew(copied, basic):
    """No snapshot was complete, so the same command starts from zero and deletes the fragment."""
    first, only = snapshots(copied)
    for path in (*first.files(), only.solverstate):
        path.unlink()
    cut_short(only.caffemodel, 0.5)
    finish(*basic, '--iters', 1, '--snapshot', 2)
    assert kept(copied) == [1]


def test_refused_restart_leaves_the_run_in_place(copied, basic, tmp_path):
    """A command that fails its checks does not move the old run or change its files."""
    before = times(copied)
    with pytest.raises(UserError, match='no LMDB'):
        train(asked(*basic, '--restart', '--lmdb', tmp_path / 'none'))
    with pytest.raises(UserError, match='is in the run that --restart moves aside'):
        train(asked(*basic, '--restart', '--weights', newest_snapshot(copied)))
    assert times(copied) == before
    assert [path.name for path in tmp_path.glob('run*')] == ['run']


def test_record_of_a_run(finished, toy_maps):
    """A run writes its files. run.json has row, overrides, weights, data, Caffe, commit and the typed command."""
    assert {path.name for path in finished.iterdir()} >= FILES
    record = json.loads((finished / 'run.json').read_text())
    assert record['settings']['base_lr'] == 0.0003
    assert record['overrides'] == {'batch_size': 6, 'iter_size': 3, 'max_iter': 4, 'snapshot': 2}
    (weights,) = record['weights']
    assert weights['sha256'] == hashlib.sha256((finished / 'identity.caffemodel').read_bytes()).hexdigest()
    assert record['lmdb'] == {'folder': str(toy_maps), 'manifest': read_manifest(toy_maps)}
    (session,) = record['sessions']
    program = Path(session['command'][0])
    assert session['caffe']['sha256'] == hashlib.sha256(program.read_bytes()).hexdigest()
    assert session['caffe']['blas_in_use']['library'] and session['caffe']['engine'] == 'caffe'
    head = subprocess.run(['git', 'rev-parse', 'HEAD'], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    assert session['git_commit'] == (head or None)
    assert session['typed'] == [Path(sys.argv[0]).name, *sys.argv[1:]]
    assert session['how'] == 'finished'


def test_newest_snapshots_are_kept(basic, tmp_path):
    """--keep counts snapshots; each has two files."""
    finish(*basic, '--iters', 9, '--snapshot', 2, '--keep', 3)
    assert kept(tmp_path / 'run') == [6, 8, 9]
    assert len(list((tmp_path / 'run').glob('*_iter_*'))) == 6


def cut_short(path, left):
    """Truncate a file to the fraction `left`."""
    os.truncate(path, int(path.stat().st_size * left))


@pytest.mark.parametrize('suffix', ['.caffemodel', '.solverstate'])
@pytest.mark.parametrize('left', [0.0, 0.5, 0.999])
def test_snapshot_cut_short_is_not_whole(copied, suffix, left):
    """The newest complete snapshot is then the one before."""
    net = caffemodel.read_net(copied / 'train.prototxt')
    assert newest_whole(copied, net).iteration == 4
    cut_short(snapshots(copied)[-1].caffemodel.with_suffix(suffix), left)
    assert newest_whole(copied, net).iteration == 2


def test_caffemodel_without_its_last_layer_is_not_whole(copied):
    """A file that is cut at the end of a layer still parses."""
    older, newer = (snapshot.caffemodel for snapshot in snapshots(copied))
    caffemodel.write(newer, dict(list(caffemodel.load(newer).items())[:-1]))
    assert newest_snapshot(copied) == older


def test_ctrl_c_writes_a_snapshot(running, tmp_path):
    """A terminal signals the whole process group. Caffe is in another group, so it gets the signal once."""
    assert os.getpgid(caffe_of(running)) != os.getpgid(running.pid)
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert running.returncode == STOPPED
    assert 'the same command goes on' in out
    reached = kept(tmp_path / 'run')[-1]
    assert f'iteration {reached} of 100000' in out
    assert iterations(tmp_path / 'run') == list(range(reached))
    assert stopped_early(tmp_path / 'run')


def test_closed_terminal_stops_as_ctrl_c_does(basic, tmp_path):
    """Writing to the terminal then fails, but the snapshot is written."""
    process, terminal = begin_in_terminal(*basic, *LONG)
    try:
        wait_for(lambda: len(snapshots(tmp_path / 'run')) > 1 or process.poll() is not None)
        os.close(terminal)
        assert process.wait(60) == STOPPED
    finally:
        kill_all(process)
    assert stopped_early(tmp_path / 'run')


@pytest.mark.parametrize(
    ('signals', 'closed'),
    [
        ([signal.SIGINT], True),  # as in `make train-STAGE 2>&1 | tee FILE`, where Ctrl-C also ends tee
        ([signal.SIGTERM] * 3, False),  # the whole process group gets it, and make and recipes pass it on again
    ],
)
def test_stop_that_nobody_reads_or_that_comes_several_times(running, tmp_path, signals, closed):
    """Caffe still writes its snapshot."""
    for stream in (running.stdout, running.stderr) if closed else ():
        stream.close()
    for number in signals:
        running.send_signal(number)
    assert running.wait(60) == STOPPED or closed
    assert stopped_early(tmp_path / 'run')
    assert sessions(tmp_path / 'run', 'how') == [STOPPED_RUN]


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
    assert sessions(tmp_path / 'run', 'how')[-1].startswith('failed: ')


def full(*_words):
    """Fail like a full disk: the error names no file."""
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_full_disk_names_the_folder_and_the_next_step(basic, tmp_path, monkeypatch):
    """Our own files can fill the disk, too, before and while Caffe runs."""
    monkeypatch.setattr(Metrics, 'append', full)
    with pytest.raises(UserError, match=r'run: the disk is full: make room .*the same command then goes on'):
        train(asked(*basic, '--iters', 4))
    assert sessions(tmp_path / 'run', 'how')[-1].startswith('failed: ')
    monkeypatch.setattr('tools.training.record.write_record', full)
    with pytest.raises(UserError, match=r'run: the disk is full: make room '):
        train(asked(*basic, '--iters', 4, '--restart'))


def test_end_without_a_complete_snapshot_is_a_failure(basic, tmp_path, monkeypatch):
    """Caffe does not notice if a full disk loses the last bytes of its snapshot."""
    monkeypatch.setattr('tools.training.supervisor.newest_whole', lambda *_words: None)
    with pytest.raises(UserError, match='Caffe ended, but its snapshot at iteration 2 is not whole'):
        train(asked(*basic, '--iters', 2))


def test_folder_is_locked_as_long_as_caffe_runs(running, basic, tmp_path):
    """A second training is refused with the reason. Caffe holds the lock, too, in case it outlives its parent."""
    with pytest.raises(UserError, match='another training is running there'):
        train(asked(*basic, *LONG))
    files = [os.readlink(path) for path in Path(f'/proc/{caffe_of(running)}/fd').iterdir()]
    assert str(tmp_path / 'run' / '.lock') in files


def test_caffe_killed_alone_is_explained(running):
    """The system kills it when memory runs out. The message says so and shows the last lines of the log."""
    os.kill(caffe_of(running), signal.SIGKILL)
    out, err = running.communicate(timeout=60)
    assert running.returncode == 1
    assert 'memory ran out' in err
    assert 'caffe.log' in err and 'Iteration' in err.rsplit('the last lines of', 1)[1]


@pytest.mark.parametrize(
    ('words', 'last_loss', 'said'),
    [
        (('--iters', 100, '--snapshot', 1), 'nan', 'has diverged; there is no good snapshot yet.*--base-lr'),
        # The last update spoils the weights: only Caffe's last forward pass shows it.
        (('--iters', 2), '[0-9].*', 'the loss is .* at iteration 2, training has diverged; there is no good snapshot yet'),
    ],
)
def test_diverged_training_stops(images, tmp_path, monkeypatch, words, last_loss, said):
    """If the loss is not finite, snapshots of spoiled weights are deleted and the message says so."""
    # SGD diverges at a rate of 1; a step of Adam is at most the rate.
    monkeypatch.setitem(STAGES, 'toy-front', replace(STAGES['toy-front'], solver='SGD'))
    with pytest.raises(UserError, match=said):
        train(asked(*images, '--run-dir', tmp_path, '--base-lr', 1, *words))
    assert re.fullmatch(last_loss, rows(tmp_path)[-1]['loss'])
    assert not snapshots(tmp_path)


def test_damaged_prototxt_is_named(copied, basic):
    """By the training of the run, and by a stage that starts from it."""
    (copied / 'train.prototxt').write_text('garbage {')
    for use in (lambda: train(asked(*basic, '--iters', 6)), lambda: newest_snapshot(copied)):
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
