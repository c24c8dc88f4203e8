"""Bad files of every data set: one error that names the files and the place; the LMDBs hold all other images."""

import json
import shutil
import struct
import zlib

import cv2
import numpy as np
import pytest
from mini_archives import cityscapes, coco, custom, kitti, noise, save, save_mat, voc, write_coco
from PIL import Image
from pycocotools import mask as coco_mask

from dataset_prep import cityscapes as cityscapes_command
from dataset_prep import coco as coco_layout
from dataset_prep import custom as custom_command
from dataset_prep import image_files, json_stream
from dataset_prep import kitti as kitti_command
from dataset_prep import voc as voc_command
from dataset_prep import voc_coco as voc_coco_command
from dataset_prep.image_files import read_bgr, read_index_label, read_rgb_label
from dataset_prep.lmdb_store import stored_ids
from dataset_prep.records import load_split
from tools.support.errors import UserError

pytestmark = pytest.mark.filterwarnings('ignore:__array__ implementation:DeprecationWarning')

COMMANDS = {
    'voc': (voc, voc_command, ['--allow-partial']),
    'voc_coco': (lambda data: (voc(data), coco(data)), voc_coco_command, ['--allow-partial']),
    'kitti': (kitti, kitti_command, ['--allow-partial']),
    'cityscapes': (cityscapes, cityscapes_command, ['--allow-partial']),
    'custom': (custom, custom_command, ['--classes', '3', '--name', 'mine']),
}
# an image and a label of training, and one label of another split, in each
FILES = {
    'voc': ('VOCdevkit/VOC2012/JPEGImages/2007_000039.jpg', 'VOCdevkit/VOC2012/SegmentationClass/2007_000039.png'),
    'voc_coco': ('val2014/COCO_val2014_000000000042.jpg', 'VOCdevkit/VOC2012/SegmentationClass/2007_000042.png'),
    'kitti': ('Training_00/RGB/000010.png', 'Validation_07/GT/000000.png'),
    'cityscapes': (
        'leftImg8bit/train/ulm/ulm_000000_000019_leftImg8bit.png',
        'gtFine/val/lindau/lindau_000000_000019_gtFine_labelIds.png',
    ),
    'custom': ('images/a.b.png', 'labels/猫.png'),
}


def named(name, tmp_path, words):
    """The command fails with these words."""
    with pytest.raises(UserError, match=words):
        prepare(name, tmp_path)


def prepare(name, tmp_path):
    """Prepare the miniature in tmp_path/in into tmp_path/out; returns that folder."""
    _, command, more = COMMANDS[name]
    command.main(['--data', str(tmp_path / 'in'), '--out', str(tmp_path / 'out'), '--crop-size', '404', *more])
    return tmp_path / 'out'


@pytest.fixture(params=COMMANDS)
def made(request, tmp_path):
    """The name of a data set, with its miniature in tmp_path / 'in'."""
    COMMANDS[request.param][0](tmp_path / 'in')
    return request.param


@pytest.mark.parametrize('which', [0, 1], ids=['image', 'label'])
def test_file_that_is_cut_short_is_named(made, tmp_path, which):
    path = tmp_path / 'in' / FILES[made][which]
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    named(made, tmp_path, rf'{path.name} cannot be read \(')


IDS = {  # of the image in FILES, in the LMDBs of training
    'voc': ['2007_000039'],
    'voc_coco': ['COCO_val2014_000000000042'],
    'kitti': ['Training_00_000010'],
    'cityscapes': ['ulm_000000_000019', 'ulm_000000_000019_left', 'ulm_000000_000019_right'],
    'custom': ['a.b'],
}


def listed(out):
    """The ids in each list of a prepared data set."""
    return {path.name: [record.id for record in load_split(out, path.stem)] for path in out.glob('t*.json')}


def stored(out):
    """The ids in each of its LMDBs."""
    return {path.parent.name: stored_ids(path.parent) for path in out.glob('*/data.mdb')}


