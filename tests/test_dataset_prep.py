"""The table of data sets, labels decoded to ids, lists of records, padding, Datums as bytes, work spread over threads."""

import json
from dataclasses import replace

import numpy as np
import pytest
from mini_archives import labels, noise, save, toy_records
from PIL import Image
from through_caffe import MARGIN, padded

from dataset_prep import datasets, parallel
from dataset_prep.datasets import DATASETS, IGNORE_LABEL, Dataset, dataset
from dataset_prep.datum import decode_datum, float_datum, png_datum, raw_datum
from dataset_prep.label_encodings import CAMVID_COLOURS, decode
from dataset_prep.lmdb_store import read_manifest
from dataset_prep.padding import pad_for_crops
from dataset_prep.records import Record, load_split, read_image, read_label, save_split
from tools.support.errors import UserError


def voc_colour(index):
    """The palette rule of PASCAL VOC: bit 3k, 3k+1, 3k+2 of the index are bit 7-k of red, green, blue."""
    return tuple(sum((index >> 3 * place + channel & 1) << 7 - place for place in range(8)) for channel in range(3))


def test_voc_palette_follows_the_rule_of_its_development_kit():
    assert dataset('pascal_voc').palette == tuple(voc_colour(index) for index in range(21))


@pytest.mark.parametrize('row', DATASETS.values(), ids=DATASETS)
def test_classes_and_colours_of_a_row_are_aligned_and_unique(row):
    assert len(row.classes) == len(row.palette) == len(set(row.palette)) == len(set(row.classes)) < IGNORE_LABEL


def test_camvid_palette_uses_the_colours_of_label_colors_txt():
    """fyu/dilation shows a class in CamVid's own colour wherever one of the 32 colours has the same name."""
    ours = dict(zip(dataset('camvid').classes, dataset('camvid').palette, strict=True))
    same = {name: rgb for name, rgb, _ in CAMVID_COLOURS if name in ours}
    assert len(CAMVID_COLOURS) == len({rgb for _, rgb, _ in CAMVID_COLOURS}) == 32
    assert same == {name: ours[name] for name in same}
    assert len(same) == 9  # all but Sign (SignSymbol) and Pole (Column_Pole)


def test_unknown_data_set_is_an_error_with_the_known_names():
    with pytest.raises(UserError, match='camvid, pascal_voc, kitti, cityscapes, toy'):
        dataset('coco')


# Labels


def test_segnet_ids_become_the_ids_of_the_authors_model():
    """FACTS C: 0->2, 1->0, 2->8, 3->5, 4->9, 5->1, 6->4, 7->7, 8->3, 9->6, 10->10, 11->255."""
    ids = decode(np.arange(12, dtype=np.uint8)[None], 'segnet_camvid', dataset('camvid'), 'x.png')
    assert ids.tolist() == [[2, 0, 8, 5, 9, 1, 4, 7, 3, 6, 10, 255]]


def test_scaling_averages_the_pixels_of_an_image(tmp_path):
    """Half the size: the mean of 0, 40, 80, 120 is 60."""
    bgr = np.zeros((2, 4, 3), np.uint8)
    bgr[:, :2, 1] = [[0, 40], [80, 120]]
    save(tmp_path / 'i.png', bgr[..., ::-1])
    assert read_image(Record('x', tmp_path / 'i.png', None, 'toy', size_wh=(2, 1))).tolist() == [[[0, 60, 0], [0, 0, 0]]]


def test_scaling_picks_label_pixels_at_the_centres(tmp_path, monkeypatch):
    """A third: the middle one of three pixels. Two thirds: pixels 0 and 2 of three. Pillow's NEAREST picks the same."""
    monkeypatch.setattr(datasets, '_own', {})
    row = datasets.keep_own(Dataset('many', tuple(map(str, range(54))), ((0, 0, 0),) * 54, (0, 0, 0), {}))
    ids = np.arange(54, dtype=np.uint8).reshape(6, 9)
    save(tmp_path / 'l.png', ids)
    save(tmp_path / 'i.png', noise(0, 6, 9, 3))
    for size_wh, expected in (((3, 2), ids[1::3, 1::3]), ((6, 4), ids[[0, 2, 3, 5]][:, [0, 2, 3, 5, 6, 8]])):
        found = read_label(Record('x', tmp_path / 'i.png', tmp_path / 'l.png', row.name, size_wh=size_wh))
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(found, Image.fromarray(ids).resize(size_wh, Image.Resampling.NEAREST))


# Lists of records


