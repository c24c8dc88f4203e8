"""All data sets from their official layouts, in miniature, to what Caffe reads of them; and what is refused on the way."""

import errno
import os
import shlex
import shutil
import subprocess
import tarfile
import zipfile
from functools import partial

import numpy as np
import pytest
from mini_archives import TRAIN_IDS, camvid, cityscapes, coco, custom, kitti, labels, noise, voc, voc_test, write_lines
from PIL import Image
from scipy.io import loadmat
from through_caffe import MARGIN, check_lmdb, padded

from dataset_prep import archives
from dataset_prep import camvid as camvid_command
from dataset_prep import cityscapes as cityscapes_command
from dataset_prep import custom as custom_command
from dataset_prep import kitti as kitti_command
from dataset_prep import toy as toy_command
from dataset_prep import voc as voc_command
from dataset_prep import voc_coco as voc_coco_command
from dataset_prep.class_lists import read_classes
from dataset_prep.datasets import how_to_prepare, read_own
from dataset_prep.datum import decode_datum
from dataset_prep.label_forms import find_labels
from dataset_prep.lmdb_store import read_manifest
from dataset_prep.lmdb_writer import Layout
from dataset_prep.own_labels import Names
from dataset_prep.records import Record, load_split, read_image, read_label
from prototxt.experiments import STAGES
from prototxt.lmdb_names import lmdb_of
from tools.support.errors import UserError
from tools.support.paths import ROOT

# pycocotools and NumPy 2 disagree about a keyword, without effect.
pytestmark = pytest.mark.filterwarnings('ignore:__array__ implementation:DeprecationWarning')
CROP = 404  # the front end's least, and 4 cells


def run(command, data, out, *more, crop=CROP):
    """A command on a miniature, whose counts are not those of a complete copy."""
    partial = [] if command is custom_command else ['--allow-partial']
    command.main(['--data', str(data), '--out', str(out), '--crop-size', str(crop), *partial, *more])


def check_split(folder, split, truth):
    """A listed split reads as the truth."""
    records = load_split(folder, split)
    assert sorted(record.id for record in records) == sorted(truth)
    for record in records:
        np.testing.assert_array_equal(read_image(record), truth[record.id][0], record.id)
        np.testing.assert_array_equal(read_label(record), truth[record.id][1], record.id)


def all_padded(truth, crop=CROP):
    return {name: padded(*pair, crop) for name, pair in truth.items()}


# VOC 2012 and SBD


def test_voc_and_sbd_come_through_caffe(tmp_path, capsys):
    """VOC's labels for what is in VOC train, SBD's for the rest, nothing of VOC val; every pixel of image and label."""
    train, val = voc(tmp_path / 'da ta é')
    test = voc_test(tmp_path / 'da ta é')
    out = tmp_path / 'out'
    run(voc_command, tmp_path / 'da ta é', out)
    assert [record.id for record in load_split(out, 'train_aug')] == sorted(train)
    assert sorted(train) == ['2007_000032', '2007_000039', '2008_000001', '2008_000002']
    check_split(out, 'train_aug', train)
    check_split(out, 'val', val)
    assert [(record.id, record.label) for record in load_split(out, 'test')] == [(name, None) for name in test]
    check_lmdb(tmp_path, out / 'train_aug_404', all_padded(train), CROP)
    printed = capsys.readouterr().out
    assert 'VOC 2012 has 2 train (complete: 1464), 2 val (complete: 1449)' in printed
    assert 'SBD has 3 train (complete: 8498), 1 val (complete: 2857)' in printed
    assert '4 train_aug (complete: 10582)' in printed
    manifest = read_manifest(out / 'train_aug_404')
    assert (manifest['dataset'], manifest['split'], manifest['count'], manifest['classes']) == ('pascal_voc', 'train_aug', 4, 21)


def test_voc_counts_of_a_complete_copy_pass_and_others_are_refused(tmp_path, monkeypatch):
    voc(tmp_path)
    with pytest.raises(UserError, match=r'VOC 2012 has 2 train \(complete: 1464\).*--allow-partial \(PARTIAL=1'):
        voc_command.find_splits(tmp_path)
    monkeypatch.setattr(voc_command, 'COUNTS', {'train': 2, 'val': 2})
    monkeypatch.setattr(voc_command, 'SBD_COUNTS', {'train': 3, 'val': 1})
    with pytest.raises(UserError, match=r'pascal_voc has 4 train_aug \(complete: 10582\)'):
        voc_command.find_splits(tmp_path)


