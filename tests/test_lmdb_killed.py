"""Writing an LMDB of images is killed, runs out of disk or is started twice: nothing is lost, and the next run finishes."""

import os
import resource
import signal
import subprocess
import sys
import time

import pytest
from mini_archives import toy_records

from dataset_prep import growing, lmdb_store, lmdb_writer
from dataset_prep.lmdb_store import iterate, read_manifest
from dataset_prep.lmdb_writer import write_lmdb
from dataset_prep.records import Record
from tools.support import atomic
from tools.support.errors import UserError
from tools.support.paths import ROOT

IMAGES = 24
# Writes an LMDB. Arguments: its path, the folder of the images, bytes per transaction, number of images, crop size. Small
# transactions leave many moments at which the process can be killed.
SCRIPT = """
import sys
from pathlib import Path
from dataset_prep import lmdb_store
from dataset_prep.lmdb_writer import write_lmdb
from dataset_prep.records import Record
from tools.support.errors import run_command
lmdb_store.BATCH_BYTES = int(sys.argv[3])
def main(argv):
    folder = Path(sys.argv[2])
    records = [Record(f'r{n}', folder / f'{n}.png', folder / f'{n}_label.png', 'toy') for n in range(int(sys.argv[4]))]
    print('ready', flush=True)
    write_lmdb(Path(sys.argv[1]), records, dataset='toy', split='train', crop_size=int(sys.argv[5]))
run_command(main)
"""


@pytest.fixture(scope='module')
def pictures(tmp_path_factory):
    """A folder with images of two sizes and their labels."""
    folder = tmp_path_factory.mktemp('pictures')
    toy_records(folder, [(30, 40), (50, 20)] * (IMAGES // 2))
    return folder


def write(path, folder, count=IMAGES, crop_size=420):
    """Write an LMDB in this process; returns its manifest."""
    records = [Record(f'r{n}', folder / f'{n}.png', folder / f'{n}_label.png', 'toy') for n in range(count)]
    return write_lmdb(path, records, dataset='toy', split='train', crop_size=crop_size)


def begin(path, folder, count=IMAGES, batch_bytes=1 << 20, **options):
    """The script as a process. A Datum of crop size 420 has 0.7 MB, so by default a transaction holds two."""
    words = [path, folder, batch_bytes, count, 420]
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
    return subprocess.Popen([sys.executable, '-c', SCRIPT, *map(str, words)], cwd=ROOT, **pipes, **options)


def wait_until(condition):
    """Wait at most a minute."""
    deadline = time.monotonic() + 60
    while not condition() and time.monotonic() < deadline:
        pass


def content(path):
    """Every record of an LMDB."""
    return {name: array.tobytes() for name, array in iterate(path)}


def flushed_records(part):
    """How many records of an unfinished LMDB are on disk."""
    return int(max(growing._read_json(part / growing.JOURNAL) or {'0': 0}, key=int))


@pytest.fixture(scope='module')
def check_finishes(pictures, tmp_path_factory):
    """A check: running the command again leaves the same LMDB and manifest as an undisturbed run, and no other files."""
    undisturbed = tmp_path_factory.mktemp('expected') / 'x'
    manifest, records = write(undisturbed, pictures), content(undisturbed)

    def check(path):
        # Somebody may commit while the tests run, which changes the version.
        assert write(path, pictures) | {'tool_version': manifest['tool_version']} == manifest
        assert content(path) == records
        assert sorted(os.listdir(path.parent)) == ['x']
        assert sorted(os.listdir(path)) == ['data.mdb', 'lock.mdb', 'manifest.json', 'sizes.tsv']

    return check


@pytest.fixture
def old(tmp_path, pictures):
    """An LMDB of 3 images that the command replaces."""
    write(tmp_path / 'x', pictures, count=3, crop_size=380)
    return tmp_path / 'x'


@pytest.mark.parametrize('flushed', [0, 1, 5, 11])
def test_kill_while_records_are_written(old, pictures, check_finishes, flushed):
    """kill -9 after `flushed` transactions: the old LMDB stays."""
    process = begin(old, pictures)
    process.stdout.readline()
    if flushed:
        wait_until(lambda: process.poll() is not None or flushed_records(old.parent / '.x.part') >= 2 * flushed)
    process.kill()
    process.communicate()
    count = read_manifest(old)['count']
    assert count in (3, IMAGES)  # IMAGES if the process was faster than the kill
    assert len(content(old)) == count
    check_finishes(old)


@pytest.mark.parametrize('step', ['write_manifest', 'put_folder', 'traded', 'end'])
def test_kill_at_the_last_steps_leaves_the_old_or_the_new_lmdb(old, pictures, check_finishes, step):
    """The process dies before the manifest is written, before and after the names are exchanged, before the last clean-up."""
    pid = os.fork()
    if pid == 0:
        die_at(step)
        try:
            write(old, pictures)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert read_manifest(old)['count'] == len(content(old)) == (IMAGES if step in ('traded', 'end') else 3)
    check_finishes(old)


def die_at(step):
    """Make this process exit at a step."""
    exchange = atomic._exchanged

    def die(*names):
        if step == 'traded':
            exchange(*names)
        os._exit(9)

    owner, name = {'traded': (atomic, '_exchanged'), 'end': (growing.GrowingLmdb, '_end')}.get(step, (growing, step))
    setattr(owner, name, die)


def test_records_on_disk_are_not_computed_again(tmp_path, pictures, check_finishes, monkeypatch):
    """Interrupted at the 12th record. A few records may be computed twice: those that were ahead of the last transaction."""
    monkeypatch.setattr(lmdb_store, 'BATCH_BYTES', 1 << 20)
    made, datum = [], lmdb_writer.Layout.datum

    def counting(layout, record):
        made.append(record.id)
        if len(made) == 12:
            raise KeyboardInterrupt
        return datum(layout, record)

    monkeypatch.setattr(lmdb_writer.Layout, 'datum', counting)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / 'x', pictures)
    assert len(made) >= 12
    check_finishes(tmp_path / 'x')
    assert len(made) <= IMAGES + 5


def test_folders_exchange_names_in_one_step_or_in_two(tmp_path, monkeypatch):
    """Two renames if the system cannot exchange names."""
    (tmp_path / 'a').mkdir()
    (tmp_path / 'b').mkdir()
    assert atomic._exchanged(tmp_path / 'a', tmp_path / 'b')
    for exchange in (True, False):
        if not exchange:
            monkeypatch.setattr(atomic, '_exchanged', lambda first, second: False)
        with atomic.whole_folder(tmp_path / 'x') as part:
            (part / f'{exchange}').touch()
        assert [path.name for path in (tmp_path / 'x').iterdir()] == [str(exchange)]
    assert sorted(os.listdir(tmp_path)) == ['a', 'b', 'x']


def test_full_disk_is_one_error_and_the_next_run_goes_on(old, pictures, check_finishes):
    """The kernel refuses to let the file grow beyond 8 MB, as it refuses a write to a full disk."""

    def little_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, 8 << 20))

    process = begin(old, pictures, preexec_fn=little_room)
    _, error = process.communicate(timeout=60)
    lines = [line for line in error.splitlines() if line and 'x:' not in line]  # without the progress bar
    assert process.returncode == 1
    assert len(lines) == 1 and lines[0].startswith('error: ') and '.x.part cannot be extended (' in lines[0]
    assert 'Make room and run the same command again: it goes on from what is there' in lines[0]
    assert read_manifest(old)['count'] == len(content(old)) == 3
    assert 4 <= flushed_records(old.parent / '.x.part') < IMAGES
    check_finishes(old)


