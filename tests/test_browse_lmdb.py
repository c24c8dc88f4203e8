"""tools/browse_lmdb.py: the text that it prints and the picture that it writes."""

import json
import resource
import shutil
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from PIL import Image
from stored_maps import write_features

from dataset_prep.contact_sheet import sheet_row
from dataset_prep.datasets import dataset, own_json
from dataset_prep.lmdb_store import read_sizes
from dataset_prep.lmdb_writer import write_lmdb
from dataset_prep.records import Record
from tools import browse_lmdb
from tools.support.errors import UserError
from tools.support.paths import ROOT
from tools.support.sheets import BLACK, WHITE, below, beside, caption, legend, scaled

RED, GREY = (0, 0, 255), (90, 90, 90)


@pytest.fixture(scope='module')
def lmdb(tmp_path_factory):
    """Four grey images of 60x40. Their label has 30 rows of class 0, 5 rows of class 3, 5 rows to ignore."""
    folder = tmp_path_factory.mktemp('browse')
    records = []
    label = np.repeat(np.array([0] * 30 + [3] * 5 + [255] * 5, np.uint8)[:, None], 60, axis=1)
    for number in range(4):
        Image.new('RGB', (60, 40), GREY).save(folder / f'{number}.png')
        Image.fromarray(label).save(folder / f'{number}_label.png')
        records.append(Record(f'é{number}', folder / f'{number}.png', folder / f'{number}_label.png', 'toy'))
    write_lmdb(folder / 'toy lmdb', records, dataset='toy', split='train', crop_size=420)
    return folder / 'toy lmdb'


def has_colour(picture, rgb):
    return (picture == np.array(rgb[::-1])).all(axis=2).any()