def test_complete_copy_passes_and_one_image_less_does_not(tmp_path, monkeypatch):
    """Lists as long as the published ones: 2,237 of SBD's images are VOC's own, of which 1,100 are in VOC train here."""
    ids = [f'{number:06d}' for number in range(1464 + 1449 + 9118)]
    train, val, other = ids[:1464], ids[1464 : 1464 + 1449], ids[1464 + 1449 :]
    sbd = train[:1100] + val[:1137] + other
    voc_root, sbd_root = tmp_path / 'VOC2012', tmp_path / 'dataset'
    for folder in (voc_root / 'JPEGImages', voc_root / 'SegmentationClass', sbd_root / 'img', sbd_root / 'cls'):
        folder.mkdir(parents=True)
    write_lines(voc_root / 'ImageSets' / 'Segmentation' / 'train.txt', train)
    write_lines(voc_root / 'ImageSets' / 'Segmentation' / 'val.txt', val)
    write_lines(sbd_root / 'train.txt', sbd[:8498])
    write_lines(sbd_root / 'val.txt', sbd[8498:])
    monkeypatch.setattr(voc_command, 'check_files', lambda records: None)
    splits = voc_command.find_splits(tmp_path)
    assert [record.id for record in splits['train_aug']] == train + other
    assert {record.encoding for record in splits['train_aug'][:1464]} == {'ids'}
    assert {record.encoding for record in splits['train_aug'][1464:]} == {'sbd'}
    write_lines(sbd_root / 'val.txt', sbd[8499:])
    with pytest.raises(UserError, match=r'this copy of SBD has 2856 val \(complete: 2857\)'):
        voc_command.find_splits(tmp_path)


def test_sbd_may_lie_elsewhere_and_voc_at_its_root(tmp_path):
    train, _ = voc(tmp_path / 'a')
    (tmp_path / 'a' / 'benchmark_RELEASE').rename(tmp_path / 'sbd')
    splits = voc_command.find_splits(tmp_path / 'a' / 'VOCdevkit' / 'VOC2012', tmp_path / 'sbd', allow_partial=True)
    assert [record.id for record in splits['train_aug']] == sorted(train)


def test_voc_of_another_year_beside_it_is_left_alone(tmp_path):
    train, _ = voc(tmp_path)
    shutil.copytree(tmp_path / 'VOCdevkit' / 'VOC2012', tmp_path / 'VOCdevkit' / 'VOC2007')
    assert len(voc_command.find_splits(tmp_path, allow_partial=True)['train_aug']) == len(train)
    (tmp_path / 'VOCdevkit' / 'VOC2012').rename(tmp_path / 'VOCdevkit' / 'VOC2008')
    with pytest.raises(UserError, match='VOC2007 and .*VOC2008 both hold PASCAL VOC 2012; give one of them'):
        voc_command.find_splits(tmp_path, allow_partial=True)


def test_archives_as_distributed_are_unpacked_once_and_whole(tmp_path, monkeypatch):
    """VOC's tar and SBD's tgz, checked by their sums."""
    train, _ = voc(tmp_path / 'tree')
    data = tmp_path / 'down loads'
    data.mkdir()
    pack(data / 'VOCtrainval_11-May-2012.tar', tmp_path / 'tree' / 'VOCdevkit', 'w')
    pack(data / 'benchmark.tgz', tmp_path / 'tree' / 'benchmark_RELEASE', 'w:gz')
    with pytest.raises(UserError, match=r'VOCtrainval_11-May-2012.tar is not the archive .*md5 6cd6e144'):
        voc_command.find_splits(data)
    test = voc_test(tmp_path / 'test')
    pack(data / 'VOC2012test.tar', tmp_path / 'test' / 'VOCdevkit', 'w')
    run(voc_command, data, tmp_path / 'out')
    check_split(tmp_path / 'out', 'train_aug', train)
    assert [record.id for record in load_split(tmp_path / 'out', 'test')] == test
    for archive in ('VOCtrainval_11-May-2012.tar', 'benchmark.tgz'):
        (data / archive).unlink()
    assert len(voc_command.find_splits(data, allow_partial=True)['train_aug']) == len(train)


