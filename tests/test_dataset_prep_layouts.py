"""Every data set from its official layout to what Caffe reads: archives, lists, splits, LMDBs, and the make targets."""

import errno
import shlex
import shutil
import subprocess
import tarfile
from pathlib import Path

import mini_archives as mini
import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat
from through_caffe import MARGIN, check_lmdb, padded

import dataset_prep
from dataset_prep import archives, toy
from dataset_prep.cityscapes import HALVES_CROP_SIZE, halves
from dataset_prep.datasets import how_to_prepare, read_own
from dataset_prep.datum import decode_datum
from dataset_prep.lmdb_store import read_manifest
from dataset_prep.lmdb_writer import Layout
from dataset_prep.records import Record, load_split, read_image, read_label
from dataset_prep.voc import find_splits
from dataset_prep.voc_coco import find_coco
from prototxt.experiments import STAGES
from prototxt.lmdb_names import lmdb_of
from tools.support.errors import UserError
from tools.support.paths import ROOT

CROP = 404
VOC_LISTS = 'VOCdevkit/VOC2012/ImageSets/Segmentation'


def check_split(folder, split, truth):
    """The list has the ids of `truth`, and each record reads as its pair."""
    records = load_split(folder, split)
    assert sorted(record.id for record in records) == sorted(truth)
    for record in records:
        np.testing.assert_array_equal(read_image(record), truth[record.id][0], record.id)
        np.testing.assert_array_equal(read_label(record), truth[record.id][1], record.id)


def check_training_split(tmp_path, split, truth, out='out'):
    """check_split(), and Caffe reads the padded pairs of `truth` from the LMDB."""
    check_split(tmp_path / out, split, truth)
    check_lmdb(tmp_path, tmp_path / out / f'{split}_{CROP}', {name: padded(*pair, CROP) for name, pair in truth.items()}, CROP)


# To Caffe


def test_voc_and_sbd(tmp_path):
    """VOC's labels for VOC train, SBD's for the other images, and nothing of VOC val."""
    train, val = mini.voc(tmp_path / 'da ta é')
    test = mini.voc_test(tmp_path / 'da ta é')
    out = mini.prepare('voc', tmp_path / 'da ta é', tmp_path / 'lm db é')
    assert [record.id for record in load_split(out, 'train_aug')] == sorted(train)
    assert sorted(train) == ['2007_000032', '2007_000039', '2008_000001', '2008_000002']
    check_training_split(tmp_path, 'train_aug', train, 'lm db é')
    check_split(out, 'val', val)
    assert [(record.id, record.label) for record in load_split(out, 'test')] == [(name, None) for name in test]
    manifest = read_manifest(out / 'train_aug_404')
    assert (manifest['dataset'], manifest['split'], manifest['count'], manifest['classes']) == ('pascal_voc', 'train_aug', 4, 21)


def test_hariharans_annotations_replace_vocs_on_request(tmp_path):
    """2007_000032 is in VOC train and in SBD, 2007_000039 in VOC train alone. val keeps VOC's."""
    _, val = mini.voc(tmp_path)
    out = mini.prepare('voc', tmp_path, tmp_path / 'out', '--annotations', 'hariharan')
    records = {record.id: record for record in load_split(out, 'train_aug')}
    both = records.pop('2007_000032')
    np.testing.assert_array_equal(read_label(both), loadmat(both.label)['GTcls']['Segmentation'][0, 0])
    assert read_image(both).shape[:2] == read_label(both).shape
    assert records['2007_000039'].label.parent.name == 'SegmentationClass'
    assert {record.label.suffix for name, record in records.items() if '2008' in name} == {'.mat'}
    check_split(out, 'val', val)


