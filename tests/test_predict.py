"""tools/predict.py on real Caffe: what it writes, and what it refuses."""

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from dataset_prep.datasets import dataset
from tests.toy_nets import random_image, random_weights
from tools import predict
from tools.inference import Predictor, colorize, input_images
from tools.support.errors import UserError
from tools.support.paths import ROOT


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Random weights of front_toy."""
    return random_weights('front_toy', tmp_path_factory.mktemp('weights') / 'front.caffemodel')


@pytest.fixture
def run(weights, tmp_path):
    """Label images into tmp_path/out; returns that folder."""

    def run(*images):
        out = tmp_path / 'out'
        predict.main(['--net', 'front-toy', '--weights', str(weights), '--tiling', 'tight', '--out', str(out), *map(str, images)])
        return out

    return run


def save(path, image):
    """Write an image, its kind by suffix."""
    assert cv2.imwrite(str(path), image)
    return path


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def test_a_label_map_and_its_colours_are_written(run, weights, tmp_path, capsys):
    """Ids of one channel, equal to the Predictor's, and the palette's colours; standard output names the map."""
    image = random_image(21, 34)
    out = run(save(tmp_path / 'street.png', image))
    expected = Predictor('front_toy', [weights], tiling='tight').label_map(image)
    np.testing.assert_array_equal(read(out / 'street.png'), expected)
    np.testing.assert_array_equal(read(out / 'street_color.png'), colorize(expected, dataset('toy')))
    assert sorted(path.name for path in out.iterdir()) == ['street.png', 'street_color.png']
    said = capsys.readouterr()
    assert said.out.strip() == str(out / 'street.png')
    assert f'weights: {weights}\n' in said.err


def test_a_folder_stands_for_its_images(run, tmp_path):
    """Two images, a text file that is none, and what macOS leaves beside a file."""
    folder = tmp_path / 'in'
    folder.mkdir()
    save(folder / 'a.png', random_image(9, 9))
    save(folder / 'b.JPG', random_image(9, 9))
    (folder / 'list.txt').write_text('a b')
    (folder / '._a.png').write_bytes(b'\0\5\x16\7')
    assert {path.name for path in run(folder).iterdir()} == {'a.png', 'a_color.png', 'b.png', 'b_color.png'}


def test_grey_alpha_and_16_bit_are_read_as_8_bit_colour(tmp_path):
    """Grey in three channels, alpha dropped, 16 bits divided by 256."""
    colour = random_image(9, 13)
    alpha = np.dstack([colour, np.zeros((9, 13), np.uint8)])
    grey = colour[..., 0]
    assert input_images.read_image(save(tmp_path / 'alpha.png', alpha)).tolist() == colour.tolist()
    assert input_images.read_image(save(tmp_path / 'grey.png', grey)).tolist() == np.dstack([grey] * 3).tolist()
    assert input_images.read_image(save(tmp_path / 'deep.png', colour.astype(np.uint16) * 256 + 77)).tolist() == colour.tolist()


def test_a_photograph_is_turned_as_its_tag_says(tmp_path):
    """EXIF orientation 6: to be turned clockwise. The size that memory is reckoned with is that of what is read."""
    picture = Image.fromarray(random_image(16, 24))
    tag = picture.getexif()
    tag[0x0112] = 6
    picture.save(tmp_path / 'phone.jpg', exif=tag)
    stored = cv2.imread(str(tmp_path / 'phone.jpg'), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert input_images.read_image(tmp_path / 'phone.jpg').tolist() == cv2.rotate(stored, cv2.ROTATE_90_CLOCKWISE).tolist()
    assert input_images.size_of(tmp_path / 'phone.jpg') == (24, 16)


@pytest.mark.parametrize('suffix', ['tif', 'jpg', 'png', 'webp'])
@pytest.mark.parametrize('turned', [1, 3, 6, 8])
def test_the_size_reckoned_with_is_that_of_what_is_read(tmp_path, suffix, turned):
    """Whatever the format, turned by a quarter, by a half, or not."""
    path, picture = tmp_path / f'phone.{suffix}', Image.fromarray(random_image(16, 24))
    tag = picture.getexif()
    tag[0x0112] = turned
    picture.save(path, **({'tiffinfo': {0x0112: turned}} if suffix == 'tif' else {'exif': tag}))
    assert input_images.read_image(path).shape[:2] == input_images.size_of(path)


def test_an_image_of_too_many_pixels_is_named(tmp_path):
    """2**30 are OpenCV's limit."""
    with Image.new('1', (1 << 16, (1 << 14) + 1)) as picture:
        picture.save(tmp_path / 'aerial.png')
    with pytest.raises(UserError, match='aerial.png cannot be read .*; cut it into smaller images'):
        input_images.read_image(tmp_path / 'aerial.png')
    with pytest.raises(UserError, match='aerial.png is too large .*; cut it into smaller pictures'):
        input_images.size_of(tmp_path / 'aerial.png')