def pack(archive, folder, mode):
    with tarfile.open(archive, mode) as tar:
        tar.add(folder, folder.name)


@pytest.mark.parametrize('damage', ['cut', 'link', 'outside'])
def test_bad_archive_leaves_nothing_behind(tmp_path, damage):
    voc(tmp_path / 'tree')
    data = tmp_path / 'data'
    data.mkdir()
    archive = data / 'VOCtrainval_11-May-2012.tar'
    if damage == 'link':
        (tmp_path / 'tree' / 'VOCdevkit' / 'link').symlink_to('/etc/passwd')
    pack(archive, tmp_path / 'tree' / 'VOCdevkit', 'w')
    if damage == 'cut':
        archive.write_bytes(archive.read_bytes()[:20000])
    if damage == 'outside':
        with tarfile.open(archive, 'a') as tar:
            tar.add(__file__, '../outside.py')
    words = {
        'cut': 'cut short or damaged',
        'link': 'VOCdevkit/link, which is not a regular file; unpack it yourself: tar xf',
        'outside': 'do not trust this archive',
    }
    with pytest.raises(UserError, match=words[damage]):
        voc_command.find_splits(data, allow_partial=True)
    assert not any((data / 'unpacked').iterdir())
    assert not (data / 'outside.py').exists()


def test_gzip_with_a_wrong_sum_is_named(tmp_path):
    """Of a .tgz whose MD5 nobody looks at; gzip's error is one of the system's, without a file."""
    voc(tmp_path)
    pack(tmp_path / 'benchmark.tgz', tmp_path / 'benchmark_RELEASE', 'w:gz')
    shutil.rmtree(tmp_path / 'benchmark_RELEASE')
    content = bytearray((tmp_path / 'benchmark.tgz').read_bytes())
    content[-8] ^= 1
    (tmp_path / 'benchmark.tgz').write_bytes(content)
    with pytest.raises(UserError, match=r'benchmark.tgz is cut short or damaged \(CRC check failed'):
        voc_command.find_splits(tmp_path, allow_partial=True)


def test_archive_on_a_disk_that_is_not_to_be_written_says_how_to_unpack_elsewhere(tmp_path, monkeypatch):
    def refuse(path):
        raise OSError(errno.EROFS, 'Read-only file system', str(path))

    voc(tmp_path / 'tree')
    pack(tmp_path / 'VOCtrainval_11-May-2012.tar', tmp_path / 'tree' / 'VOCdevkit', 'w')
    shutil.rmtree(tmp_path / 'tree')
    monkeypatch.setattr(archives, 'whole_folder', refuse)
    with pytest.raises(UserError, match=r'cannot be written \(Read-only file system\); unpack it yourself: tar xf .* -C FOLDER'):
        voc_command.find_splits(tmp_path, allow_partial=True)