def test_voc_joined_with_coco(tmp_path, capsys):
    """The pixels of COCO's polygons were counted by hand. Images without an object of VOC's categories are left out."""
    train, val = mini.voc(tmp_path)
    drawn = mini.coco(tmp_path)
    counts = {name: np.bincount(label.ravel(), minlength=256) for name, (_, label) in drawn.items()}
    first = counts['COCO_train2014_000000000009']
    assert (first[15], first[12], first[7], first[255]) == (300 - 20, 20, 64, 240)
    assert counts['COCO_val2014_000000000042'][18] == 6 + 20
    out = mini.prepare('voc_coco', tmp_path, tmp_path / 'out')
    check_training_split(tmp_path, 'train_aug_coco', {**train, **drawn})
    check_split(out, 'val', val)
    assert 'COCO train2014: 1 of 2 images are taken' in capsys.readouterr().out
    assert Image.open(out / 'coco_labels' / 'train2014' / 'COCO_train2014_000000000009.png').mode == 'P'
    for name in ('voc', 'voc_coco'):  # in one folder, each keeps the LMDB of the other
        mini.prepare(name, tmp_path, out)
        assert [read_manifest(out / f'{split}_404')['count'] for split in ('train_aug', 'train_aug_coco')] == [4, 6]


def test_camvid(tmp_path):
    """All 32 colours."""
    train = mini.camvid(tmp_path / 'Cam Vid')
    mini.prepare('camvid', tmp_path / 'Cam Vid', tmp_path / 'out')
    check_training_split(tmp_path, 'train', train)


def test_kitti(tmp_path, capsys):
    train, test = mini.kitti(tmp_path / 'KITTI')
    mini.prepare('kitti', tmp_path, tmp_path / 'out', '--encoding', 'png')
    check_training_split(tmp_path, 'train', train)
    check_split(tmp_path / 'out', 'test', test)
    assert 'note: this copy of kitti has 2 train (complete: 100), 1 test (complete: 46)' in capsys.readouterr().out


def test_cityscapes(tmp_path):
    """Whole images, and halves. In the middle of the image a half's margin is part of the other half."""
    truth = mini.cityscapes(tmp_path / 'Cityscapes')
    out = mini.prepare('cityscapes', tmp_path / 'Cityscapes', tmp_path / 'out', '--halves-crop-size', '404')
    check_training_split(tmp_path, 'train', truth['train'])
    check_split(out, 'val', truth['val'])
    assert [record.label for record in load_split(out, 'test')] == [None]
    whole = {name: padded(*pair, CROP) for name, pair in truth['train'].items()}
    left = {f'{name}_left': pair[:, :, : 32 + 2 * MARGIN] for name, pair in whole.items()}
    right = {f'{name}_right': pair[:, :, 32:] for name, pair in whole.items()}
    check_lmdb(tmp_path, out / 'train_halves_404', {**left, **right}, CROP)
    manifest = read_manifest(out / 'train_halves_404')
    ids = np.concatenate([label.ravel() for _, label in truth['train'].values()])
    assert list(manifest['pixels_per_class'].values()) == [int((ids == index).sum()) for index in range(19)]
    assert manifest['ignored_pixels'] == (ids == 255).sum()


def test_own_folder(tmp_path, capsys):
    """Grey and palette labels, names with spaces and non-ASCII letters. dataset.json keeps the classes and the mean."""
    truth = mini.custom(tmp_path / 'min data å')
    (tmp_path / 'classes.txt').write_text('Straße 10 20 30\ndark sky\n猫  1 2 3\n', encoding='utf-8')
    options = ['--classes', str(tmp_path / 'classes.txt'), '--val-fraction', '0.25']
    out = mini.prepare('custom', tmp_path / 'min data å', tmp_path / 'out', *options)
    splits = {split: [record.id for record in load_split(out, split)] for split in ('train', 'val')}
    assert (len(splits['train']), len(splits['val'])) == (3, 1)
    assert sorted(splits['train'] + splits['val']) == sorted(truth)
    train = {name: truth[name] for name in splits['train']}
    check_training_split(tmp_path, 'train', train)
    row = read_own(out)
    assert row.classes == ('Straße', 'dark sky', '猫')
    assert row.palette == ((10, 20, 30), (128, 0, 0), (1, 2, 3))
    assert row.mean_bgr == pytest.approx(np.concatenate([image.reshape(-1, 3) for image, _ in train.values()]).mean(axis=0))
    assert (row.name, row.splits) == ('mine', {'train': 3, 'val': 1})
    assert read_manifest(out / 'train_404')['classes'] == 3
    assert f'NETWORK@mine and STAGE@mine look for it at {ROOT / "data" / "mine"}' in capsys.readouterr().out


