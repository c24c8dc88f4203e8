"""Bad files in every data set: one error names the files and the place, and the LMDBs hold all other images."""

import shutil
import struct
import zlib

import cv2
import numpy as np
import pytest
from mini_archives import MINIATURES, kitti, noise, prepare, save, save_mat, voc
from PIL import Image

import dataset_prep
from dataset_prep import image_files
from dataset_prep.image_files import read_bgr, read_index_label, read_rgb_label
from dataset_prep.lmdb_store import stored_ids
from dataset_prep.records import load_split
from tools.support.errors import UserError

FILES = {  # an image of a training split, a label (of another split if there is one), and the image's id in the LMDBs
    'voc': ('2007_000039.jpg', '2007_000039.png', '2007_000039'),
    'voc_coco': ('COCO_val2014_000000000042.jpg', '2007_000042.png', 'COCO_val2014_000000000042'),
    'camvid': ('0006R0_f00930.png', '0016E5_07959_L.png', '0006R0_f00930'),
    'kitti': ('Training_00/RGB/000010.png', 'Validation_07/GT/000000.png', 'Training_00_000010'),
    'cityscapes': ('ulm_000000_000019_leftImg8bit.png', 'lindau_000000_000019_gtFine_labelIds.png', 'ulm_000000_000019'),
    'custom': ('images/a.b.png', 'labels/猫.png', 'a.b'),
}


def file_of(tmp_path, name, which):
    """The path of an image (0) or label (1) of FILES in tmp_path/in."""
    [path] = (tmp_path / 'in').rglob(FILES[name][which])
    return path


def check_error(name, tmp_path, words):
    """The command fails with a message that matches `words`."""
    with pytest.raises(UserError, match=words):
        prepare(name, tmp_path / 'in', tmp_path / 'out')


@pytest.fixture(params=MINIATURES)
def made(request, tmp_path):
    """The name of a data set, which lies in tmp_path/in."""
    MINIATURES[request.param](tmp_path / 'in')
    return request.param


@pytest.mark.parametrize('which', [0, 1], ids=['image', 'label'])
def test_truncated_file_is_named(made, tmp_path, which):
    path = file_of(tmp_path, made, which)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    check_error(made, tmp_path, rf'{path.name} cannot be read \(.*truncated')


@pytest.mark.parametrize('left', [2 / 3, 0], ids=['cut', 'empty'])
def test_lmdbs_hold_all_images_but_the_bad_one(made, tmp_path, monkeypatch, left):
    """The lists name all images. The same command adds the bad one after it was mended."""
    monkeypatch.setattr(dataset_prep.cityscapes, 'WIDTH', 64)  # of the miniature's images

    def listed():
        return {path.name: [record.id for record in load_split(out, path.stem)] for path in out.glob('t*.json')}

    def stored():
        return {path.parent.name: stored_ids(path.parent) for path in out.glob('*/data.mdb')}

    out = prepare(made, tmp_path / 'in', tmp_path / 'out')
    lists, whole = listed(), stored()
    shutil.rmtree(out)
    path = file_of(tmp_path, made, 0)
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content))])
    check_error(made, tmp_path, rf'1 of \d+ images cannot be used; the LMDBs hold the others.*\n  .*{path.name} cannot be read')
    bad = {FILES[made][2] + end for end in ('', '_left', '_right')}
    without = {name: [one for one in ids if one not in bad] for name, ids in whole.items()}
    assert stored() == without and without != whole
    assert listed() == lists
    path.write_bytes(content)
    prepare(made, tmp_path / 'in', out)
    assert stored() == whole