@pytest.mark.parametrize(
    ('file', 'content', 'words'),
    [
        ('VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt', '', 'train.txt is empty'),
        ('VOCdevkit/VOC2012/ImageSets/Segmentation/val.txt', 'a\nb\na\n', 'val.txt line 3: a is already listed in line 1'),
        ('VOCdevkit/VOC2012/ImageSets/Segmentation/train.txt', '2007_000042\n', '2007_000042 is in train.txt and in val.txt'),
        (
            'benchmark_RELEASE/dataset/val.txt',
            '2008_000009\n',
            'no file at .*2008_000009.jpg',
        ),
    ],
)
def test_bad_lists_of_voc_are_named(tmp_path, file, content, words):
    voc(tmp_path / 'in')
    (tmp_path / 'in' / file).write_text(content)
    with pytest.raises(UserError, match=words):
        run(voc_command, tmp_path / 'in', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_folder_without_voc_says_what_was_looked_for(tmp_path):
    with pytest.raises(UserError, match='holds no PASCAL VOC 2012: no folder with ImageSets/.*nor VOCtrainval_11-May-2012.tar'):
        voc_command.find_splits(tmp_path)
    with pytest.raises(UserError, match='no folder .*gone'):
        voc_command.find_splits(tmp_path / 'gone')


def test_annotations_of_hariharan_take_the_place_of_vocs_where_both_are(tmp_path):
    """2007_000032 is in VOC train and in SBD, 2007_000039 in VOC train alone; val stays VOC's."""
    train, val = voc(tmp_path)
    run(voc_command, tmp_path, tmp_path / 'out', '--annotations', 'hariharan')
    records = {record.id: record for record in load_split(tmp_path / 'out', 'train_aug')}
    both = records.pop('2007_000032')
    np.testing.assert_array_equal(read_label(both), loadmat(both.label)['GTcls']['Segmentation'][0, 0])
    assert read_image(both).shape[:2] == read_label(both).shape
    assert records['2007_000039'].label.parent.name == 'SegmentationClass'
    assert {record.label.suffix for name, record in records.items() if '2008' in name} == {'.mat'}
    check_split(tmp_path / 'out', 'val', val)


# COCO


def test_objects_of_other_categories_are_drawn_over_where_that_is_asked_for(tmp_path):
    """The cup, 3x3 pixels from column and row 25, lies on the person; it chooses no image. Each reading has its own labels."""
    [(name, (_, left)), *_] = coco(tmp_path).items()
    expected = left.copy()
    expected[25:28, 25:28] = 0
    assert (left[25:28, 25:28] == 15).all()
    find = partial(voc_coco_command.find_coco, tmp_path, ['train2014'], tmp_path / 'out', 0, True)
    [drawn], [undrawn] = find('drawn-over'), find()
    assert drawn.id == undrawn.id == name
    np.testing.assert_array_equal(read_label(drawn), expected)
    np.testing.assert_array_equal(read_label(undrawn), left)


def test_voc_and_coco_are_joined_and_come_through_caffe(tmp_path, capsys):
    """Polygons whose pixels were counted by hand; images without an object of VOC's categories are left out."""
    train, val = voc(tmp_path)
    drawn = coco(tmp_path)
    counts = {name: np.bincount(label.ravel(), minlength=256) for name, (_, label) in drawn.items()}
    first = counts['COCO_train2014_000000000009']
    assert (first[15], first[12], first[7], first[255]) == (300 - 20, 20, 64, 240)
    assert counts['COCO_val2014_000000000042'][18] == 6 + 20
    out = tmp_path / 'out'
    run(voc_coco_command, tmp_path, out)
    check_split(out, 'train_aug_coco', {**train, **drawn})
    check_split(out, 'val', val)
    check_lmdb(tmp_path, out / 'train_aug_coco_404', all_padded({**train, **drawn}), CROP)
    assert 'COCO train2014: 1 of 2 images are taken' in capsys.readouterr().out
    assert Image.open(out / 'coco_labels' / 'train2014' / 'COCO_train2014_000000000009.png').mode == 'P'


def test_voc_alone_and_joined_with_coco_lie_in_one_folder(tmp_path):
    """The lists and LMDBs of one are kept when the other is made."""
    voc(tmp_path)
    coco(tmp_path)
    for command in (voc_command, voc_coco_command, voc_command):
        run(command, tmp_path, tmp_path / 'out')
    assert [read_manifest(tmp_path / 'out' / f'{split}_404')['count'] for split in ('train_aug', 'train_aug_coco')] == [4, 6]


def test_coco_images_with_little_of_objects_can_be_left_out(tmp_path):
    coco(tmp_path)
    taken = voc_coco_command.find_coco(tmp_path, ['val2014', 'train2014'], tmp_path / 'out', 27, allow_partial=True)
    assert [record.id for record in taken] == ['COCO_train2014_000000000009']
    assert len(voc_coco_command.find_coco(tmp_path, ['val2014'], tmp_path / 'out', 26, allow_partial=True)) == 1


def test_coco_image_that_is_not_there_is_named_before_labels_are_drawn(tmp_path):
    coco(tmp_path)
    (tmp_path / 'val2014' / 'COCO_val2014_000000000042.jpg').unlink()
    with pytest.raises(UserError, match='1 of 1 .* unpack val2014 anew:\n  no file at .*COCO_val2014_000000000042.jpg'):
        voc_coco_command.find_coco(tmp_path, ['val2014'], tmp_path / 'out', 0, allow_partial=True)
    assert not (tmp_path / 'out').exists()


# CamVid


def test_camvid_comes_through_caffe(tmp_path):
    """All 32 colours."""
    train = camvid(tmp_path / 'Cam Vid')
    run(camvid_command, tmp_path / 'Cam Vid', tmp_path / 'out', '--size', '45x33')
    check_split(tmp_path / 'out', 'train', train)
    check_lmdb(tmp_path, tmp_path / 'out' / 'train_404', all_padded(train), CROP)


# KITTI


def test_kitti_comes_through_caffe(tmp_path, capsys):
    train, test = kitti(tmp_path / 'KITTI')
    out = tmp_path / 'out'
    run(kitti_command, tmp_path, out, '--encoding', 'png')
    check_split(out, 'train', train)
    check_split(out, 'test', test)
    check_lmdb(tmp_path, out / 'train_404', all_padded(train), CROP)
    assert 'this copy of kitti has 2 train (complete: 100), 1 test (complete: 46)' in capsys.readouterr().out


# Cityscapes


def test_cityscapes_comes_through_caffe(tmp_path):
    """Whole images, and halves with the other half as their margin in the middle."""
    truth = cityscapes(tmp_path / 'Cityscapes')
    out = tmp_path / 'out'
    run(cityscapes_command, tmp_path / 'Cityscapes', out, '--halves-crop-size', '404')
    check_split(out, 'train', truth['train'])
    check_split(out, 'val', truth['val'])
    assert [record.label for record in load_split(out, 'test')] == [None]
    whole = all_padded(truth['train'])
    check_lmdb(tmp_path, out / 'train_404', whole, CROP)
    left = {f'{name}_left': pair[:, :, : 32 + 2 * MARGIN] for name, pair in whole.items()}
    right = {f'{name}_right': pair[:, :, 32:] for name, pair in whole.items()}
    check_lmdb(tmp_path, out / 'train_halves_404', {**left, **right}, CROP)
    manifest = read_manifest(out / 'train_halves_404')
    ids = np.concatenate([label.ravel() for _, label in truth['train'].values()])
    assert list(manifest['pixels_per_class'].values()) == [int((ids == index).sum()) for index in range(19)]
    assert manifest['ignored_pixels'] == (ids == 255).sum()


def test_half_of_a_full_size_image_is_one_crop_of_1396(tmp_path):
    """Columns 0-1395 and 1024-2419 of the padded image, 2420x1396: labels of columns 0-1023 and 1024-2047."""
    image, ids = noise(1, 1024, 2048, 3), labels(2, [*range(34)], 1024, 2048)
    Image.fromarray(image[..., ::-1]).save(tmp_path / 'i.png', compress_level=0)
    Image.fromarray(ids).save(tmp_path / 'l.png', compress_level=0)
    record = Record('x', tmp_path / 'i.png', tmp_path / 'l.png', 'cityscapes', 'cityscapes_ids')
    label = np.array(TRAIN_IDS, np.uint8)[ids]
    whole = padded(image, label, 1396)
    assert whole.shape == (4, 1396, 2420)
    left, right = cityscapes_command.halves(record)
    assert (left.id, right.id) == ('x_left', 'x_right')
    for half, first in ((left, 0), (right, 1024)):
        datum = decode_datum(Layout(MARGIN, 1396, 'raw').datum(half)[1])
        np.testing.assert_array_equal(datum, whole[:, :, first : first + 1396])
        np.testing.assert_array_equal(datum[3, 186:-186, 186:-186], label[:, first : first + 1024])


def zip_away(data, folder, archive):
    """Put a folder into an archive beside it."""
    with zipfile.ZipFile(data / archive, 'w') as zipped:
        for path in sorted((data / folder).rglob('*')):
            zipped.write(path, path.relative_to(data))
    shutil.rmtree(data / folder)


def test_coco_zips_are_unpacked(tmp_path):
    truth = coco(tmp_path)
    for folder, archive in (('train2014', 'train2014.zip'), ('annotations', 'annotations_trainval2014.zip')):
        zip_away(tmp_path, folder, archive)
    [record] = voc_coco_command.find_coco(tmp_path, ['train2014'], tmp_path / 'out', 0, allow_partial=True)
    np.testing.assert_array_equal(read_image(record), truth[record.id][0])
    np.testing.assert_array_equal(read_label(record), truth[record.id][1])


@pytest.mark.parametrize('packed', ['leftImg8bit', 'gtFine'])
def test_cityscapes_zip_is_unpacked(tmp_path, packed):
    truth = cityscapes(tmp_path)
    zip_away(tmp_path, packed, f'{packed}_trainvaltest.zip')
    splits = cityscapes_command.find_splits(tmp_path, allow_partial=True)
    np.testing.assert_array_equal(read_image(splits['val'][0]), truth['val']['lindau_000000_000019'][0])


# A folder of the user's own


def run_custom(data, out, *more):
    custom_command.main(['--data', str(data), '--out', str(out), '--crop-size', '404', *more])


def test_own_folder_comes_through_caffe(tmp_path, capsys):
    """Grey and palette labels, names with spaces and letters of other languages; mean and classes kept for training."""
    truth = custom(tmp_path / 'min data å')
    (tmp_path / 'classes.txt').write_text('Straße 10 20 30\ndark sky\n猫  1 2 3\n', encoding='utf-8')
    out = tmp_path / 'out'
    run_custom(
        tmp_path / 'min data å', out, '--classes', str(tmp_path / 'classes.txt'), '--name', 'mine', '--val-fraction', '0.25'
    )
    splits = {split: [record.id for record in load_split(out, split)] for split in ('train', 'val')}
    assert (len(splits['train']), len(splits['val'])) == (3, 1)
    assert sorted(splits['train'] + splits['val']) == sorted(truth)
    train = {name: truth[name] for name in splits['train']}
    check_split(out, 'train', train)
    check_lmdb(tmp_path, out / 'train_404', all_padded(train), CROP)
    row = read_own(out)
    assert row.classes == ('Straße', 'dark sky', '猫')
    assert row.palette == ((10, 20, 30), (128, 0, 0), (1, 2, 3))
    assert row.mean_bgr == pytest.approx(np.concatenate([image.reshape(-1, 3) for image, _ in train.values()]).mean(axis=0))
    assert (row.name, row.splits) == ('mine', {'train': 3, 'val': 1})
    assert read_manifest(out / 'train_404')['classes'] == 3
    assert f'NETWORK@mine and STAGE@mine look for it at {ROOT / "data" / "mine"}' in capsys.readouterr().out


def test_own_images_are_read_once_before_anything_is_written(tmp_path, monkeypatch):
    """For the mean, the check and the summary together."""
    truth, read = custom(tmp_path / 'in'), []

    def read_and_note(record):
        read.append(record.id)
        return read_image(record)

    monkeypatch.setattr('dataset_prep.statistics.read_image', read_and_note)
    run_custom(tmp_path / 'in', tmp_path / 'out', '--classes', '3', '--name', 'mine', '--lists-only')
    assert sorted(read) == sorted(truth)


def test_masks_of_0_and_255_are_refused_and_absent_classes_named(tmp_path, capsys):
    """255 is ignored: as masks have it nothing but the background would be learned."""
    custom(tmp_path / 'in')
    options = ['--classes', '4', '--name', 'mine', '--lists-only']
    run_custom(tmp_path / 'in', tmp_path / 'out', *options)
    assert 'note: no pixel of train is class 3\n' in capsys.readouterr().out
    for path in (tmp_path / 'in' / 'labels').iterdir():
        with Image.open(path) as picture:
            ids = np.asarray(picture)
        Image.fromarray(np.where(ids == 0, 0, 255).astype(np.uint8)).save(path)
    with pytest.raises(UserError, match='hold only class 0, and 255, .* replace 255 by 1'):
        run_custom(tmp_path / 'in', tmp_path / 'out', *options)


def own_splits(data, val_fraction):
    """The splits of an own folder whose classes are 0, 1 and 2."""
    names = Names(tuple(read_classes('3')))
    return custom_command.find_splits(find_labels(data), names, data, data / 'out', 'mine', val_fraction, 1)


def test_own_lists_are_followed_and_test_images_need_no_labels(tmp_path):
    """Lists that were written on Windows too; files that no list names are left alone."""
    custom(tmp_path)
    for split, text in (('train', '\ufeffplain\r\na.b\r\n'), ('val', '猫\n'), ('test', 'straße 1\n')):
        (tmp_path / f'{split}.txt').write_text(text, encoding='utf-8')
    (tmp_path / 'labels' / 'straße 1.png').unlink()
    (tmp_path / 'images' / 'not labelled yet.png').write_bytes(b'')
    splits = own_splits(tmp_path, 0.5)
    assert {split: [record.id for record in records] for split, records in splits.items()} == {
        'train': ['plain', 'a.b'], 'val': ['猫'], 'test': ['straße 1'],
    }  # fmt: skip
    assert splits['test'][0].label is None


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--classes', '3', '--name', 'kitti'], 'kitti is the name of a data set of the paper'),
        (['--classes', '3', '--name', '../x'], '--name ../x: use letters'),
        (['--classes', '1'], '--classes 1: 1 classes; there must be from 2 to 254'),
        (['--classes', '255'], 'there must be from 2 to 254'),
        (['--classes', 'no such file'], 'no list at no such file'),
        ([], 'make lmdb-custom DATA=FOLDER CLASSES=FILE'),
        (['--classes', '3', '--val-fraction', '1'], '--val-fraction 1.0: give a share'),
    ],
)
def test_wrong_options_for_an_own_folder_are_refused(tmp_path, options, words):
    custom(tmp_path / 'in')
    with pytest.raises(UserError, match=words):
        run_custom(tmp_path / 'in', tmp_path / 'out', *options)
    assert not (tmp_path / 'out').exists()