def test_a_run_that_was_stopped_goes_on(run, tmp_path, capsys):
    """With --keep an image of which a result is missing is labelled, the others are not even read."""
    images = [save(tmp_path / f'{name}.png', random_image(9, 9)) for name in 'abc']
    out = run(*images)
    expected = {path.name: path.read_bytes() for path in out.iterdir()}
    (out / 'b.png').unlink()
    for path in out.glob('c*.png'):
        path.unlink()
    capsys.readouterr()
    run('--keep', *images)
    said = capsys.readouterr()
    assert said.out.split() == [str(out / 'b.png'), str(out / 'c.png')]
    assert f'1 of 3 images have their results in {out}' in said.err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == expected
    run('--keep', *images)
    assert capsys.readouterr().out == ''


def test_bad_files_do_not_end_a_batch(run, tmp_path, capsys):
    """Whatever is wrong with them, all are named at once and the others labelled; run again, nothing is done twice."""
    folder = tmp_path / 'in'
    folder.mkdir()
    for name in ('a.png', 'cut.jpg', 'z.png'):
        save(folder / name, random_image(90, 130))
    (folder / 'cut.jpg').write_bytes((folder / 'cut.jpg').read_bytes()[:-300])
    (folder / 'empty.png').touch()
    (folder / 'page.jpg').write_text('<html>404</html>')
    (folder / 'refused.png').symlink_to('/proc/self/mem')  # reading it fails, for root too
    bad = ['cut.jpg', 'empty.png', 'gone.png', 'page.jpg', 'refused.png']
    for _ in range(2):
        with pytest.raises(UserError, match='5 of 7 images cannot be used; the others are labelled in .*out:') as error:
            run('--keep', folder, folder / 'gone.png')
        assert all(str(folder / name) in str(error.value) for name in bad)
    assert {path.name for path in (tmp_path / 'out').iterdir()} == {'a.png', 'a_color.png', 'z.png', 'z_color.png'}
    assert capsys.readouterr().out.split() == [str(tmp_path / 'out' / name) for name in ('a.png', 'z.png')]


def test_bytes_behind_a_picture_are_no_damage(tmp_path):
    """As telephones leave a film, or another picture, behind a JPEG; a start of a scan among them is none of the picture's."""
    for name in ('a.jpg', 'a.png'):
        path = save(tmp_path / name, random_image(90, 130))
        expected = input_images.read_image(path)
        path.write_bytes(path.read_bytes() + b'\0\0\0\x18ftypmp42 \xff\xda' * 9)
        assert input_images.read_image(path).tolist() == expected.tolist()


def test_a_name_that_is_no_utf8_is_taken(run, tmp_path):
    """ü in Latin-1, as in archives from other systems, and an apostrophe and blanks beside it."""
    path = tmp_path / os.fsdecode(b"M\xfcller's  street.jpg")
    path.write_bytes(save(tmp_path / 'plain.jpg', random_image(9, 9)).read_bytes())
    out = run(path)
    assert sorted(found.name for found in out.iterdir()) == [f'{path.stem}.png', f'{path.stem}_color.png']