def test_half_of_a_full_size_image_of_cityscapes_is_one_crop_of_1396(tmp_path):
    """Columns 0-1395 or 1024-2419 of the padded image, 2420x1396, with the labels of columns 0-1023 or 1024-2047."""
    image, ids = mini.noise(1, 1024, 2048, 3), mini.labels(2, [*range(34)], 1024, 2048)
    mini.save(tmp_path / 'i.png', image[..., ::-1])
    mini.save(tmp_path / 'l.png', ids)
    label = np.array(mini.TRAIN_IDS, np.uint8)[ids]
    whole = padded(image, label, 1396)
    assert whole.shape == (4, 1396, 2420)
    left, right = halves(Record('x', tmp_path / 'i.png', tmp_path / 'l.png', 'cityscapes', 'cityscapes_ids'))
    assert (left.id, right.id) == ('x_left', 'x_right')
    for half, first in ((left, 0), (right, 1024)):
        datum = decode_datum(Layout(MARGIN, 1396, 'raw').datum(half)[1])
        np.testing.assert_array_equal(datum, whole[:, :, first : first + 1396])
        np.testing.assert_array_equal(datum[3, 186:-186, 186:-186], label[:, first : first + 1024])


# Complete or not


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('voc', r'VOC 2012 has 2 train \(complete: 1464\), 2 val \(complete: 1449\)'),
        ('voc_coco', r'VOC 2012 has 2 train'),
        ('camvid', r'camvid has 2 train \(complete: 367\), 1 val \(complete: 101\), 1 test \(complete: 233\)'),
        ('kitti', r'kitti has 2 train \(complete: 100\), 1 test \(complete: 46\)'),
        ('cityscapes', r'cityscapes has 3 train \(complete: 2975\), 6 train_halves \(complete: 5950\), 1 val \(complete: 500\)'),
    ],
)
def test_incomplete_copy_is_refused(tmp_path, name, words):
    mini.MINIATURES[name](tmp_path / 'in')
    with pytest.raises(UserError, match=rf'{words}.*--allow-partial \(PARTIAL=1'):
        getattr(dataset_prep, name).main(['--data', str(tmp_path / 'in'), '--out', str(tmp_path / 'out')])
    assert not (tmp_path / 'out').exists()


def test_complete_copy_of_voc_and_sbd_is_accepted(tmp_path, monkeypatch):
    """Lists of the published lengths: 2,237 images of SBD are in VOC too, 1,100 of them in VOC train."""
    ids = [f'{number:06d}' for number in range(1464 + 1449 + 9118)]
    train, val, other = ids[:1464], ids[1464 : 1464 + 1449], ids[1464 + 1449 :]
    sbd = train[:1100] + val[:1137] + other
    for folder in ('VOC2012/JPEGImages', 'VOC2012/SegmentationClass', 'dataset/img', 'dataset/cls'):
        (tmp_path / folder).mkdir(parents=True)
    mini.write_lines(tmp_path / 'VOC2012/ImageSets/Segmentation/train.txt', train)
    mini.write_lines(tmp_path / 'VOC2012/ImageSets/Segmentation/val.txt', val)
    mini.write_lines(tmp_path / 'dataset/train.txt', sbd[:8498])
    mini.write_lines(tmp_path / 'dataset/val.txt', sbd[8498:])
    monkeypatch.setattr('dataset_prep.voc.check_files', lambda records: None)
    splits = find_splits(tmp_path)
    assert [record.id for record in splits['train_aug']] == train + other
    assert {record.encoding for record in splits['train_aug'][:1464]} == {'ids'}
    assert {record.encoding for record in splits['train_aug'][1464:]} == {'sbd'}
    mini.write_lines(tmp_path / 'dataset/val.txt', sbd[8499:])
    with pytest.raises(UserError, match=r'this copy of SBD has 2856 val \(complete: 2857\)'):
        find_splits(tmp_path)
    mini.write_lines(tmp_path / 'dataset/val.txt', [train[1100], *sbd[8499:]])
    with pytest.raises(UserError, match=r'this copy of pascal_voc has 10581 train_aug \(complete: 10582\)'):
        find_splits(tmp_path)