def test_own_files_that_do_not_pair_are_refused(tmp_path):
    custom(tmp_path)
    (tmp_path / 'images' / 'plain.jpg').write_bytes(b'')
    with pytest.raises(UserError, match='plain.jpg and .*plain.PNG have the same name, plain; keep one'):
        own_splits(tmp_path, 0)
    (tmp_path / 'images' / 'plain.jpg').unlink()
    (tmp_path / 'train.txt').write_text('plain\nnone.png\n')
    with pytest.raises(UserError, match='train.txt names none.png; there is no such image in'):
        own_splits(tmp_path, 0)
    (tmp_path / 'train.txt').rename(tmp_path / 'val.txt')
    with pytest.raises(UserError, match='has val.txt but no train.txt'):
        own_splits(tmp_path, 0)
    (tmp_path / 'labels' / 'plain.png').unlink()
    (tmp_path / 'val.txt').rename(tmp_path / 'train.txt')
    (tmp_path / 'train.txt').write_text('a.b\nplain\n')
    with pytest.raises(
        UserError, match='1 of 2 images of train cannot be used; each needs its label:\n  no label of .*images/plain.PNG'
    ):
        own_splits(tmp_path, 0)
    (tmp_path / 'train.txt').unlink()
    with pytest.raises(UserError, match='1 of 4 images cannot be used; each needs .*:\n  no label of .*images/plain.PNG'):
        own_splits(tmp_path, 0)