def test_manifest_is_printed_and_the_picture_has_the_classes_in_colour(lmdb, tmp_path):
    """Run as a program from another folder."""
    words = [ROOT / 'tools' / 'browse_lmdb.py', lmdb, '--count', 2, '--out', tmp_path / 'sheet.png']
    done = subprocess.run([sys.executable, *map(str, words)], cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = {line.split()[0]: line for line in done.stdout.splitlines()}
    assert 'toy' in lines['dataset'] and '420' in lines['crop_size']
    assert f'sky {4 * 30 * 60:,}' in lines['pixels_per_class'] and f'boat {4 * 5 * 60:,}' in lines['pixels_per_class']
    sheet = cv2.imread(str(tmp_path / 'sheet.png'))
    palette = dataset('toy').palette
    assert all(has_colour(sheet, palette[place]) for place in range(7))  # all in the legend
    assert has_colour(sheet[: sheet.shape[0] // 2], palette[0]) and has_colour(sheet[: sheet.shape[0] // 2], palette[3])
    assert not has_colour(sheet[: sheet.shape[0] // 2], palette[5])


def test_datum_is_shown_as_caffe_reads_it(lmdb):
    """420x432 pixels: the image in a red frame, its reflection with a white label around it, and an overlay of both."""
    [(name, stacked)] = browse_lmdb.chosen(lmdb, 1, ['é2'])
    image, label, both = browse_lmdb.image_pictures(stacked, read_sizes(lmdb)[name], dataset('toy'))
    assert image.shape == label.shape == both.shape == (420, 432, 3)
    assert image[5, 5].tolist() == list(GREY) and label[5, 5].tolist() == list(WHITE) and both[5, 5].tolist() == list(GREY)
    sky = np.array(dataset('toy').palette[0])
    assert label[190, 186].tolist() == sky[::-1].tolist()
    np.testing.assert_allclose(both[190, 186], (sky[::-1] + 90) / 2, atol=0.5)
    assert image[189, 200].tolist() == list(RED) and image[230, 246].tolist() == list(RED)  # 190 - 1, 186 + 60


def test_share_of_a_class_is_of_the_labelled_pixels_and_of_the_ignored_ones_of_all():
    """30, 5 and 5 of 40 rows: 85.7 and 14.3 % of 35, 12.5 % of 40."""
    facts = dataset('toy')
    counts = dict.fromkeys(facts.classes, 0) | {'sky': 30, 'boat': 5}
    texts = [text for text, _ in browse_lmdb.shares(counts, 5, facts)]
    assert texts[0] == 'sky 85.7 %' and texts[3] == 'boat 14.3 %' and texts[-1] == 'ignored 12.5 % of all'


@pytest.mark.parametrize(('channels', 'stride'), [(7, 8), (7, 1), (5, 8)])
def test_stored_maps_show_the_largest_score_and_the_label(tmp_path, capsys, channels, stride):
    """Class 2 has the largest score everywhere. Maps that are no scores are shown in grey. The shares count the labels."""
    maps = np.zeros((channels, 6, 8), np.float32)
    maps[2] = np.linspace(1, 2, 48).reshape(6, 8)
    label = np.full((1 if stride == 8 else 64, 6, 8), 4, np.uint8)
    write_features(tmp_path / 'x', [('a', maps, label)], {'dataset': 'toy', 'split': 'train', 'label_stride': stride})
    browse_lmdb.main([str(tmp_path / 'x')])
    assert f'look at {tmp_path / "x" / "contact_sheet.png"}' in capsys.readouterr().out
    facts = dataset('toy')
    [(_, stacked)] = browse_lmdb.chosen(tmp_path / 'x', 1, [])
    shown, labels = browse_lmdb.map_pictures(stacked, len(label), facts)
    assert labels[0, 0].tolist() == list(facts.palette[4][::-1])
    if channels == 7:
        assert shown[3, 3].tolist() == list(facts.palette[2][::-1])
    else:
        assert shown[0, 0].tolist() == list(BLACK) and shown[5, 7].tolist() == list(WHITE)
    counts, ignored = browse_lmdb.counted({'label_stride': stride}, [('a', stacked)], facts)
    assert (counts['barn'], ignored) == (label.size, 0)


def test_missing_lmdb_or_record_is_one_error(lmdb, tmp_path):
    with pytest.raises(UserError, match='no LMDB at'):
        browse_lmdb.main([str(tmp_path)])
    with pytest.raises(UserError, match='has no record x; its first is é'):
        browse_lmdb.main([str(lmdb), '--ids', 'x'])
    shutil.copytree(lmdb, tmp_path / 'cut')
    (tmp_path / 'cut' / 'data.mdb').unlink()
    with pytest.raises(UserError, match='cut cannot be read .*write it again'):
        browse_lmdb.main([str(tmp_path / 'cut')])


def test_classes_of_own_data_are_read_from_the_folder_of_the_lmdb(lmdb, tmp_path, monkeypatch, capsys):
    """The path may be the LMDB's name alone."""
    row = replace(dataset('toy'), name='mine', classes=('ground', *dataset('toy').classes[1:]))
    (tmp_path / 'dataset.json').write_text(own_json(row))
    shutil.copytree(lmdb, tmp_path / 'lmdb')
    manifest = json.loads((lmdb / 'manifest.json').read_text())
    counts = {'ground': manifest['pixels_per_class'].pop('sky'), **manifest['pixels_per_class']}
    (tmp_path / 'lmdb' / 'manifest.json').write_text(json.dumps({**manifest, 'dataset': 'mine', 'pixels_per_class': counts}))
    monkeypatch.setattr('dataset_prep.datasets._own', {})
    monkeypatch.chdir(tmp_path)
    browse_lmdb.main(['lmdb'])
    assert 'ground 7,200' in capsys.readouterr().out


def test_picture_that_does_not_fit_on_the_disk_is_named(lmdb, tmp_path):
    """The kernel limits files to 100 bytes here. No part of the picture is left."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(OSError, match='File too large') as error:
            browse_lmdb.main([str(lmdb), '--out', str(tmp_path / 'sheet.png')])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert error.value.filename == str(tmp_path / 'sheet.png')
    assert not list(tmp_path.iterdir())


def test_very_wide_images_are_shown_lower():
    """Three pictures of 20,000x50 (width x height) would be 216,000 pixels wide at the usual height of 180."""
    strip = np.zeros((50, 20_000, 3), np.uint8)
    row = sheet_row('strip', [strip, strip, strip])
    assert row.shape[1] < 3 * 8 * 180 + 3 * 8
    assert sheet_row('plain', [np.zeros((180, 240, 3), np.uint8)]).shape[1] == 240


def test_blocks_of_a_sheet_keep_their_pixels():
    """White fills the right of narrower blocks. `pure` scales without new colours. Text and colour samples are drawn."""
    red, blue = np.full((2, 3, 3), (0, 0, 255), np.uint8), np.full((2, 5, 3), (255, 0, 0), np.uint8)
    assert beside([red, blue], 1).shape == (2, 9, 3) and beside([red, blue], 1)[0, 3].tolist() == list(WHITE)
    stacked = below([red, blue], 1)
    assert stacked.shape == (5, 5, 3) and stacked[0, 4].tolist() == list(WHITE) and stacked[4, 4].tolist() == [255, 0, 0]
    halves = np.concatenate([red, blue], axis=1)
    assert set(map(tuple, scaled(halves, width=5, pure=True).reshape(-1, 3))) == {(0, 0, 255), (255, 0, 0)}
    assert scaled(halves, height=4).shape == (4, 16, 3)
    assert (caption('Bäume', 60) < 128).any()
    assert has_colour(legend([('a', (1, 200, 3)), ('b', (4, 5, 6))], 30), (1, 200, 3))