@pytest.mark.parametrize('left', [2 / 3, 0], ids=['cut', 'empty'])
def test_lmdbs_hold_all_images_but_the_bad_ones(made, tmp_path, monkeypatch, left):
    """The lists name all; when the file is mended the same command takes it in."""
    monkeypatch.setattr(cityscapes_command, 'WIDTH', 64)  # of the miniature's images
    lists, whole = listed(prepare(made, tmp_path)), stored(tmp_path / 'out')
    shutil.rmtree(tmp_path / 'out')
    path = tmp_path / 'in' / FILES[made][0]
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content))])
    named(made, tmp_path, rf'1 of \d+ images cannot be used; the LMDBs hold the others.*\n  .*{path.name} cannot be read')
    without = {name: [one for one in names if one not in IDS[made]] for name, names in whole.items()}
    assert stored(tmp_path / 'out') == without and without != whole
    assert listed(tmp_path / 'out') == lists
    path.write_bytes(content)
    assert stored(prepare(made, tmp_path)) == whole


def test_all_bad_files_are_named_at_once(tmp_path):
    """Of images and labels, of training and of others; nothing is written when a split has none that is not bad."""
    COMMANDS['voc'][0](tmp_path / 'in')
    bad = [next((tmp_path / 'in').rglob(name)) for name in ('2007_000033.jpg', '2007_000032.png', '2008_000001.mat')]
    for path in bad:
        path.write_bytes(b'')
    with pytest.raises(UserError, match='3 of 6 images cannot be used') as error:
        prepare('voc', tmp_path)
    assert all(f'{path} ' in str(error.value) for path in bad)
    next((tmp_path / 'in').rglob('2007_000042.jpg')).write_bytes(b'')
    shutil.rmtree(tmp_path / 'out')
    named('voc', tmp_path, '4 of 6 images cannot be used; nothing is written, as a split has no others')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('which', [0, 1], ids=['image', 'label'])
def test_missing_half_of_a_pair_is_named(made, tmp_path, which):
    path = tmp_path / 'in' / FILES[made][which]
    path.unlink()
    name = 'a.b' if (made, which) == ('custom', 0) else path.name
    named(made, tmp_path, rf'1 of \d .* cannot be used; .*\n  no (file at|image of|label of) .*{name}')


def test_label_of_another_size_names_both_files(made, tmp_path):
    path = tmp_path / 'in' / FILES[made][1]
    values = np.asarray(Image.open(path))
    save(path, values[:-1])
    height, width = values.shape[:2]
    named(made, tmp_path, rf'{path.name} is {width}x{height - 1} pixels, but its image .* is {width}x{height} ')


@pytest.mark.parametrize(
    ('name', 'value', 'words'),
    [
        ('voc', 21, 'the label 21; pascal_voc uses 0-20, and 255 to ignore'),
        ('kitti', (1, 2, 3), r'the colour RGB \(1, 2, 3\), which is neither one of the 11 classes of kitti nor black'),
        ('cityscapes', 34, r'the label 34; \*_labelIds.png of Cityscapes uses 0-33'),
        ('custom', 3, 'the label 3; mine uses 0-2, and 255 to ignore'),
    ],
)
def test_value_that_is_no_label_names_file_row_and_column(tmp_path, name, value, words):
    COMMANDS[name][0](tmp_path / 'in')
    path = tmp_path / 'in' / FILES[name][1]
    values = np.array(Image.open(path))
    values[5, 7] = values[6, 1] = value
    save(path, values)
    named(name, tmp_path, rf'{path.name} has {words} \(row 5, column 7, from 0\)')


def test_sbd_has_no_255(tmp_path):
    voc(tmp_path / 'in')
    path = tmp_path / 'in' / 'benchmark_RELEASE' / 'dataset' / 'cls' / '2008_000001.mat'
    save_mat(path, np.full((33, 35), 255, np.uint8))
    named('voc', tmp_path, r'2008_000001.mat has the label 255; SBD uses 0-20 \(row 0, column 0')
    save_mat(path, np.zeros((33, 35, 2), np.uint8))
    named('voc', tmp_path, r'GTcls.Segmentation is uint8 \(33, 35, 2\); expected uint8')