@pytest.mark.parametrize(('orientation', 'turned'), [(1, False), (3, True), (6, True)])
def test_own_images_that_viewers_turn_are_refused(tmp_path, orientation, turned):
    """By 180 degrees (3) the sizes of image and label agree, and nothing else would tell that they do not fit."""
    custom(tmp_path)
    path = tmp_path / 'images' / 'plain.PNG'
    with Image.open(path) as picture:
        tag = picture.getexif()
        tag[0x0112] = orientation
        picture.save(path, exif=tag)
    if turned:
        with pytest.raises(UserError, match=f'plain.PNG is stored turned or mirrored .EXIF orientation {orientation}'):
            own_splits(tmp_path, 0)
    else:
        assert len(own_splits(tmp_path, 0)['train']) == len(list((tmp_path / 'images').iterdir()))


def test_files_that_macos_leaves_beside_others_are_passed_over(tmp_path):
    """._NAME for each file, on disks of other systems and in archives."""
    for made, find in (
        (kitti, lambda data: kitti_command.find_splits(data, True)),
        (cityscapes, lambda data: cityscapes_command.find_splits(data, True)),
        (custom, lambda data: own_splits(data, 0)),
    ):
        data = tmp_path / made.__name__
        made(data)
        before = find(data)
        for path in [path for path in data.rglob('*') if path.is_file()]:
            path.with_name(f'._{path.name}').write_bytes(b'\0\5\x16\7')
        assert find(data) == before


