"""A user's own data: file names, sizes, colours, lists and options as people give them, and what is refused."""

import os
import unicodedata

import mini_archives
import numpy as np
import pytest
from mini_archives import custom, kitti, labels, noise, save
from PIL import Image

from dataset_prep.datasets import read_own
from dataset_prep.kitti import find_splits
from dataset_prep.lmdb_store import read_manifest, read_sizes
from dataset_prep.records import load_split, read_image, read_label
from tools.support.errors import UserError


@pytest.fixture
def data(tmp_path):
    """The folder of the user's data."""
    return tmp_path / 'in'


def prepare(data, *options):
    """Prepare `data`, by default with three classes; returns the records by split."""
    out = mini_archives.prepare('custom', data, data.parent / 'out', *options)
    return {split: load_split(out, split) for split in read_own(out).splits}


def check_error(data, words, *options):
    """prepare() fails with a message that matches `words`."""
    with pytest.raises(UserError, match=words):
        prepare(data, *options)


def ids(splits):
    return {split: [record.id for record in records] for split, records in splits.items()}


def pair(data, name, size_hw, suffix='.png'):
    """Write an image and its label into `data`."""
    save(data / 'images' / f'{name}{suffix}', noise(0, *size_hw, 3))
    save(data / 'labels' / f'{name}.png', labels(0, [0, 1, 2], *size_hw))


# Files and lists


@pytest.mark.parametrize(
    ('in_list', 'of_image', 'of_label'), [('NFC', 'NFD', 'NFD'), ('NFD', 'NFC', 'NFD'), ('NFC', 'NFC', 'NFD')]
)
def test_both_unicode_forms_of_a_name_are_equal(data, in_list, of_image, of_label):
    """macOS and editors differ. Ids have the composed form, NFC."""
    names = 'é1', 'Ångström'
    for name in names:
        pair(data, name, (20, 30))
        for kind, form in (('images', of_image), ('labels', of_label)):
            path = data / kind / f'{name}.png'
            path.rename(path.with_name(unicodedata.normalize(form, path.name)))
    (data / 'train.txt').write_text(unicodedata.normalize(in_list, '\n'.join(names)), encoding='utf-8')
    assert ids(prepare(data))['train'] == [unicodedata.normalize('NFC', name) for name in names]


@pytest.mark.parametrize('suffix', ['.webp', '.WEBP', '.PNG', '.JPG', '.Jpeg', '.TIF'])
def test_suffixes_of_images(data, suffix):
    pair(data, 'a', (20, 30), suffix)
    pair(data, 'b', (20, 30))
    (data / 'labels' / 'b.png').rename(data / 'labels' / 'b.PNG')
    assert sorted(sum(ids(prepare(data)).values(), [])) == ['a', 'b']


def test_published_data_may_have_suffixes_in_capitals(tmp_path):
    kitti(tmp_path)
    before = ids(find_splits(tmp_path, True))
    for path in list(tmp_path.rglob('*.png')):
        path.rename(path.with_suffix('.PNG'))
    assert ids(find_splits(tmp_path, True)) == before


def test_lists_are_followed_and_test_images_need_no_labels(data):
    """Windows wrote one of the lists. Files in no list are ignored."""
    custom(data)
    for split, text in (('train', '\ufeffplain\r\na.b\r\n'), ('val', '猫\n'), ('test', 'straße 1\n')):
        (data / f'{split}.txt').write_text(text, encoding='utf-8')
    (data / 'labels' / 'straße 1.png').unlink()
    (data / 'images' / 'not labelled yet.png').write_bytes(b'')
    splits = prepare(data)
    assert ids(splits) == {'train': ['plain', 'a.b'], 'val': ['猫'], 'test': ['straße 1']}
    assert splits['test'][0].label is None


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        ({'images/plain.jpg': ''}, 'plain.jpg and .*plain.PNG have the same name, plain; keep one'),
        ({'train.txt': 'plain\nnone.png\n'}, 'train.txt names none.png; there is no such image in'),
        ({'val.txt': 'plain\n'}, 'has val.txt but no train.txt'),
        ({'labels/plain.png': None}, '1 of 4 images cannot be used; each needs .*:\n  no label of .*images/plain.PNG'),
        (
            {'labels/plain.png': None, 'train.txt': 'a.b\nplain\n'},
            '1 of 2 images of train cannot be used; each needs its label:\n  no label of .*images/plain.PNG',
        ),
    ],
)
def test_files_and_lists_that_do_not_fit_are_refused(data, changes, words):
    """`changes` are written into the folder; None deletes the file."""
    custom(data)
    for name, text in changes.items():
        path = data / name
        path.unlink() if text is None else path.write_text(text)
    check_error(data, words)