@pytest.mark.parametrize(
    ('file', 'content', 'words'),
    [
        (f'{VOC_LISTS}/train.txt', '', 'train.txt is empty'),
        (f'{VOC_LISTS}/val.txt', 'a\nb\na\n', 'val.txt line 3: a is already listed in line 1'),
        (f'{VOC_LISTS}/train.txt', '2007_000042\n', '2007_000042 is in train.txt and in val.txt'),
        ('benchmark_RELEASE/dataset/val.txt', '2008_000009\n', 'no file at .*2008_000009.jpg'),
    ],
)
def test_bad_lists_of_voc_are_named(tmp_path, file, content, words):
    mini.voc(tmp_path / 'in')
    (tmp_path / 'in' / file).write_text(content)
    with pytest.raises(UserError, match=words):
        mini.prepare('voc', tmp_path / 'in', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


# Where the data set lies


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('voc', 'holds no PASCAL VOC 2012: no folder with ImageSets/.*nor VOCtrainval_11-May-2012.tar'),
        ('camvid', 'is not CamVid: neither 701_StillsRaw_full'),
    ],
)
def test_folder_without_the_data_set_is_refused(tmp_path, name, words):
    """The message says what was looked for."""
    (tmp_path / 'empty').mkdir()
    for folder, message in (('empty', words), ('gone', 'no folder .*gone')):
        with pytest.raises(UserError, match=message):
            mini.prepare(name, tmp_path / folder, tmp_path / 'out')


def test_voc_is_found_at_its_root_and_sbd_elsewhere(tmp_path):
    train, _ = mini.voc(tmp_path / 'a')
    (tmp_path / 'a' / 'benchmark_RELEASE').rename(tmp_path / 'sbd')
    splits = find_splits(tmp_path / 'a' / 'VOCdevkit' / 'VOC2012', tmp_path / 'sbd', allow_partial=True)
    assert [record.id for record in splits['train_aug']] == sorted(train)


def test_voc_of_another_year_is_not_confused_with_2012(tmp_path):
    train, _ = mini.voc(tmp_path)
    shutil.copytree(tmp_path / 'VOCdevkit' / 'VOC2012', tmp_path / 'VOCdevkit' / 'VOC2007')
    assert len(find_splits(tmp_path, allow_partial=True)['train_aug']) == len(train)
    (tmp_path / 'VOCdevkit' / 'VOC2012').rename(tmp_path / 'VOCdevkit' / 'VOC2008')
    with pytest.raises(UserError, match='VOC2007 and .*VOC2008 both hold PASCAL VOC 2012; give one of them'):
        find_splits(tmp_path, allow_partial=True)


def test_archives_are_checked_and_unpacked_once(tmp_path):
    """VOC's tar files and SBD's tgz."""
    train, _ = mini.voc(tmp_path / 'tree')
    data = tmp_path / 'down loads'
    data.mkdir()
    pack(data / 'VOCtrainval_11-May-2012.tar', tmp_path / 'tree' / 'VOCdevkit')
    pack(data / 'benchmark.tgz', tmp_path / 'tree' / 'benchmark_RELEASE')
    with pytest.raises(UserError, match=r'VOCtrainval_11-May-2012.tar is not the archive .*md5 6cd6e144'):
        find_splits(data)
    test = mini.voc_test(tmp_path / 'test')
    pack(data / 'VOC2012test.tar', tmp_path / 'test' / 'VOCdevkit')
    out = mini.prepare('voc', data, tmp_path / 'out')
    check_split(out, 'train_aug', train)
    assert [record.id for record in load_split(out, 'test')] == test
    for archive in ('VOCtrainval_11-May-2012.tar', 'benchmark.tgz'):
        (data / archive).unlink()
    assert len(find_splits(data, allow_partial=True)['train_aug']) == len(train)


