"""Own data as people bring it: names, suffixes, shapes, coloured labels, a single image."""

import unicodedata

import numpy as np
import pytest
from mini_archives import custom, labels, noise, save
from PIL import Image

from dataset_prep import custom as custom_command
from dataset_prep import kitti as kitti_command
from dataset_prep.datasets import read_own
from dataset_prep.lmdb_store import read_manifest, read_sizes
from dataset_prep.records import load_split, read_image, read_label
from tests import mini_archives
from tools.support.errors import UserError


def prepare(data, out, *options):
    """The command, for three classes and the least crop."""
    custom_command.main(
        ['--data', str(data), '--out', str(out), '--classes', '3', '--name', 'mine', '--crop-size', '404', *options]
    )
    return {split: load_split(out, split) for split in read_own(out).splits}


def pair(data, name, size_hw, suffix='.png', seed=0):
    """An image and its label."""
    save(data / 'images' / f'{name}{suffix}', noise(seed, *size_hw, 3))
    save(data / 'labels' / f'{name}.png', labels(seed, [0, 1, 2], *size_hw))


@pytest.mark.parametrize(
    ('in_list', 'of_image', 'of_label'), [('NFC', 'NFD', 'NFD'), ('NFD', 'NFC', 'NFD'), ('NFC', 'NFC', 'NFD')]
)
def test_names_of_two_unicode_forms_are_the_same(tmp_path, in_list, of_image, of_label):
    """As macOS and an editor write them; ids are in the composed form."""
    names = 'é1', 'Ångström'
    for name in names:
        pair(tmp_path, name, (20, 30))
        for kind, form in (('images', of_image), ('labels', of_label)):
            (tmp_path / kind / f'{name}.png').rename(tmp_path / kind / unicodedata.normalize(form, f'{name}.png'))
    (tmp_path / 'train.txt').write_text(unicodedata.normalize(in_list, '\n'.join(names)), encoding='utf-8')
    splits = prepare(tmp_path, tmp_path / 'out')
    assert [record.id for record in splits['train']] == [unicodedata.normalize('NFC', name) for name in names]


@pytest.mark.parametrize('suffix', ['.webp', '.WEBP', '.PNG', '.JPG', '.Jpeg', '.TIF'])
def test_suffixes_of_images(tmp_path, suffix):
    pair(tmp_path, 'a', (20, 30), suffix)
    pair(tmp_path, 'b', (20, 30))
    (tmp_path / 'labels' / 'b.png').rename(tmp_path / 'labels' / 'b.PNG')
    assert sorted(record.id for records in prepare(tmp_path, tmp_path / 'out').values() for record in records) == ['a', 'b']


def test_published_data_with_suffixes_in_capitals(tmp_path):
    mini_archives.kitti(tmp_path)
    before = kitti_command.find_splits(tmp_path, True)
    for path in list(tmp_path.rglob('*.png')):
        path.rename(path.with_suffix('.PNG'))
    after = kitti_command.find_splits(tmp_path, True)
    assert [record.id for record in after['train']] == [record.id for record in before['train']]


def test_a_single_image_is_trained_on(tmp_path, capsys):
    """And nothing is validated, which is said with the option that scores it all the same."""
    pair(tmp_path, 'only', (20, 30))
    assert {split: len(records) for split, records in prepare(tmp_path, tmp_path / 'out').items()} == {'train': 1}
    assert (
        'the only image is trained on, and there is no val split; to score it: tools/test.py --split train'
        in capsys.readouterr().out
    )
    assert read_manifest(tmp_path / 'out' / 'train_404')['count'] == 1


def test_some_image_is_left_to_train_on(tmp_path):
    for name in 'abc':
        pair(tmp_path, name, (20, 30))
    assert len(prepare(tmp_path, tmp_path / 'out', '--val-fraction', '0.99')['train']) == 1