@pytest.mark.parametrize('name', [b'stra\xdfe', b'a\tb', 'a\u2028b'.encode()])
def test_name_that_no_list_can_hold_is_refused(data, name):
    custom(data)
    for folder, suffix in (('images', '.PNG'), ('labels', '.png')):
        path = data / folder / f'plain{suffix}'
        os.rename(path, os.fsencode(path.parent) + b'/' + name + suffix.encode())
    check_error(data, 'control characters or bytes that are not UTF-8; rename it')


@pytest.mark.parametrize(('orientation', 'turned'), [(1, False), (3, True), (6, True)])
def test_image_with_an_exif_tag_that_turns_it_is_refused(data, orientation, turned):
    """After a turn by 180 degrees (3) image and label still have the same size, so nothing else would show the fault."""
    custom(data)
    path = data / 'images' / 'plain.PNG'
    with Image.open(path) as picture:
        tag = picture.getexif()
        tag[0x0112] = orientation
        picture.save(path, exif=tag)
    if turned:
        check_error(data, f'plain.PNG is stored turned or mirrored .EXIF orientation {orientation}')
    else:
        assert 'plain' in sum(ids(prepare(data)).values(), [])


# Splits and sizes


def test_single_image_is_trained_on(data, capsys):
    """There is no val split; the note names the option that scores the image nevertheless."""
    pair(data, 'only', (20, 30))
    assert ids(prepare(data)) == {'train': ['only']}
    note = 'the only image is trained on, and there is no val split; to score it: tools/test.py --split train'
    assert note in capsys.readouterr().out
    assert read_manifest(data.parent / 'out' / 'train_404')['count'] == 1


def test_at_least_one_image_is_left_to_train_on(data):
    for name in 'abc':
        pair(data, name, (20, 30))
    assert len(prepare(data, '--val-fraction', '0.99')['train']) == 1


def test_size_keeps_the_shape_of_each_image(data, capsys):
    """In a box of 20x20, 40x30 becomes 20x15 (width x height) and 30x40 becomes 15x20. 21x20 is off by one and fills the box."""
    for name, size_hw in (('landscape', (30, 40)), ('portrait', (40, 30)), ('square', (20, 21))):
        pair(data, name, size_hw)
    box = ['--size', '20x20', '--val-fraction', '0']
    records = prepare(data, *box)['train']
    sizes = {record.id: read_image(record).shape[:2] for record in records}
    assert sizes == {'landscape': (15, 20), 'portrait': (20, 15), 'square': (20, 20)}
    assert all(read_label(record).shape == sizes[record.id] == record.size_hw for record in records)
    assert read_sizes(data.parent / 'out' / 'train_404') == sizes
    said = 'note: 2 of 3 images have another shape than 20x20 and keep it: the first, landscape, is scaled to 20x15'
    assert said in capsys.readouterr().out
    prepare(data, *box)
    check_error(data, 'Then: 3 images of several sizes. Now: 3 images of their own size', '--val-fraction', '0')


# Labels


def test_colours_of_the_classes_are_read(data):
    """Black is ignored if no class has it. Other labels of the same folder may hold ids."""
    truth = custom(data)
    (data.parent / 'classes.txt').write_text('sky 1 2 3\nroad 4 5 6\ncar 7 8 9\n')
    palette = np.array([(1, 2, 3), (4, 5, 6), (7, 8, 9)] + [(0, 0, 0)] * 253, np.uint8)
    for name in ('plain', '猫'):
        save(data / 'labels' / f'{name}.png', palette[truth[name][1]])
    records = sum(prepare(data, '--classes', str(data.parent / 'classes.txt')).values(), [])
    assert {record.id for record in records if record.encoding == 'colours'} == {'plain', '猫'}
    for record in records:
        np.testing.assert_array_equal(read_label(record), truth[record.id][1], record.id)