@pytest.mark.parametrize('bytes_left', [0, 100, 200])
def test_sbd_label_that_is_cut_short_is_named(tmp_path, bytes_left):
    voc(tmp_path / 'in')
    path = tmp_path / 'in' / 'benchmark_RELEASE' / 'dataset' / 'cls' / '2008_000001.mat'
    path.write_bytes(path.read_bytes()[:bytes_left])
    named('voc', tmp_path, '2008_000001.mat is not a label of SBD')


@pytest.mark.parametrize('name', ['voc', 'cityscapes'])
def test_colour_label_where_an_index_png_belongs_is_refused(tmp_path, name):
    COMMANDS[name][0](tmp_path / 'in')
    path = tmp_path / 'in' / FILES[name][1]
    save(path, noise(0, 30, 41, 3))
    named(name, tmp_path, rf'{path.name} is a colour picture \(mode RGB\) but must be an index PNG')


@pytest.mark.parametrize('name', ['kitti', 'cityscapes', 'custom'])
@pytest.mark.parametrize(
    ('dtype', 'channels', 'words'),
    [
        (np.uint16, 3, 'has 16 bits a channel'),
        (np.uint16, 1, 'has 16 bits a channel'),
        (np.uint8, 4, r'has an alpha channel \(mode RGBA\)'),
    ],
)
def test_sixteen_bit_and_alpha_images_are_refused(tmp_path, name, dtype, channels, words):
    COMMANDS[name][0](tmp_path / 'in')
    path = tmp_path / 'in' / FILES[name][0]
    cv2.imwrite(str(path), np.full((*np.asarray(Image.open(path)).shape[:2], channels), 200, dtype))
    named(name, tmp_path, rf'{path.name} {words}')


# Files by themselves


def grey_png(path, bits):
    """A PNG of 16x2 pixels of so many bits, all 1, put together by hand."""

    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    line = b'\0' + bytes([sum(1 << place for place in range(0, 8, bits))] * (16 * bits // 8))
    header = struct.pack('>IIBBBBB', 16, 2, bits, 0, 0, 0, 0)
    path.write_bytes(
        b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(line * 2)) + chunk(b'IEND', b'')
    )


@pytest.mark.parametrize('bits', [1, 2, 4])
def test_grey_label_of_few_bits_is_refused_as_its_values_are_not_ids(tmp_path, bits):
    """Pillow reads a 1 of 2 bits as 85 and of 4 bits as 17."""
    grey_png(tmp_path / 'few.png', bits)
    with pytest.raises(UserError, match=f'few.png is grey of {bits} bits'):
        read_index_label(tmp_path / 'few.png')
    grey_png(tmp_path / 'eight.png', 8)
    assert np.unique(read_index_label(tmp_path / 'eight.png')).tolist() == [1]


@pytest.mark.parametrize('colours', [False, True])
def test_damaged_label_is_what_pillow_says_it_is(tmp_path, monkeypatch, colours):
    """With each byte changed, and cut at each byte: the same values or the same error as without label_png."""
    path = tmp_path / 'label.png'
    picture = Image.fromarray(noise(0, 5, 6))
    if colours:
        picture.putpalette([*range(256)] * 3)
    picture.save(path)
    whole = path.read_bytes()
    damaged = [whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :] for place in range(len(whole))]
    damaged += [whole[:place] for place in range(len(whole))] + [whole + b'more']
    found = []
    for decoder in (image_files.decode, lambda content: None):
        monkeypatch.setattr(image_files, 'decode', decoder)
        found.append([outcome(path, content) for content in damaged])
    assert found[0] == found[1]
    assert found[0][-1] == np.asarray(picture).tolist()


def outcome(path, content):
    """The values of a label file of these bytes, or the error."""
    path.write_bytes(content)
    try:
        return read_index_label(path).tolist()
    except UserError as error:
        return str(error)