def test_all_bad_files_are_named_at_once(tmp_path):
    """Bad images and labels of several splits. If a split has no good image, nothing is written."""
    voc(tmp_path / 'in')
    bad = [next((tmp_path / 'in').rglob(name)) for name in ('2007_000033.jpg', '2007_000032.png', '2008_000001.mat')]
    for path in bad:
        path.write_bytes(b'')
    with pytest.raises(UserError, match='3 of 6 images cannot be used') as error:
        prepare('voc', tmp_path / 'in', tmp_path / 'out')
    assert all(f'{path} ' in str(error.value) for path in bad)
    next((tmp_path / 'in').rglob('2007_000042.jpg')).write_bytes(b'')
    shutil.rmtree(tmp_path / 'out')
    check_error('voc', tmp_path, '4 of 6 images cannot be used; nothing is written, as a split has no others')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('which', [0, 1], ids=['image', 'label'])
def test_missing_half_of_a_pair_is_named(made, tmp_path, which):
    path = file_of(tmp_path, made, which)
    path.unlink()
    name = 'a.b' if (made, which) == ('custom', 0) else path.name
    check_error(made, tmp_path, rf'1 of \d .* cannot be used; .*\n  no (file at|image of|label of) .*{name}')


def test_label_of_another_size_than_its_image_is_refused(made, tmp_path):
    path = file_of(tmp_path, made, 1)
    values = np.asarray(Image.open(path))
    save(path, values[:-1])
    height, width = values.shape[:2]
    check_error(made, tmp_path, rf'{path.name} is {width}x{height - 1} pixels, but its image .* is {width}x{height} ')


@pytest.mark.parametrize(
    ('name', 'value', 'words'),
    [
        ('voc', 21, 'the label 21; pascal_voc uses 0-20, and 255 to ignore'),
        ('camvid', (1, 2, 3), r'the colour RGB \(1, 2, 3\), which is none of the 32 of CamVid'),
        ('kitti', (1, 2, 3), r'the colour RGB \(1, 2, 3\), which is neither one of the 11 classes of kitti nor black'),
        ('cityscapes', 34, r'the label 34; \*_labelIds.png of Cityscapes uses 0-33'),
        ('custom', 3, 'the label 3; mine uses 0-2, and 255 to ignore'),
    ],
)
def test_value_that_is_no_label_is_named_with_row_and_column(tmp_path, name, value, words):
    MINIATURES[name](tmp_path / 'in')
    path = file_of(tmp_path, name, 1)
    values = np.array(Image.open(path))
    values[5, 7] = values[6, 1] = value
    save(path, values)
    check_error(name, tmp_path, rf'{path.name} has {words} \(row 5, column 7, from 0\)')


@pytest.mark.parametrize(
    ('label', 'words'),
    [
        (np.full((33, 35), 255, np.uint8), r'has the label 255; SBD uses 0-20 \(row 0, column 0'),
        (np.zeros((33, 35, 2), np.uint8), r': GTcls.Segmentation is uint8 \(33, 35, 2\); expected uint8'),
        (0, 'is not a label of SBD'),
        (100, 'is not a label of SBD'),
        (200, 'is not a label of SBD'),
    ],
)
def test_bad_label_of_sbd_is_named(tmp_path, label, words):
    """SBD has no 255. A number: the file is cut after so many bytes."""
    voc(tmp_path / 'in')
    path = tmp_path / 'in' / 'benchmark_RELEASE' / 'dataset' / 'cls' / '2008_000001.mat'
    if isinstance(label, int):
        path.write_bytes(path.read_bytes()[:label])
    else:
        save_mat(path, label)
    check_error('voc', tmp_path, rf'2008_000001.mat ?{words}')


@pytest.mark.parametrize('name', ['voc', 'cityscapes'])
def test_colour_label_is_refused_if_ids_are_expected(tmp_path, name):
    MINIATURES[name](tmp_path / 'in')
    path = file_of(tmp_path, name, 1)
    save(path, noise(0, 30, 41, 3))
    check_error(name, tmp_path, rf'{path.name} is a colour picture \(mode RGB\) but must be an index PNG')