def test_black_may_be_the_colour_of_a_class(data):
    """In VOC's palette it is the background's."""
    pair(data, 'a', (20, 30))
    ids = labels(0, [0, 1, 2], 20, 30)
    save(data / 'labels' / 'a.png', np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0)], np.uint8)[ids])
    [record] = prepare(data)['train']
    np.testing.assert_array_equal(read_label(record), ids)


def test_colour_of_no_class_is_named_with_what_to_do(data):
    pair(data, 'a', (20, 30))
    save(data / 'labels' / 'a.png', np.full((20, 30, 3), 77, np.uint8))
    words = r'a.png has the colour RGB \(77, 77, 77\), .* the list of classes .CLASSES=. says their colours, or save ids'
    check_error(data, words)


def test_absent_classes_are_named_and_masks_of_0_and_255_refused(data, capsys):
    """255 is ignored, so training on such masks could only learn the background."""
    truth = custom(data)
    prepare(data, '--classes', '4', '--lists-only')
    assert 'note: no pixel of train is class 3\n' in capsys.readouterr().out
    for name, (_, ids) in truth.items():
        save(data / 'labels' / f'{name}.png', np.where(ids == 0, 0, 255).astype(np.uint8))
    check_error(data, 'hold only class 0, and 255, .* replace 255 by 1')


def test_each_image_is_read_once_before_anything_is_written(data, monkeypatch):
    """The mean, the check and the summary share one reading."""
    truth, read = custom(data), []

    def read_and_note(record):
        read.append(record.id)
        return read_image(record)

    monkeypatch.setattr('dataset_prep.statistics.read_image', read_and_note)
    prepare(data, '--lists-only')
    assert sorted(read) == sorted(truth)


# The command


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--name', 'kitti'], 'kitti is the name of a data set of the paper'),
        (['--name', '../x'], '--name ../x: use letters'),
        (['--classes', '1'], '--classes 1: 1 classes; there must be from 2 to 254'),
        (['--classes', '255'], 'there must be from 2 to 254'),
        (['--classes', 'no such file'], 'no list at no such file'),
        (['--val-fraction', '1'], '--val-fraction 1.0: give a share'),
    ],
)
def test_wrong_options_are_refused(data, options, words):
    custom(data)
    check_error(data, words, *options)
    assert not (data.parent / 'out').exists()


def test_validation_lmdbs_without_a_val_split_are_refused(data):
    pair(data, 'only', (20, 30))
    check_error(data, r'mine has no val split, only train; leave out --val-lmdb \(VAL_LMDB=\)', '--val-lmdb')
    assert not (data.parent / 'out').exists()


@pytest.mark.parametrize(
    ('options', 'commands'),
    [
        (
            ['--crop-size', '628'],
            [
                'make train-toy-front DATASET=mine CROP_SIZE=628; then python3 tools/test.py --net front_toy@mine',
                'make train-camvid-cpu-joint DATASET=mine CHAIN=1; then python3 tools/test.py --net dilation8_camvid_fc128@mine',
                'make train-camvid-front DATASET=mine GPU=0; then python3 tools/test.py --net front_camvid@mine',
            ],
        ),
        (
            ['--crop-size', '404', '500', '564'],
            ['make train-toy-front DATASET=mine;', 'train-camvid-cpu-joint', 'make train-voc-front DATASET=mine GPU=0;'],
        ),
        ([], ['CROP_SIZE=404;', 'train-camvid-cpu-joint', 'make train-camvid-front DATASET=mine CROP_SIZE=404 GPU=0']),
        (['--lists-only'], ['train-camvid-cpu-joint']),
    ],
)
def test_next_commands_use_the_crop_that_was_written(data, capsys, options, commands):
    """A stage's own crop if there is an LMDB of it. Stages that need an LMDB are left out if none was written."""
    pair(data, 'a', (20, 30))
    prepare(data, *options)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith('next, ')]
    assert len(lines) == len(commands)
    assert all(command in line for command, line in zip(commands, lines, strict=True))