def pack(archive, folder):
    """Move a folder into an archive."""
    kind = {'.tar': 'tar', '.tgz': 'gztar', '.zip': 'zip'}[archive.suffix]
    Path(shutil.make_archive(archive.with_suffix(''), kind, folder.parent, folder.name)).rename(archive)
    shutil.rmtree(folder)


def test_zips_are_unpacked(tmp_path):
    truth = mini.coco(tmp_path / 'coco')
    pack(tmp_path / 'coco' / 'train2014.zip', tmp_path / 'coco' / 'train2014')
    pack(tmp_path / 'coco' / 'annotations_trainval2014.zip', tmp_path / 'coco' / 'annotations')
    [of_coco] = find_coco(tmp_path / 'coco', ['train2014'], tmp_path / 'out', 0, allow_partial=True)
    truth |= mini.cityscapes(tmp_path / 'city')['val']
    for folder in ('leftImg8bit', 'gtFine'):
        pack(tmp_path / 'city' / f'{folder}_trainvaltest.zip', tmp_path / 'city' / folder)
    [of_cityscapes] = dataset_prep.cityscapes.find_splits(tmp_path / 'city', allow_partial=True)['val']
    for record in (of_coco, of_cityscapes):
        np.testing.assert_array_equal(read_image(record), truth[record.id][0])
        np.testing.assert_array_equal(read_label(record), truth[record.id][1])


@pytest.mark.parametrize(
    ('damage', 'words'),
    [
        ('cut', 'cut short or damaged'),
        ('link', 'VOCdevkit/link, which is not a regular file; unpack it yourself: tar xf'),
        ('outside', 'do not trust this archive'),
        ('checksum', r'benchmark.tgz is cut short or damaged \(CRC check failed'),  # gzip's own error does not name the file
    ],
)
def test_bad_archive_leaves_nothing_behind(tmp_path, damage, words):
    mini.voc(tmp_path)
    if damage == 'link':
        (tmp_path / 'VOCdevkit' / 'link').symlink_to('/etc/passwd')
    archive = tmp_path / ('benchmark.tgz' if damage == 'checksum' else 'VOCtrainval_11-May-2012.tar')
    pack(archive, tmp_path / ('benchmark_RELEASE' if damage == 'checksum' else 'VOCdevkit'))
    if damage == 'cut':
        archive.write_bytes(archive.read_bytes()[:20000])
    if damage == 'outside':
        with tarfile.open(archive, 'a') as tar:
            tar.add(__file__, '../outside.py')
    if damage == 'checksum':
        content = archive.read_bytes()
        archive.write_bytes(content[:-8] + bytes([content[-8] ^ 1]) + content[-7:])
    with pytest.raises(UserError, match=words):
        find_splits(tmp_path, allow_partial=True)
    assert not any((tmp_path / 'unpacked').iterdir())
    assert not (tmp_path / 'outside.py').exists()


def test_archive_on_a_read_only_disk_is_an_error_with_the_command_to_unpack_it(tmp_path, monkeypatch):
    def refuse(path):
        raise OSError(errno.EROFS, 'Read-only file system', str(path))

    mini.voc(tmp_path)
    pack(tmp_path / 'VOCtrainval_11-May-2012.tar', tmp_path / 'VOCdevkit')
    monkeypatch.setattr(archives, 'whole_folder', refuse)
    with pytest.raises(UserError, match=r'cannot be written \(Read-only file system\); unpack it yourself: tar xf .* -C FOLDER'):
        find_splits(tmp_path, allow_partial=True)


@pytest.mark.parametrize('name', ['kitti', 'cityscapes', 'custom'])
def test_hidden_files_of_macos_are_ignored(tmp_path, name):
    """macOS writes ._NAME beside each file on disks of other systems and in archives."""
    mini.MINIATURES[name](tmp_path / 'in')
    for path in [path for path in (tmp_path / 'in').rglob('*') if path.is_file()]:
        path.with_name(f'._{path.name}').write_bytes(b'\0\5\x16\7')
    out = mini.prepare(name, tmp_path / 'in', tmp_path / 'out', '--lists-only')
    ids = [record.id for path in out.glob('t*.json') for record in load_split(out, path.stem)]
    assert ids and not any('._' in name for name in ids)