@pytest.mark.parametrize('name', [b'stra\xdfe', b'a\tb', 'a\u2028b'.encode()])
def test_names_that_no_list_can_hold_are_one_error(tmp_path, name):
    custom(tmp_path)
    for folder, suffix in (('images', b'.PNG'), ('labels', b'.png')):
        os.rename(tmp_path / folder / f'plain{suffix.decode()}', os.fsencode(tmp_path / folder) + b'/' + name + suffix)
    with pytest.raises(UserError, match='control characters or bytes that are not UTF-8; rename it'):
        own_splits(tmp_path, 0.5)


def test_files_of_someone_else_are_never_replaced(tmp_path):
    """As after a slip in OUT=: folders and lists with the names that ours have."""
    voc(tmp_path / 'in')
    coco(tmp_path / 'in')
    out = tmp_path / 'out'
    files = [out / 'drawn' / 'train' / 'a.png', out / 'coco_labels' / 'train2014' / 'b.png', out / 'val.json']
    for path in files:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"annotations": []}')
    with pytest.raises(UserError, match='out/drawn/train holds what this command did not write'):
        toy_command.main(['--out', str(out)])
    with pytest.raises(UserError, match='out/coco_labels/train2014 holds what this command did not write'):
        run(voc_coco_command, tmp_path / 'in', out)
    with pytest.raises(UserError, match='out/val.json was not written by this toolkit'):
        run(voc_command, tmp_path / 'in', out)
    assert all(path.read_text() == '{"annotations": []}' for path in files)


