"""LMDBs of images: their content and manifest, when they are kept, replaced or refused, and how records are stored."""

import os
import re
import threading
from pathlib import Path

import lmdb
import numpy as np
import pytest
from mini_archives import save, toy_records

from dataset_prep import lmdb_store
from dataset_prep.datasets import dataset
from dataset_prep.lmdb_store import check_disk_space, key, stored_ids, stored_keys
from dataset_prep.lmdb_writer import iterate, read_manifest, write_lmdb
from dataset_prep.records import files_sha256, read_image, save_split
from dataset_prep.relisting import check_lists
from tools.support.errors import UserError


def write(path, records, **options):
    """Write an LMDB of toy images, by default for the smallest training crop; returns its manifest."""
    return write_lmdb(path, records, **{'dataset': 'toy', 'split': 'train', 'crop_size': 380} | options)


def written_at(path):
    """When the LMDB was written."""
    return (path / 'manifest.json').stat().st_mtime_ns


def test_manifest_describes_the_lmdb(tmp_path):
    """Sides are padded by 186 pixels twice, and then to the crop size."""
    records = toy_records(tmp_path, [(20, 30), (25, 24), (22, 26)])
    manifest = write(tmp_path / 'x', records, crop_size=395, seed=5)
    stored = dict(iterate(tmp_path / 'x'))
    labels = np.concatenate([array[3].ravel() for array in stored.values()])
    shapes = {name: array.shape for name, array in stored.items()}
    assert shapes == {'r0': (4, 395, 402), 'r1': (4, 397, 396), 'r2': (4, 395, 398)}
    assert manifest['min_side_hw'] == [395, 396]
    assert manifest['pixels_per_class'] == {name: int((labels == i).sum()) for i, name in enumerate(dataset('toy').classes)}
    assert manifest['mean_bgr'] == pytest.approx(np.concatenate([read_image(r).reshape(-1, 3) for r in records]).mean(axis=0))
    assert (manifest['count'], manifest['classes'], manifest['ignored_pixels'], manifest['split']) == (3, 7, 0, 'train')
    assert manifest['tool_version'].startswith('0.')
    assert manifest['files_sha256'] == files_sha256(records)
    assert sorted((tmp_path / 'x' / 'sizes.tsv').read_text().splitlines()) == ['r0\t20\t30', 'r1\t25\t24', 'r2\t22\t26']
    assert read_manifest(tmp_path / 'x') == manifest


def test_order_of_records_depends_on_the_seed_alone(tmp_path):
    records = toy_records(tmp_path, [(4, 4)] * 6)
    orders = []
    for name, listed, seed in (('a', records, 1), ('b', records[::-1], 1), ('c', records, 2)):
        write(tmp_path / name, listed, seed=seed)
        orders.append(stored_ids(tmp_path / name))
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != [record.id for record in records]


@pytest.mark.parametrize(
    ('options', 'encoding'),
    [({}, 'raw'), ({'dataset': 'pascal_voc'}, 'png'), ({'dataset': 'pascal_voc', 'encoding': 'raw'}, 'raw')],
)
def test_encoding_is_that_of_the_data_set_unless_given(tmp_path, options, encoding):
    assert write(tmp_path / 'x', toy_records(tmp_path, [(20, 30)]), **options)['encoding'] == encoding


# Kept, replaced, refused


def test_lmdb_is_kept_until_a_file_or_a_setting_changes(tmp_path):
    """A new modification time alone, as of a copied file, is no change."""
    records, path = toy_records(tmp_path, [(20, 30)]), tmp_path / 'x'
    times = []
    for size in (380, 380, 388, 388):
        os.utime(records[0].image, (len(times), len(times)))
        if len(times) == 3:
            save(records[0].label, np.full((20, 30), 2, np.uint8))
        write(path, records, crop_size=size)
        times.append(written_at(path))
    assert times[0] == times[1] < times[2] < times[3]
    assert next(iterate(path))[1][3, 200, 200] == 2


@pytest.mark.parametrize('damage', ['none', 'gone', 'empty', 'foreign', 'fewer'])
def test_lmdb_without_all_its_records_is_written_again(tmp_path, damage):
    """An interrupted copy may leave a complete manifest beside a bad data.mdb."""
    records, path = toy_records(tmp_path, [(20, 30), (20, 30)]), tmp_path / 'x'
    write(path, records)
    before = written_at(path)
    if damage == 'fewer':
        with lmdb.open(str(path), map_size=1 << 30) as environment, environment.begin(write=True) as transaction:
            transaction.delete(next(transaction.cursor().iternext(values=False)))
    elif damage != 'none':
        (path / 'data.mdb').unlink() if damage == 'gone' else (path / 'data.mdb').write_bytes(b'x' * 9000 * (damage == 'foreign'))
    write(path, records)
    assert sorted(stored_ids(path)) == ['r0', 'r1']
    assert (written_at(path) == before) == (damage == 'none')


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('thesis.txt', 'x holds thesis.txt, which is not part of an LMDB'),
        ('results/a.txt', 'x holds results, which is not part of an LMDB'),
        ('.git/config', 'x holds .git, which is not part of an LMDB'),
        ('data.mdb', 'x is an LMDB that this toolkit did not write'),
        ('', 'x holds x, which is not part of an LMDB'),
    ],
)
def test_other_files_at_the_path_are_never_replaced(tmp_path, name, words):
    """After a typing error in --out: a folder with a file or a folder in it, Caffe's own LMDB, a file."""
    records, path = toy_records(tmp_path, [(20, 30)]), tmp_path / 'out' / 'x'
    precious = path / name
    precious.parent.mkdir(parents=True)
    precious.write_text('precious')
    with pytest.raises(UserError, match=words):
        write(path, records)
    assert precious.read_text() == 'precious'
    assert [entry.name for entry in path.parent.iterdir()] == ['x']