def test_palette_label_of_four_bits_keeps_its_indices(tmp_path):
    ids = np.arange(16, dtype=np.uint8).reshape(4, 4)
    picture = Image.fromarray(ids)
    picture.putpalette([7, 7, 7] * 16)
    picture.save(tmp_path / 'p.png', bits=4)
    assert read_index_label(tmp_path / 'p.png').tolist() == ids.tolist()


def test_labels_in_a_jpeg_are_refused(tmp_path):
    save(tmp_path / 'l.jpg', np.zeros((9, 9), np.uint8))
    with pytest.raises(UserError, match='l.jpg is a JPEG, whose compression changes labels'):
        read_index_label(tmp_path / 'l.jpg')
    with pytest.raises(UserError, match='is a JPEG'):
        read_rgb_label(tmp_path / 'l.jpg')


def test_grey_and_palette_images_are_read_and_transparent_ones_refused(tmp_path):
    save(tmp_path / 'grey.jpg', np.full((9, 9), 80, np.uint8))
    assert np.unique(read_bgr(tmp_path / 'grey.jpg')).tolist() == [80]
    picture = Image.fromarray(np.zeros((3, 3), np.uint8))
    picture.putpalette([1, 2, 3] * 256)
    picture.save(tmp_path / 'p.png')
    assert read_bgr(tmp_path / 'p.png')[0, 0].tolist() == [3, 2, 1]
    picture.save(tmp_path / 't.png', transparency=0)
    with pytest.raises(UserError, match='t.png has an alpha channel'):
        read_bgr(tmp_path / 't.png')
    save(tmp_path / 'grey.png', np.zeros((3, 3), np.uint8))
    with pytest.raises(UserError, match='grey.png is a picture of mode L; labels of this data set are RGB colours'):
        read_rgb_label(tmp_path / 'grey.png')


def test_picture_of_too_many_pixels_is_named(tmp_path):
    """15,000 x 13,000: more than Pillow takes."""
    Image.new('1', (15000, 13000)).save(tmp_path / 'aerial.png')
    with pytest.raises(UserError, match='aerial.png is too large .*; cut it into smaller pictures'):
        read_bgr(tmp_path / 'aerial.png')


# COCO's annotations


@pytest.mark.parametrize(
    ('objects', 'words'),
    [
        ({'category_id': 1, 'segmentation': [[1, 2, 3, 4, 5, 6, 7]]}, 'annotation 100: a polygon with half a point'),
        ({'category_id': 1, 'segmentation': [[1, 2, 3, 4]]}, 'lists no object of the 20 categories of VOC'),
        ({'category_id': 1, 'segmentation': {'size': [40, 50], 'counts': [10]}}, 'annotation 100: run lengths of another size'),
        ({'category_id': 1, 'segmentation': {'size': [40, 50]}}, "an entry of annotations .*'counts'"),
        ({'category_id': 1}, "an entry of annotations that is not in the form of COCO.*'segmentation'"),
        ({'category_id': 47, 'segmentation': [[0, 0, 9, 0, 9, 9]]}, 'lists no object of the 20 categories of VOC'),
    ],
)
def test_bad_annotations_are_named(tmp_path, objects, words):
    coco(tmp_path)
    write_coco(tmp_path, 'val2014', {'COCO_val2014_000000000042': [objects]})
    with pytest.raises(UserError, match=words):
        coco_layout.read_set(tmp_path, 'val2014')


def test_run_lengths_of_an_image_of_another_size_are_named(tmp_path):
    coco(tmp_path)
    code = {'category_id': 1, 'segmentation': {'size': [30, 50], 'counts': [1500]}}
    write_coco(tmp_path, 'val2014', {'COCO_val2014_000000000042': [code]})
    with pytest.raises(UserError, match=r'instances_val2014.json: COCO_val2014_000000000042.jpg has run lengths of \[30, 50\]'):
        coco_layout.draw_labels(coco_layout.read_set(tmp_path, 'val2014'), tmp_path / 'out')