# What training reads

MODULES = {
    'pascal_voc/train_aug': voc_command.CROP_SIZES,
    'pascal_voc/train_aug_coco': voc_command.CROP_SIZES,
    'camvid/train': camvid_command.CROP_SIZES,
    'kitti/train': kitti_command.CROP_SIZES,
    'cityscapes/train': cityscapes_command.CROP_SIZES,
    'cityscapes/train_halves': (cityscapes_command.HALVES_CROP_SIZE,),
    'toy/train': toy_command.CROP_SIZES,
}


# Stages whose crop is asked for by CROP_SIZE=, as the message of a missing LMDB says.
OTHER_CROPS = ('crfrnn', 'fcn', 'deeplab', 'small')


@pytest.mark.parametrize(
    'stage', [name for name, row in STAGES.items() if row.start == 'data' and not any(word in name for word in OTHER_CROPS)]
)
def test_commands_write_the_lmdb_of_every_stage_by_default(stage):
    assert lmdb_of(STAGES[stage]) in {f'{split}_{side}' for split, sides in MODULES.items() for side in sides}


@pytest.mark.parametrize(
    ('name', 'split', 'target'),
    [
        ('pascal_voc', None, 'lmdb-voc'),
        ('pascal_voc', 'train_aug_coco', 'lmdb-voc-coco'),
        ('kitti', None, 'lmdb-kitti'),
        ('cityscapes', 'train_halves', 'lmdb-cityscapes'),
    ],
)
def test_message_names_a_target_that_runs_the_module_of_its_name(name, split, target):
    """`make lmdb-X DATA=...` runs dataset_prep.X with the folder, spaces and all."""
    assert how_to_prepare(name, split) == f'run: make {target} DATA=FOLDER'
    words = ['make', '--no-print-directory', '-n', '-o', 'caffe', target, 'DATA=my folder', 'PARTIAL=1']
    printed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    module = target.removeprefix('lmdb-').replace('-', '_')
    assert shlex.split(printed)[1:] == ['-m', f'dataset_prep.{module}', '--data', 'my folder', '--allow-partial']


def test_make_target_of_an_own_folder_takes_classes_and_name():
    words = ['make', '--no-print-directory', '-n', '-o', 'caffe']
    words += ['lmdb-custom', 'DATA=my folder', 'CLASSES=a b.txt', 'NAME=mine', 'SIZE=640x480']
    printed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    given = ['--data', 'my folder', '--classes', 'a b.txt', '--name', 'mine', '--size', '640x480']
    assert [word for word in shlex.split(printed) if word.strip()][1:] == ['-m', 'dataset_prep.custom', *given]


def test_readings_that_the_paper_leaves_open_are_variables_of_make():
    words = ['make', '--no-print-directory', '-n', '-o', 'caffe', 'lmdb-voc-coco', 'ANNOTATIONS=hariharan', 'OTHER_OBJECTS=left']
    printed = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {'--annotations', 'hariharan', '--other-objects', 'left'} <= set(shlex.split(printed))