def test_second_process_is_refused_while_the_first_writes(tmp_path, pictures, check_finishes):
    process = begin(tmp_path / 'x', pictures, batch_bytes=1 << 16)
    process.stdout.readline()
    wait_until((tmp_path / '.x.part').exists)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(UserError, match='x is being written by another process; wait for it'):
            write(tmp_path / 'x', pictures)
    finally:
        process.kill()
        process.communicate()
    check_finishes(tmp_path / 'x')


def test_unfinished_lmdb_of_other_settings_is_started_again_with_a_note(tmp_path, pictures, monkeypatch, capsys):
    monkeypatch.setattr(lmdb_store, 'BATCH_BYTES', 1 << 20)
    with monkeypatch.context() as patch:
        patch.setattr(growing.GrowingLmdb, '_finish', lambda self: None)
        with pytest.raises(UserError, match='no LMDB'):
            write(tmp_path / 'x', pictures, crop_size=380)
    write(tmp_path / 'x', pictures)
    assert 'starting again, an unfinished run had other settings (crop_size)' in capsys.readouterr().err
    assert read_manifest(tmp_path / 'x')['crop_size'] == 420


def test_memory_does_not_grow_with_the_number_of_images(tmp_path, pictures):
    """24 and 240 records of 0.7 MB hold 17 and 170 MB of pixels. Transactions hold 4 MB."""
    for number in range(10 * IMAGES):
        for name in ('', '_label'):
            (tmp_path / f'{number}{name}.png').hardlink_to(pictures / f'{number % IMAGES}{name}.png')
    peaks = []
    for count in (IMAGES, 10 * IMAGES):
        process = begin(tmp_path / 'out' / str(count), tmp_path, count=count, batch_bytes=4 << 20)
        process.stdout.readline()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        peaks.append(usage.ru_maxrss / 1024)
        process.stdout.close(), process.stderr.close()
    assert peaks[1] < peaks[0] + 40