def test_files_of_other_programs_are_never_replaced(tmp_path):
    """After a typing error in OUT=: folders and lists with the names of ours."""
    mini.voc(tmp_path / 'in')
    mini.coco(tmp_path / 'in')
    out = tmp_path / 'out'
    files = [out / 'drawn' / 'train' / 'a.png', out / 'coco_labels' / 'train2014' / 'b.png', out / 'val.json']
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"annotations": []}')
    with pytest.raises(UserError, match='out/drawn/train holds files that this command did not write'):
        toy.main(['--out', str(out)])
    with pytest.raises(UserError, match='out/coco_labels/train2014 holds files that this command did not write'):
        mini.prepare('voc_coco', tmp_path / 'in', out)
    with pytest.raises(UserError, match='out/val.json was not written by this toolkit'):
        mini.prepare('voc', tmp_path / 'in', out)
    assert all(path.read_text() == '{"annotations": []}' for path in files)


# What training reads, and make

CROP_SIZES = {
    'pascal_voc/train_aug': dataset_prep.voc.CROP_SIZES,
    'pascal_voc/train_aug_coco': dataset_prep.voc.CROP_SIZES,
    'camvid/train': dataset_prep.camvid.CROP_SIZES,
    'kitti/train': dataset_prep.kitti.CROP_SIZES,
    'cityscapes/train': dataset_prep.cityscapes.CROP_SIZES,
    'cityscapes/train_halves': (HALVES_CROP_SIZE,),
    'toy/train': toy.CROP_SIZES,
}
OTHER_CROPS = ('crfrnn', 'fcn', 'deeplab', 'small')  # their stages need CROP_SIZE=, as the message about the missing LMDB says


@pytest.mark.parametrize(
    'stage', [name for name, row in STAGES.items() if row.start == 'data' and not any(word in name for word in OTHER_CROPS)]
)
def test_commands_write_the_lmdb_of_every_stage_by_default(stage):
    assert lmdb_of(STAGES[stage]) in {f'{split}_{side}' for split, sides in CROP_SIZES.items() for side in sides}


def test_message_about_missing_data_names_the_make_target():
    assert how_to_prepare('pascal_voc') == 'run: make lmdb-voc DATA=FOLDER'
    assert how_to_prepare('pascal_voc', 'train_aug_coco') == 'run: make lmdb-voc-coco DATA=FOLDER'
    assert how_to_prepare('kitti') == 'run: make lmdb-kitti DATA=FOLDER'
    assert how_to_prepare('cityscapes', 'train_halves') == 'run: make lmdb-cityscapes DATA=FOLDER'


PARTIAL = {'PARTIAL': '1'}, ['--allow-partial']


@pytest.mark.parametrize(
    ('target', 'variables', 'options'),
    [
        ('voc', *PARTIAL),
        ('kitti', *PARTIAL),
        ('cityscapes', *PARTIAL),
        ('voc-coco', *PARTIAL),
        (
            'voc-coco',
            {'ANNOTATIONS': 'hariharan', 'OTHER_OBJECTS': 'left'},
            ['--annotations', 'hariharan', '--other-objects', 'left'],
        ),
        (
            'custom',
            {'CLASSES': 'a b.txt', 'NAME': 'mine', 'SIZE': '640x480'},
            ['--classes', 'a b.txt', '--name', 'mine', '--size', '640x480'],
        ),
    ],
)
def test_make_target_passes_its_variables_to_the_command(target, variables, options):
    given = ['DATA=my folder', *(f'{name}={value}' for name, value in variables.items())]
    words = ['make', '--no-print-directory', '-n', '-o', 'caffe', f'lmdb-{target}', *given]
    printed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    module = f'dataset_prep.{target.replace("-", "_")}'
    assert shlex.split(printed)[1:] == ['-m', module, '--data', 'my folder', *options]