def test_lmdb_behind_a_link_is_replaced_where_the_link_leads(tmp_path):
    records, path = toy_records(tmp_path, [(20, 30)]), tmp_path / 'data' / 'x'
    path.parent.mkdir()
    path.symlink_to(tmp_path / 'large disk' / 'x')
    for crop_size in (380, 388, 396):
        write(path, records, crop_size=crop_size)
        assert path.is_symlink() and read_manifest(path)['crop_size'] == crop_size
    assert [entry.name for entry in (tmp_path / 'large disk').iterdir()] == ['x']


def test_bad_record_leaves_the_old_lmdb_and_nothing_else(tmp_path):
    good, bad = toy_records(tmp_path / 'in', [(20, 30), (20, 30)])
    write(tmp_path / 'out' / 'x', [good])
    bad.label.write_bytes(b'no picture')
    with pytest.raises(UserError, match='1_label.png cannot be read'):
        write(tmp_path / 'out' / 'x', [good, bad])
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['x']
    assert stored_ids(tmp_path / 'out' / 'x') == ['r0']


def test_too_little_disk_space_is_refused_before_writing(tmp_path):
    with pytest.raises(UserError, match='needs 1000000000.00 GB'):
        check_disk_space(tmp_path / 'new' / 'folder', 10**18)


@pytest.mark.parametrize('content', ['{}', '[]', '{"kind": "images"}', '{'])
def test_damaged_manifest_is_named(tmp_path, content):
    (tmp_path / 'manifest.json').write_text(content)
    with pytest.raises(UserError, match='manifest.json is damaged .*write the LMDB again'):
        next(iterate(tmp_path))


def test_changed_list_beside_an_lmdb_of_an_earlier_version_is_refused(tmp_path):
    """Its manifest does not say from which files it was made."""
    records = toy_records(tmp_path, [(20, 30)] * 3)
    save_split(tmp_path, 'train', records)
    manifest = write(tmp_path / 'train_380', records)
    del manifest['files_sha256']
    lmdb_store.write_manifest(tmp_path / 'train_380', manifest)
    check_lists(tmp_path, {'train': records})
    with pytest.raises(UserError, match='train_380 was written by an earlier version .*; remove it and run the same'):
        check_lists(tmp_path, {'train': records[:2]})


# Records on disk


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A writer whose transactions hold 1 MB."""
    monkeypatch.setattr(lmdb_store, 'BATCH_BYTES', 1 << 20)
    return lmdb_store.LmdbWriter(tmp_path)


def finish(store):
    store.flush()
    store.close()


def test_map_grows_when_it_is_too_small(tmp_path, store):
    """The records need six times the first map's size."""
    values = [bytes([place]) * (1 << 19) for place in range(36)]
    for place, value in enumerate(values):
        store.put(key(place, 'x'), value)
    finish(store)
    with lmdb.open(str(tmp_path), readonly=True) as environment, environment.begin() as transaction:
        assert all(transaction.get(key(place, 'x')) == value for place, value in enumerate(values))


def test_next_records_are_queued_while_a_transaction_is_written(tmp_path, store, monkeypatch):
    """The writing thread waits for a record of the next transaction. It would wait in vain if put() waited for the disk."""
    write_batch, came, waited = lmdb_store.LmdbWriter._write, threading.Event(), []

    def waiting(store, batch):
        waited.append(came.wait(timeout=10))
        write_batch(store, batch)

    monkeypatch.setattr(lmdb_store.LmdbWriter, '_write', waiting)
    store.put(key(0, 'x'), bytes(1 << 20))
    store.put(key(1, 'x'), bytes(5))
    came.set()
    finish(store)
    assert waited == [True, True]
    assert stored_keys(tmp_path) == [key(0, 'x'), key(1, 'x')]


def test_nothing_is_written_after_a_transaction_that_failed(tmp_path, store, monkeypatch):
    """The disk refuses the second of four transactions. A later put() raises the error."""
    write_batch = lmdb_store.LmdbWriter._write

    def refusing(store, batch):
        if batch[0][0] == key(1, 'x'):
            raise OSError('no room')
        write_batch(store, batch)

    monkeypatch.setattr(lmdb_store.LmdbWriter, '_write', refusing)
    with pytest.raises(UserError, match=r'cannot be extended \(no room\)'):
        for place in range(4):
            store.put(key(place, 'x'), bytes(1 << 20))
    finish(store)
    assert stored_keys(tmp_path) == [key(0, 'x')]


def test_written_records_do_not_stay_mapped_in_memory(tmp_path, store):
    """75 MB in 300 records: less than 1 MB of the file is mapped at the end."""
    store.reserve(100 << 20)
    for place in range(300):
        store.put(key(place, 'x'), bytes(1 << 18))
    store.flush()
    blocks = Path('/proc/self/smaps').read_text().split('VmFlags')
    mapped = [re.search(r'^Rss: +(\d+) kB', block, re.M) for block in blocks if f'{tmp_path}/data.mdb' in block]
    store.close()
    assert [int(size[1]) < 1000 for size in mapped] == [True]


def test_id_too_long_for_a_key_is_refused():
    with pytest.raises(UserError, match='600 bytes as a key'):
        key(0, 'é' * 295 + 'x')
