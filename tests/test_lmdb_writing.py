"""LMDBs of images as they are written: killed at any moment, on a full disk, by two processes, again."""

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dataset_prep import growing, lmdb_store, lmdb_writer
from dataset_prep.lmdb_store import iterate, read_manifest
from dataset_prep.lmdb_writer import write_lmdb
from dataset_prep.records import Record, files_sha256, save_split
from dataset_prep.relisting import check_lists
from dataset_prep.statistics import of_pair
from tools.support import atomic
from tools.support.errors import UserError
from tools.support.paths import ROOT

IMAGES = 24
# Writes the LMDB argv[1] of the images in argv[2]; argv[3] bytes a transaction, so that there are many moments to be killed in.
SCRIPT = """
import sys
from pathlib import Path
from dataset_prep import growing, lmdb_store
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
    """A folder of random pictures of two sizes with labels."""
    folder = tmp_path_factory.mktemp('pictures')
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        size = (30, 40) if number % 2 else (50, 20)
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / f'{number}.png')
        Image.fromarray(rng.integers(0, 7, size, dtype=np.uint8)).save(folder / f'{number}_label.png')
    return folder


def records_of(folder: Path, count: int = IMAGES) -> list[Record]:
    return [Record(f'r{number}', folder / f'{number}.png', folder / f'{number}_label.png', 'toy') for number in range(count)]


def write(path: Path, folder: Path, count: int = IMAGES, crop_size: int = 420) -> dict:
    return write_lmdb(path, records_of(folder, count), dataset='toy', split='train', crop_size=crop_size)


def begin(
    path: Path, folder: Path, count: int = IMAGES, crop_size: int = 420, batch_bytes: int = 1 << 20, **how
) -> subprocess.Popen:
    """The script as a process of its own; a Datum of crop size 420 has 0.7 MB, so each second one is flushed."""
    words = [path, folder, batch_bytes, count, crop_size]
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
    return subprocess.Popen([sys.executable, '-c', SCRIPT, *map(str, words)], cwd=ROOT, **pipes, **how)


def content(path: Path) -> dict[str, bytes]:
    """Every record of an LMDB."""
    return {name: array.tobytes() for name, array in iterate(path)}


@pytest.fixture(scope='module')
def expected(pictures, tmp_path_factory):
    """The LMDB as a run that nobody disturbs writes it, and its manifest."""
    path = tmp_path_factory.mktemp('expected') / 'x'
    return write(path, pictures), content(path)


@pytest.mark.parametrize('flushed', [0, 1, 5, 11])
def test_killed_while_it_writes_the_old_lmdb_stays_and_the_next_run_finishes(tmp_path, pictures, expected, flushed):
    """kill -9 after so many transactions. What is on disk is not written again, and nothing is counted twice or forgotten."""
    path = tmp_path / 'x'
    old = write(path, pictures, count=3, crop_size=380)
    process = begin(path, pictures)
    process.stdout.readline()
    journal = tmp_path / '.x.part' / growing.JOURNAL
    deadline = time.monotonic() + 60
    while flushed and process.poll() is None and time.monotonic() < deadline:
        if journal.exists() and int(max(growing._read_json(journal) or {'0': 0}, key=int)) >= 2 * flushed:
            break
    process.kill()
    process.communicate()
    if read_manifest(path) != old:  # it was too fast for us
        assert read_manifest(path)['count'] == IMAGES
    else:
        assert set(content(path)) == {'r0', 'r1', 'r2'}
    assert write(path, pictures) == expected[0]
    assert content(path) == expected[1]
    assert sorted(os.listdir(tmp_path)) == ['x']
    assert sorted(os.listdir(path)) == ['data.mdb', 'lock.mdb', 'manifest.json', 'sizes.tsv']


@pytest.mark.parametrize('where', ['write_manifest', 'put_folder', 'traded', 'end'])
def test_killed_at_the_end_it_is_the_old_or_the_new_one(tmp_path, pictures, expected, where):
    """Ended as by kill -9 just before: the manifest, the trade of names, the removal of the old one, the last tidying."""
    path = tmp_path / 'x'
    write(path, pictures, count=3, crop_size=380)
    pid = os.fork()
    if pid == 0:
        die_at(where)
        try:
            write(path, pictures)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert read_manifest(path)['count'] == len(content(path)) == (IMAGES if where in ('traded', 'end') else 3)
    assert write(path, pictures) == expected[0]
    assert content(path) == expected[1]
    assert sorted(os.listdir(tmp_path)) == ['x']
    assert sorted(os.listdir(path)) == ['data.mdb', 'lock.mdb', 'manifest.json', 'sizes.tsv']


def die_at(where):
    """Let this process end when it comes to a step, the exchange of names after it was done."""
    exchange = atomic._exchanged

    def die(*names):
        if where == 'traded':
            exchange(*names)
        os._exit(9)

    owner, name = {'traded': (atomic, '_exchanged'), 'end': (growing.GrowingLmdb, '_end')}.get(where, (growing, where))
    setattr(owner, name, die)


def test_what_was_flushed_is_not_read_again(tmp_path, pictures, expected, monkeypatch):
    """After an interruption in the middle only the records that are missing are made."""
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
    first = list(made)
    assert write(tmp_path / 'x', pictures) == expected[0]
    assert content(tmp_path / 'x') == expected[1]
    assert len(made) <= IMAGES + 5  # those that were computed ahead, and the one that was interrupted
    assert len(first) >= 12


def test_folders_trade_names_without_a_moment_between_or_one_after_the_other(tmp_path, monkeypatch):
    """Where the system cannot exchange two names in one step, two renames do."""
    assert (tmp_path / 'a').mkdir() is None and (tmp_path / 'b').mkdir() is None
    assert atomic._exchanged(tmp_path / 'a', tmp_path / 'b')
    for exchange in (True, False):
        if not exchange:
            monkeypatch.setattr(atomic, '_exchanged', lambda first, second: False)
        with atomic.whole_folder(tmp_path / 'x') as part:
            (part / f'{exchange}').touch()
        assert [path.name for path in (tmp_path / 'x').iterdir()] == [str(exchange)]
    assert sorted(os.listdir(tmp_path)) == ['a', 'b', 'x']


def test_full_disk_is_one_error_and_nothing_is_lost(tmp_path, pictures, expected):
    """The file may not grow beyond 8 MB: the kernel refuses the write, as it does on a full disk. Then there is room."""
    path = tmp_path / 'x'
    write(path, pictures, count=3, crop_size=380)

    def little_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8 << 20, 8 << 20))

    process = begin(path, pictures, preexec_fn=little_room)
    _, error = process.communicate(timeout=60)
    lines = [line for line in error.splitlines() if line and 'x:' not in line]  # without the progress bar
    assert process.returncode == 1
    assert len(lines) == 1 and lines[0].startswith('error: ') and '.x.part cannot be extended (' in lines[0]
    assert 'Make room and run the same command again: it goes on from what is there' in lines[0]
    assert read_manifest(path)['count'] == len(content(path)) == 3
    assert 4 <= int(max(growing._read_json(tmp_path / '.x.part' / growing.JOURNAL), key=int)) < IMAGES
    assert write(path, pictures) == expected[0]
    assert content(path) == expected[1]


def test_second_process_is_refused_while_the_first_writes(tmp_path, pictures):
    process = begin(tmp_path / 'x', pictures, batch_bytes=1 << 16)
    process.stdout.readline()
    deadline = time.monotonic() + 60
    while not (tmp_path / '.x.part').exists() and time.monotonic() < deadline:
        pass
    os.kill(process.pid, signal.SIGSTOP)
    try:
        with pytest.raises(UserError, match='x is being written by another process; wait for it'):
            write(tmp_path / 'x', pictures)
    finally:
        process.kill()
        process.communicate()
    assert write(tmp_path / 'x', pictures)['count'] == IMAGES


def test_other_settings_begin_anew_and_say_so(tmp_path, pictures, monkeypatch, capsys):
    monkeypatch.setattr(lmdb_store, 'BATCH_BYTES', 1 << 20)
    with monkeypatch.context() as patch:
        patch.setattr(growing.GrowingLmdb, '_finish', lambda self: None)
        write_lmdb_part(tmp_path / 'x', pictures, crop_size=380)
    write(tmp_path / 'x', pictures)
    assert 'starting again, an unfinished run had other settings (crop_size)' in capsys.readouterr().err
    assert read_manifest(tmp_path / 'x')['crop_size'] == 420


def write_lmdb_part(path, folder, crop_size):
    """All records of an LMDB, but not its last step."""
    with pytest.raises(UserError, match='no LMDB'):
        write(path, folder, crop_size=crop_size)


def test_memory_does_not_grow_with_the_number_of_images(tmp_path, pictures):
    """Peak memory of 24 and of 240 records of 0.7 MB: 17 and 170 MB of pixels; transactions of 4 MB."""
    for number in range(IMAGES, 10 * IMAGES):
        for name in ('', '_label'):
            (pictures / f'{number}{name}.png').unlink(missing_ok=True)
            (pictures / f'{number}{name}.png').hardlink_to(pictures / f'{number % IMAGES}{name}.png')
    peaks = []
    for count in (IMAGES, 10 * IMAGES):
        process = begin(tmp_path / str(count), pictures, count=count, batch_bytes=4 << 20)
        process.stdout.readline()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        peaks.append(usage.ru_maxrss / 1024)
        process.stdout.close(), process.stderr.close()
    assert peaks[1] < peaks[0] + 40


def test_statistics_are_sums_that_come_back_from_json():
    """Of labels of any layout in memory, against plain counting."""
    rng = np.random.default_rng(3)
    image, label = rng.integers(0, 256, (9, 13, 3), dtype=np.uint8), rng.integers(0, 256, (9, 26), dtype=np.uint8)[:, ::2]
    found = of_pair(image, label)
    assert found.histogram.tolist() == [(label == value).sum() for value in range(256)]
    assert of_pair(image, np.ascontiguousarray(label)).histogram.tolist() == found.histogram.tolist()
    twice = found + type(found).from_json(found.as_json())
    assert (twice.images, twice.pixels) == (2, 2 * 9 * 13)
    assert twice.mean_bgr == pytest.approx(image.reshape(-1, 3).mean(axis=0))


def test_encoding_is_that_of_the_data_sets_row_unless_given(tmp_path, pictures, monkeypatch):
    manifests = [write_lmdb(tmp_path / 'a', records_of(pictures, 2), dataset='toy', split='train', crop_size=380)]
    manifests.append(write_lmdb(tmp_path / 'b', records_of(pictures, 2), dataset='pascal_voc', split='train', crop_size=380))
    manifests.append(
        write_lmdb(tmp_path / 'c', records_of(pictures, 2), dataset='pascal_voc', split='train', crop_size=380, encoding='raw')
    )
    assert [manifest['encoding'] for manifest in manifests] == ['raw', 'png', 'raw']
    assert content(tmp_path / 'a') == content(tmp_path / 'b') == content(tmp_path / 'c')


def test_manifest_says_with_what_it_was_made(tmp_path, pictures):
    records = records_of(pictures, 3)
    manifest = write(tmp_path / 'x', pictures, count=3)
    order = [line.split('\t')[0] for line in (tmp_path / 'x' / 'sizes.tsv').read_text().splitlines()]
    assert manifest['tool_version'].startswith('0.')
    assert manifest['files_sha256'] == files_sha256([next(one for one in records if one.id == name) for name in order])
    assert sorted((tmp_path / 'x' / 'sizes.tsv').read_text().splitlines()) == ['r0\t50\t20', 'r1\t30\t40', 'r2\t50\t20']


def test_list_that_changes_beside_an_lmdb_of_an_earlier_version_is_refused(tmp_path, pictures):
    """Whether it was made from the same files cannot be told."""
    records = records_of(pictures, 3)
    save_split(tmp_path, 'train', records)
    write(tmp_path / 'train_420', pictures, count=3)
    manifest = read_manifest(tmp_path / 'train_420')
    del manifest['files_sha256']
    lmdb_store.write_manifest(tmp_path / 'train_420', manifest)
    check_lists(tmp_path, {'train': records})
    with pytest.raises(UserError, match='train_420 was written by an earlier version .*; remove it and run the same'):
        check_lists(tmp_path, {'train': records[:2]})