def test_compressed_run_lengths_are_drawn():
    """As pycocotools writes them: rows 3 to 8, columns 4 to 19."""
    mask = np.zeros((40, 50), np.uint8, order='F')
    mask[3:9, 4:20] = 1
    code = coco_mask.encode(mask)
    code['counts'] = code['counts'].decode()
    label = coco_layout.draw_label(40, 50, [coco_layout.CocoObject(1, 15, False, code)])
    np.testing.assert_array_equal(label, 15 * mask)


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        (lambda content: content['images'].pop(0), 'has annotations of image 42, which is not listed'),
        (lambda content: content['categories'][0].update(name='dog'), 'category 1 is dog, in COCO it is person'),
    ],
)
def test_annotations_of_something_else_are_refused(tmp_path, change, words):
    coco(tmp_path)
    path = tmp_path / 'annotations' / 'instances_val2014.json'
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match=words):
        coco_layout.read_set(tmp_path, 'val2014')


def test_labels_that_were_drawn_are_kept_and_drawn_anew_for_other_annotations(tmp_path):
    """Kept: a file that was changed by hand stays, one that was lost comes back. Anew: both are as the annotations say."""
    truth = coco(tmp_path)
    name = 'COCO_val2014_000000000042'
    [path] = coco_layout.draw_labels(coco_layout.read_set(tmp_path, 'val2014'), tmp_path / 'out').values()
    save(path, np.zeros((40, 50), np.uint8))
    coco_layout.draw_labels(coco_layout.read_set(tmp_path, 'val2014'), tmp_path / 'out')
    assert not np.asarray(Image.open(path)).any()
    path.unlink()
    coco_layout.draw_labels(coco_layout.read_set(tmp_path, 'val2014'), tmp_path / 'out')
    np.testing.assert_array_equal(np.asarray(Image.open(path)), truth[name][1])
    square = {'category_id': 72, 'segmentation': [[0, 0, 3, 0, 3, 3, 0, 3]]}
    write_coco(tmp_path, 'val2014', {name: [square]})
    coco_layout.draw_labels(coco_layout.read_set(tmp_path, 'val2014'), tmp_path / 'out')
    assert np.bincount(np.asarray(Image.open(path)).ravel()).tolist() == [40 * 50 - 9, *[0] * 19, 9]


@pytest.mark.parametrize('chunk', [1, 7, 1 << 22])
def test_json_is_read_entry_by_entry_wherever_it_is_cut(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(json_stream, 'CHUNK', chunk)
    content = {'a': [1.5, 'x,]}"\\ é', {'b': [1, 2, {}]}], 'n': 1234567, 'e': [], 't': True, 'o': {'k': None}}
    path = tmp_path / 'x.json'
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False), encoding='utf-8')
    expected = [('a', 1.5), ('a', 'x,]}"\\ é'), ('a', {'b': [1, 2, {}]}), ('n', 1234567), ('t', True), ('o', {'k': None})]
    assert list(json_stream.entries(path)) == expected
    path.write_text('{}')
    assert list(json_stream.entries(path)) == []


@pytest.mark.parametrize('text', ['', '[]', '{"a": [1, 2', '{"a": [1 2]}', '{"a": [{"b": }]}', '{"a" 1}', '{"a": [1]', '\udcff'])
def test_json_that_is_not_whole_is_refused(tmp_path, text):
    path = tmp_path / 'x.json'
    path.write_bytes(text.encode('utf-8', 'surrogateescape'))
    with pytest.raises(UserError, match='x.json is not a complete JSON file'):
        list(json_stream.entries(path))


def test_folder_without_images_is_refused(tmp_path):
    kitti(tmp_path / 'in')
    for path in (tmp_path / 'in' / 'Training_00' / 'RGB').iterdir():
        path.unlink()
    named('kitti', tmp_path, 'Training_00/RGB holds no PNG')