@pytest.mark.parametrize('name', ['kitti', 'cityscapes', 'custom'])
@pytest.mark.parametrize(
    ('dtype', 'channels', 'words'),
    [
        (np.uint16, 3, 'has 16 bits a channel'),
        (np.uint16, 1, r'has 16 bits a channel \(mode I;16\)'),
        (np.uint8, 4, r'has an alpha channel \(mode RGBA\)'),
    ],
)
def test_sixteen_bit_and_alpha_images_are_refused(tmp_path, name, dtype, channels, words):
    MINIATURES[name](tmp_path / 'in')
    path = file_of(tmp_path, name, 0)
    cv2.imwrite(str(path), np.full((*np.asarray(Image.open(path)).shape[:2], channels), 200, dtype))
    check_error(name, tmp_path, rf'{path.name} {words}')


def test_folder_without_images_is_refused(tmp_path):
    kitti(tmp_path / 'in')
    for path in (tmp_path / 'in' / 'Training_00' / 'RGB').iterdir():
        path.unlink()
    check_error('kitti', tmp_path, 'Training_00/RGB holds no PNG; it should hold the frames')


# Single files


def grey_png(path, bits):
    """Write a grey PNG of 16x2 pixels with `bits` per pixel, all 1, byte by byte."""

    def chunk(kind, data):
        return struct.pack('>I', len(data)) + kind + data + struct.pack('>I', zlib.crc32(kind + data))

    line = b'\0' + bytes([sum(1 << place for place in range(0, 8, bits))] * (16 * bits // 8))
    header = struct.pack('>IIBBBBB', 16, 2, bits, 0, 0, 0, 0)
    path.write_bytes(
        b'\x89PNG\r\n\x1a\n' + chunk(b'IHDR', header) + chunk(b'IDAT', zlib.compress(line * 2)) + chunk(b'IEND', b'')
    )


@pytest.mark.parametrize('bits', [1, 2, 4])
def test_grey_label_of_fewer_than_8_bits_is_refused(tmp_path, bits):
    """Pillow stretches its values: it reads a 1 of 2 bits as 85, of 4 bits as 17."""
    grey_png(tmp_path / 'few.png', bits)
    with pytest.raises(UserError, match=f'few.png is grey of {bits} bits'):
        read_index_label(tmp_path / 'few.png')
    grey_png(tmp_path / 'eight.png', 8)
    assert np.unique(read_index_label(tmp_path / 'eight.png')).tolist() == [1]


@pytest.mark.parametrize('palette', [False, True])
def test_damaged_label_png_gives_what_pillow_gives(tmp_path, monkeypatch, palette):
    """Each byte changed in turn, and the file cut at each byte: the same pixels or the same error as without label_png."""
    path = tmp_path / 'label.png'
    picture = Image.fromarray(noise(0, 5, 6) % 17)
    if palette:
        picture.putpalette([*range(17)] * 3)
    picture.save(path)
    whole = path.read_bytes()
    damaged = [whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :] for place in range(len(whole))]
    damaged += [whole[:place] for place in range(len(whole))] + [whole + b'more']
    found = []
    for decoder in (image_files.decode, lambda content: None):
        monkeypatch.setattr(image_files, 'decode', decoder)
        found.append([pixels_or_error(path, content) for content in damaged])
    assert found[0] == found[1]
    assert found[0][-1] == np.asarray(picture).tolist()


def pixels_or_error(path, content):
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


def test_label_of_an_unfit_format_is_refused(tmp_path):
    save(tmp_path / 'l.jpg', np.zeros((9, 9), np.uint8))
    for read in (read_index_label, read_rgb_label):
        with pytest.raises(UserError, match='l.jpg is a JPEG, whose compression changes labels'):
            read(tmp_path / 'l.jpg')
    save(tmp_path / 'grey.png', np.zeros((3, 3), np.uint8))
    with pytest.raises(UserError, match='grey.png is a picture of mode L; labels of this data set are RGB colours'):
        read_rgb_label(tmp_path / 'grey.png')


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


def test_image_with_more_pixels_than_pillow_accepts_is_named(tmp_path):
    Image.new('1', (15000, 13000)).save(tmp_path / 'aerial.png')
    with pytest.raises(UserError, match='aerial.png is too large .*; cut it into smaller pictures'):
        read_bgr(tmp_path / 'aerial.png')