def test_the_end_of_a_thumbnail_is_not_that_of_the_picture():
    """A JPEG of a thumbnail in its head, and of a scan without an end; the same with the end, and bytes behind it."""
    thumbnail = b'\xff\xd8\xff\xda\0\x02scan\xff\xd9'
    head = b'\xff\xd8\xff\xe1' + (2 + len(thumbnail)).to_bytes(2, 'big') + thumbnail
    picture = head + b'\xff\xff\xda\0\x02scan\xff\x00scan'
    assert input_images.cut_off_jpeg(picture) and input_images.cut_off_jpeg(head)
    assert not input_images.cut_off_jpeg(picture + b'\xff\xd9\xff\xda')


def test_an_empty_folder_is_named(run, tmp_path):
    with pytest.raises(UserError, match='no images in folder'):
        run(tmp_path)


@pytest.mark.parametrize('there', [False, True])
def test_weights_among_the_images_are_told_from_them(run, tmp_path, there):
    """tools/test.py takes several files after one --weights."""
    if there:
        (tmp_path / 'b.caffemodel').write_text('weights')
    with pytest.raises(UserError, match='b.caffemodel is not an image; give each weight file its own --weights'):
        run(tmp_path / 'b.caffemodel')


@pytest.mark.parametrize('name', ['cut.png', 'cut.jpg', 'cut.bmp', 'cut.tif', 'cut.webp'])
def test_a_file_that_is_cut_off_is_named(tmp_path, name, capfd):
    """OpenCV by itself would fill the missing part of a JPEG with grey, and print lines that name no file of others."""
    path = save(tmp_path / name, random_image(90, 130))
    content = path.read_bytes()
    assert input_images.read_image(path).shape == (90, 130, 3)
    path.write_bytes(content[: 2 * len(content) // 3])
    with pytest.raises(UserError, match='cut.* is damaged or cut off'):
        input_images.read_image(path)
    assert capfd.readouterr().err == ''


def test_two_images_of_one_stem_are_refused(run, tmp_path):
    """a.png and a.jpg would both write a.png."""
    images = [save(tmp_path / name, random_image(9, 9)) for name in ('a.png', 'a.jpg')]
    with pytest.raises(UserError, match='a.png and .*a.jpg would both write'):
        run(*images)


def test_a_name_that_is_anothers_colour_picture_is_refused(run, tmp_path):
    """a.png gives a_color.png, and so would a_color.jpg."""
    images = [save(tmp_path / name, random_image(9, 9)) for name in ('a.png', 'a_color.jpg')]
    with pytest.raises(UserError, match='would both write .*a_color.png'):
        run(*images)


def test_images_are_never_overwritten(weights, tmp_path):
    """--out is the folder of the image itself."""
    image = save(tmp_path / 'a.png', random_image(9, 9))
    with pytest.raises(UserError, match='would overwrite'):
        predict.main(['--net', 'front_toy', '--weights', str(weights), '--out', str(tmp_path), str(image)])
    assert read(image).shape == (9, 9, 3)


def test_ground_truth_is_never_overwritten(run, tmp_path):
    """--out is the folder of the labels: <stem>.png is there, without its colours. What an earlier run wrote is replaced."""
    image, out = save(tmp_path / 'a.png', random_image(9, 9)), run(save(tmp_path / 'b.png', random_image(9, 9)))
    truth = save(out / 'a.png', np.zeros((9, 9), np.uint8)).read_bytes()
    with pytest.raises(UserError, match='out/a.png is there without a_color.png, so no earlier run wrote it'):
        run(tmp_path / 'b.png', image)
    assert (out / 'a.png').read_bytes() == truth
    run(tmp_path / 'b.png')


def test_the_script_runs_from_any_folder_and_fails_in_one_line(tmp_path):
    """Exit status 1, one line on standard error, no traceback."""
    image = save(tmp_path / 'a.png', random_image(9, 9))
    command = [
        sys.executable,
        str(ROOT / 'tools' / 'predict.py'),
        '--net',
        'front_toy',
        '--weights',
        'nowhere',
        '--out',
        'out',
        str(image),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, '', 'error: no weights at nowhere\n')