def test_list_is_read_back_even_after_its_folder_moved(tmp_path):
    """One record has all columns of its image, the other columns 5 to 11. The old paths are an error then."""
    folder = tmp_path / 'å b'
    whole, other = toy_records(folder / 'drawn', [(8, 20), (8, 20)])
    part = replace(other, columns=(5, 12))
    save_split(folder, 'train', [whole, part])
    assert load_split(folder, 'train') == [whole, part]
    assert part.size_hw == (8, 7)
    np.testing.assert_array_equal(read_image(part), read_image(other)[:, 5:12])
    np.testing.assert_array_equal(read_label(part), read_label(other)[:, 5:12])
    folder.rename(tmp_path / 'moved')
    assert read_image(load_split(tmp_path / 'moved', 'train')[0]).shape == (8, 20, 3)
    with pytest.raises(UserError, match='no file at .*drawn/0.png; was the data set moved'):
        read_image(whole)


@pytest.mark.parametrize(('folder', 'words'), [
    ('camvid', 'run: make lmdb-camvid DATA=FOLDER'), ('toy', 'run: make lmdb-toy$'), ('other', 'see dataset_prep/README.md'),
])  # fmt: skip
def test_missing_list_or_lmdb_is_an_error_with_the_command_that_makes_it(tmp_path, monkeypatch, folder, words):
    """Also if the path is relative and does not show the folder's name."""
    with pytest.raises(UserError, match=f'no LMDB at .*{words}'):
        read_manifest(tmp_path / folder / 'train_628')
    (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / folder)
    with pytest.raises(UserError, match=words):
        load_split('.', 'train')


def test_row_of_an_own_data_set_is_read_back_from_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, 'DATA', tmp_path)
    monkeypatch.setattr(datasets, '_own', {})
    mine = Dataset('mine', ('ä', 'b c'), ((1, 2, 3), (4, 5, 6)), (1.5, 2.5, 3.5), {'train': 2}, 'measured')
    file = tmp_path / 'mine' / 'dataset.json'
    file.parent.mkdir()
    file.write_text(datasets.own_json(mine), encoding='utf-8')
    assert dataset('mine') == mine
    assert datasets.own_names() == ['mine']
    assert datasets.read_own(tmp_path) is None
    with pytest.raises(UserError, match='kitti is the name of a data set of the paper'):
        datasets.keep_own(replace(mine, name='kitti'))
    row = json.loads(file.read_text(encoding='utf-8'))
    for content in ({'name': 'mine'}, row | {'splits': [1]}, row | {'palette': [[1, 2, 3]]}):
        file.write_text(json.dumps(content))
        with pytest.raises(UserError, match='dataset.json is damaged'):
            datasets.read_own(file.parent)


@pytest.mark.parametrize('content', ['{"dataset": "toy"', '{"dataset": "toy", "size_wh": null}', '[]'])
def test_damaged_list_is_named(tmp_path, content):
    (tmp_path / 'val.json').write_text(content)
    with pytest.raises(UserError, match='val.json is damaged'):
        load_split(tmp_path, 'val')


def test_list_with_an_id_twice_or_without_images_is_refused(tmp_path):
    first, second = toy_records(tmp_path, [(8, 8), (8, 8)])
    for records, words in (([first, first, second], '1 ids occur more than once, the first is r0'), ([], 'no images')):
        with pytest.raises(UserError, match=words):
            save_split(tmp_path, 'train', records)


# Padding and Datums


@pytest.mark.parametrize(('size_hw', 'crop'), [((300, 200), 1), ((187, 186), 1), ((40, 30), 501), ((2, 3), 404)])
def test_padding_equals_numpys(size_hw, crop):
    """np.pad's mode 'reflect' is the reference. It also goes back and forth if the margin is wider than the image."""
    image, label = noise(1, *size_hw, 3), labels(2, [*range(7)], *size_hw)
    np.testing.assert_array_equal(pad_for_crops(image, label, MARGIN, crop), padded(image, label, crop))


@pytest.mark.parametrize('encoder', [raw_datum, png_datum, float_datum])
def test_datum_is_read_back_and_a_cut_one_is_refused(encoder):
    array = noise(4, 4, 11, 13) if encoder != float_datum else noise(4, 4, 11, 13).astype(np.float32) / 7
    message = encoder(array)
    np.testing.assert_array_equal(decode_datum(message), array)
    for length in (0, 3, len(message) - 3):
        with pytest.raises(UserError, match='not a complete Datum'):
            decode_datum(message[:length])


# Work spread over threads


def test_work_does_not_run_far_ahead_of_the_results_taken():
    """Otherwise memory would grow with the number of images."""
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