def test_size_keeps_the_shape_of_each_image(tmp_path, capsys):
    """In a box of 20x20 40x30 becomes 20x15 (width x height), 30x40 becomes 15x20; 21x20 misses it by one and fills it."""
    for name, size_hw in (('landscape', (30, 40)), ('portrait', (40, 30)), ('square', (20, 21))):
        pair(tmp_path, name, size_hw)
    splits = prepare(tmp_path, tmp_path / 'out', '--size', '20x20', '--val-fraction', '0')
    sizes = {record.id: read_image(record).shape[:2] for record in splits['train']}
    assert sizes == {'landscape': (15, 20), 'portrait': (20, 15), 'square': (20, 20)}
    assert all(read_label(record).shape == sizes[record.id] == record.size_hw for record in splits['train'])
    assert read_sizes(tmp_path / 'out' / 'train_404') == sizes
    said = 'note: 2 of 3 images have another shape than 20x20 and keep it: the first, landscape, is scaled to 20x15'
    assert said in capsys.readouterr().out


def test_lists_of_scaled_images_of_several_shapes_are_kept_apart_from_others(tmp_path):
    for name, size_hw in (('a', (30, 40)), ('b', (40, 30))):
        pair(tmp_path, name, size_hw)
    prepare(tmp_path, tmp_path / 'out', '--size', '20x20', '--val-fraction', '0')
    prepare(tmp_path, tmp_path / 'out', '--size', '20x20', '--val-fraction', '0')
    with pytest.raises(UserError, match='Then: 2 images of several sizes. Now: 2 images of their own size'):
        prepare(tmp_path, tmp_path / 'out', '--val-fraction', '0')


COLOURS = 'sky 1 2 3\nroad 4 5 6\ncar 7 8 9\n'


def test_coloured_labels_are_read_by_the_colours_of_the_classes(tmp_path):
    """Black is ignored where no class has it; labels of ids may lie beside."""
    truth = custom(tmp_path / 'in')
    (tmp_path / 'classes.txt').write_text(COLOURS)
    palette = np.array([(1, 2, 3), (4, 5, 6), (7, 8, 9)] + [(0, 0, 0)] * 253, np.uint8)
    for name in ('plain', '猫'):
        save(tmp_path / 'in' / 'labels' / f'{name}.png', palette[truth[name][1]])
    splits = prepare(tmp_path / 'in', tmp_path / 'out', '--classes', str(tmp_path / 'classes.txt'))
    records = [record for split in splits.values() for record in split]
    assert {record.id: record.encoding for record in records if record.encoding != 'ids'} == {'plain': 'colours', '猫': 'colours'}
    for record in records:
        np.testing.assert_array_equal(read_label(record), truth[record.id][1], record.id)


def test_black_is_a_class_where_one_has_it(tmp_path):
    """As background is in VOC's colours."""
    pair(tmp_path, 'a', (20, 30))
    with Image.open(tmp_path / 'labels' / 'a.png') as picture:
        ids = np.asarray(picture)
    save(tmp_path / 'labels' / 'a.png', np.array([(0, 0, 0), (128, 0, 0), (0, 128, 0)], np.uint8)[ids])
    [record] = prepare(tmp_path, tmp_path / 'out')['train']
    np.testing.assert_array_equal(read_label(record), ids)


def test_a_colour_of_no_class_is_named_with_what_says_them(tmp_path):
    pair(tmp_path, 'a', (20, 30))
    save(tmp_path / 'labels' / 'a.png', np.full((20, 30, 3), 77, np.uint8))
    words = r'a.png has the colour RGB \(77, 77, 77\), .* the list of classes .CLASSES=. says their colours, or save ids'
    with pytest.raises(UserError, match=words):
        prepare(tmp_path, tmp_path / 'out')


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
        (
            ['--crop-size', '404'],
            ['CROP_SIZE=404;', 'train-camvid-cpu-joint', 'make train-camvid-front DATASET=mine CROP_SIZE=404 GPU=0'],
        ),
        (['--lists-only'], ['train-camvid-cpu-joint']),
    ],
)
def test_next_commands_have_the_crop_that_was_written(tmp_path, capsys, options, commands):
    """A row's own crop where that was; no training on images where no LMDB of them was."""
    pair(tmp_path, 'a', (20, 30))
    prepare(tmp_path, tmp_path / 'out', *options)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith('next, ')]
    assert len(lines) == len(commands)
    assert all(command in line for command, line in zip(commands, lines, strict=True))
