"""tools/predict.py on real Caffe: what it writes for images and videos, and what it refuses."""

import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from dataset_prep.datasets import dataset
from tests.toy_nets import random_image
from tools import predict
from tools.inference import Predictor, colorize, input_images, video
from tools.support.errors import UserError
from tools.support.paths import ROOT

ORIENTATION = 0x0112  # the EXIF tag
FPS, FRAMES, SIZE_HW = 10.0, 6, (48, 64)


@pytest.fixture
def run(front_weights, tmp_path):
    """Labels files into tmp_path/out; returns that folder."""

    def run(*files, out=tmp_path / 'out'):
        options = ['--net', 'front-toy', '--weights', str(front_weights), '--tiling', 'tight', '--out', str(out)]
        predict.main([*options, *map(str, files)])
        return out

    return run


def save(path, image=None):
    """Writes an image, in the format of the suffix."""
    assert cv2.imwrite(str(path), random_image(9, 9) if image is None else image)
    return path


def read(path):
    return cv2.imread(str(path), cv2.IMREAD_UNCHANGED)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_label_map_and_its_colours_are_written(run, front_weights, tmp_path, capsys):
    """The map has one channel and the Predictor's ids. Standard output names the map."""
    image = random_image(21, 34)
    out = run(save(tmp_path / 'street.png', image))
    expected = Predictor('front_toy', [front_weights], tiling='tight').label_map(image)
    np.testing.assert_array_equal(read(out / 'street.png'), expected)
    np.testing.assert_array_equal(read(out / 'street_color.png'), colorize(expected, dataset('toy')))
    assert names(out) == ['street.png', 'street_color.png']
    said = capsys.readouterr()
    assert said.out.strip() == str(out / 'street.png')
    assert f'weights: {front_weights}\n' in said.err


def test_a_folder_stands_for_its_images(run, tmp_path):
    """Other files in it, and those that macOS adds, are passed over."""
    folder = tmp_path / 'in'
    folder.mkdir()
    save(folder / 'a.png')
    save(folder / 'b.JPG')
    (folder / 'list.txt').write_text('a b')
    (folder / '._a.png').write_bytes(b'\0\5\x16\7')
    assert names(run(folder)) == ['a.png', 'a_color.png', 'b.png', 'b_color.png']


def test_grey_alpha_and_16_bit_are_read_as_8_bit_colour(tmp_path):
    """Grey becomes three channels, alpha is dropped, 16 bits are divided by 256."""
    colour = random_image(9, 13)
    alpha = np.dstack([colour, np.zeros((9, 13), np.uint8)])
    grey = colour[..., 0]
    assert input_images.read_image(save(tmp_path / 'alpha.png', alpha)).tolist() == colour.tolist()
    assert input_images.read_image(save(tmp_path / 'grey.png', grey)).tolist() == np.dstack([grey] * 3).tolist()
    assert input_images.read_image(save(tmp_path / 'deep.png', colour.astype(np.uint16) * 256 + 77)).tolist() == colour.tolist()


def with_orientation(path, value):
    """Saves an image of 16 x 24 pixels with an orientation tag."""
    picture = Image.fromarray(random_image(16, 24))
    tag = picture.getexif()
    tag[ORIENTATION] = value
    picture.save(path, **({'tiffinfo': {ORIENTATION: value}} if path.suffix == '.tif' else {'exif': tag}))
    return path


def test_a_photograph_is_turned_as_its_tag_says(tmp_path):
    """Orientation 6 is a quarter turn clockwise."""
    path = with_orientation(tmp_path / 'phone.jpg', 6)
    stored = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    assert input_images.read_image(path).tolist() == cv2.rotate(stored, cv2.ROTATE_90_CLOCKWISE).tolist()


@pytest.mark.parametrize('suffix', ['tif', 'jpg', 'png', 'webp'])
@pytest.mark.parametrize('turned', [1, 3, 6, 8])
def test_size_of_is_the_size_that_is_read(tmp_path, suffix, turned):
    """In every format: not turned, by a half, by a quarter."""
    path = with_orientation(tmp_path / f'phone.{suffix}', turned)
    assert input_images.read_image(path).shape[:2] == input_images.size_of(path)


def test_an_image_of_too_many_pixels_is_named(tmp_path):
    """OpenCV's limit is 2**30."""
    with Image.new('1', (1 << 16, (1 << 14) + 1)) as picture:
        picture.save(tmp_path / 'aerial.png')
    with pytest.raises(UserError, match='aerial.png cannot be read .*; cut it into smaller images'):
        input_images.read_image(tmp_path / 'aerial.png')
    with pytest.raises(UserError, match='aerial.png is too large .*; cut it into smaller pictures'):
        input_images.size_of(tmp_path / 'aerial.png')


def test_a_stopped_run_goes_on(run, tmp_path, capsys):
    """With --keep, only images of which a result is missing are labelled."""
    images = [save(tmp_path / f'{name}.png') for name in 'abc']
    out = run(*images)
    expected = {path.name: path.read_bytes() for path in out.iterdir()}
    for name in ('b.png', 'c.png', 'c_color.png'):
        (out / name).unlink()
    capsys.readouterr()
    run('--keep', *images)
    said = capsys.readouterr()
    assert said.out.split() == [str(out / 'b.png'), str(out / 'c.png')]
    assert f'1 of 3 images have their results in {out}' in said.err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == expected
    run('--keep', *images)
    assert capsys.readouterr().out == ''


def test_bad_files_do_not_end_a_batch(run, tmp_path, capsys):
    """All of them are named at once, and the others are labelled. A second run labels nothing again."""
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
    assert names(tmp_path / 'out') == ['a.png', 'a_color.png', 'z.png', 'z_color.png']
    assert capsys.readouterr().out.split() == [str(tmp_path / 'out' / name) for name in ('a.png', 'z.png')]


@pytest.mark.parametrize('name', ['cut.png', 'cut.jpg', 'cut.bmp', 'cut.tif', 'cut.webp'])
def test_a_file_that_is_cut_off_is_named(tmp_path, name, capfd):
    """OpenCV alone would fill the missing part of a JPEG with grey, and print messages without the file's name."""
    path = save(tmp_path / name, random_image(90, 130))
    content = path.read_bytes()
    assert input_images.read_image(path).shape == (90, 130, 3)
    path.write_bytes(content[: 2 * len(content) // 3])
    with pytest.raises(UserError, match='cut.* is damaged or cut off'):
        input_images.read_image(path)
    assert capfd.readouterr().err == ''


@pytest.mark.parametrize('name', ['a.jpg', 'a.png'])
def test_bytes_after_a_picture_are_no_damage(tmp_path, name):
    """Telephones add a film or another picture to a JPEG. A scan that begins there does not count."""
    path = save(tmp_path / name, random_image(90, 130))
    expected = input_images.read_image(path)
    path.write_bytes(path.read_bytes() + b'\0\0\0\x18ftypmp42 \xff\xda' * 9)
    assert input_images.read_image(path).tolist() == expected.tolist()


def test_the_end_marker_of_a_thumbnail_does_not_count():
    """A JPEG with a thumbnail in its head is cut off without an end marker of its own. Bytes after that marker do not matter."""
    thumbnail = b'\xff\xd8\xff\xda\0\x02scan\xff\xd9'
    head = b'\xff\xd8\xff\xe1' + (2 + len(thumbnail)).to_bytes(2, 'big') + thumbnail
    picture = head + b'\xff\xff\xda\0\x02scan\xff\x00scan'
    assert input_images.cut_off_jpeg(picture) and input_images.cut_off_jpeg(head)
    assert not input_images.cut_off_jpeg(picture + b'\xff\xd9\xff\xda')


def test_a_name_that_is_not_utf8_is_taken(run, tmp_path):
    """It has ü in Latin-1, as in archives from other systems, an apostrophe and spaces."""
    path = tmp_path / os.fsdecode(b"M\xfcller's  street.jpg")
    path.write_bytes(save(tmp_path / 'plain.jpg').read_bytes())
    assert names(run(path)) == [f'{path.stem}.png', f'{path.stem}_color.png']


def test_an_empty_folder_is_named(run, tmp_path):
    """A folder whose name ends like that of a video is still a folder."""
    (tmp_path / 'street.mp4').mkdir()
    with pytest.raises(UserError, match='no images in folder .*street.mp4'):
        run(tmp_path / 'street.mp4')


@pytest.mark.parametrize('exists', [False, True])
def test_weights_among_the_images_are_refused(run, tmp_path, exists):
    """tools/test.py takes several files after one --weights; this command does not."""
    if exists:
        (tmp_path / 'b.caffemodel').write_text('weights')
    with pytest.raises(UserError, match='b.caffemodel is not an image; give each weight file its own --weights'):
        run(tmp_path / 'b.caffemodel')


@pytest.mark.parametrize(('others', 'result'), [(('a.png', 'a.jpg'), 'a.png'), (('a.png', 'a_color.jpg'), 'a_color.png')])
def test_two_images_with_the_same_result_are_refused(run, tmp_path, others, result):
    """The names are equal but for the suffix, or one is that of the other's coloured picture."""
    with pytest.raises(UserError, match=f'{others[0]} and .*{others[1]} would both write .*{result}'):
        run(*[save(tmp_path / name) for name in others])


def test_images_are_never_overwritten(run, tmp_path):
    """--out is the folder of the image."""
    image = save(tmp_path / 'a.png')
    with pytest.raises(UserError, match='would overwrite'):
        run(image, out=tmp_path)
    assert read(image).shape == (9, 9, 3)


def test_ground_truth_is_never_overwritten(run, tmp_path):
    """A <stem>.png in --out without its colours is not from an earlier run. What an earlier run wrote is replaced."""
    image, other = save(tmp_path / 'a.png'), save(tmp_path / 'b.png')
    out = run(other)
    truth = save(out / 'a.png', np.zeros((9, 9), np.uint8)).read_bytes()
    with pytest.raises(UserError, match='out/a.png is there without a_color.png, so no earlier run wrote it'):
        run(other, image)
    assert (out / 'a.png').read_bytes() == truth
    run(other)


def command(*options):
    """Runs tools/predict.py with front_toy as a process."""
    words = [sys.executable, ROOT / 'tools' / 'predict.py', '--net', 'front_toy', *options]
    return subprocess.run(words, cwd=options[-1].parent, capture_output=True, text=True, check=False)


def test_the_script_runs_from_any_folder_and_fails_in_one_line(tmp_path):
    """Exit status 1, one line on standard error, no traceback; no other weights than the given ones are used."""
    done = command('--weights', 'nowhere', '--out', 'out', save(tmp_path / 'a.png'))
    assert (done.returncode, done.stdout, done.stderr) == (1, '', 'error: no weights at nowhere\n')


# Videos


def film(path, codec='mp4v', size_hw=SIZE_HW, frames=FRAMES):
    """Writes a video of random pictures."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), FPS, size_hw[::-1])
    for number in range(frames):
        writer.write(random_image(*size_hw, seed=number))
    writer.release()
    return path


def frames_of(path):
    """All frames of a video, and their number a second."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while (frame := capture.read())[0]:
        frames.append(frame[1])
    return frames, capture.get(cv2.CAP_PROP_FPS)


def nearest_classes(frame, palette_rgb):
    """The class with the nearest colour for each pixel; the codec changes colours a little."""
    colours = np.array(palette_rgb)[:, ::-1]
    return ((frame[:, :, np.newaxis].astype(int) - colours) ** 2).sum(axis=3).argmin(axis=2)


@pytest.mark.parametrize(('codec', 'suffix'), [('mp4v', 'mp4'), ('MJPG', 'avi')])
def test_every_frame_of_a_video_is_labelled(codec, suffix, run, front_weights, tmp_path, capsys):
    """Number, size and rate of the frames stay. Most pixels have the Predictor's class; the codec blurs the others."""
    source = film(tmp_path / f'street.{suffix}', codec)
    out = run(source)
    given, _ = frames_of(source)
    found, fps = frames_of(out / 'street_color.mp4')
    assert (len(given), len(found), fps) == (FRAMES, FRAMES, FPS)
    predictor, facts = Predictor('front_toy', front_weights, tiling='tight'), dataset('toy')
    for before, after in zip(given, found, strict=True):
        expected = predictor.label_map(before)
        assert after.shape == before.shape and len(np.unique(expected)) > 1
        assert (nearest_classes(after, facts.palette) == expected).mean() > 0.9
    assert names(out) == ['street_color.mp4']
    assert capsys.readouterr().out.split() == [str(out / 'street_color.mp4')]


def test_videos_and_images_together(run, tmp_path, capsys):
    """With --keep neither is labelled again."""
    files = film(tmp_path / 'b.mp4', frames=2), save(tmp_path / 'a.png')
    assert names(run(*files)) == ['a.png', 'a_color.png', 'b_color.mp4']
    capsys.readouterr()
    run('--keep', *files)
    assert capsys.readouterr().out == ''


def test_odd_sides_lose_their_last_row_and_column(run, tmp_path):
    """MPEG-4 needs even sides."""
    source = film(tmp_path / 'odd.avi', 'MJPG', (47, 63), 2)
    found, _ = frames_of(run(source) / 'odd_color.mp4')
    assert [frame.shape for frame in found] == [(46, 62, 3)] * 2


@pytest.mark.parametrize('done', [0, 2])
def test_a_stop_leaves_a_video_of_the_frames_so_far(done, run, tmp_path, monkeypatch, capsys):
    """After Ctrl-C there is no file under the name of the whole video, and nothing hidden."""
    label_map, seen = Predictor.label_map, []

    def stopped(self, frame):
        seen.append(frame)
        if len(seen) > done:
            raise KeyboardInterrupt
        return label_map(self, frame)

    monkeypatch.setattr(Predictor, 'label_map', stopped)
    with pytest.raises(KeyboardInterrupt):
        run(film(tmp_path / 'street.mp4'))
    part = tmp_path / 'out' / 'street_color-first-2.mp4'
    assert [len(frames_of(path)[0]) for path in (tmp_path / 'out').iterdir()] == ([2] if done else [])
    assert (f'{part} has the first 2 frames' in capsys.readouterr().err) == part.exists() == bool(done)


def test_a_video_that_is_cut_off_is_named(run, tmp_path, capsys):
    """The frames that can be read are labelled, and so is the other file."""
    whole = film(tmp_path / 'cut.avi', 'MJPG', frames=20).read_bytes()
    (tmp_path / 'cut.avi').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r'1 of 2 files cannot be used; .*\n  .*cut.avi ends after \d+ of 20 frames'):
        run(tmp_path / 'cut.avi', film(tmp_path / 'sound.mp4', frames=2))
    (part,) = (tmp_path / 'out').glob('cut_color-first-*.mp4')
    assert 0 < len(frames_of(part)[0]) < 20
    assert capsys.readouterr().out.split() == [str(tmp_path / 'out' / 'sound_color.mp4')]


@pytest.mark.parametrize('damage', ['empty', 'text', 'no index', 'gone'])
def test_what_is_no_video_is_one_error(damage, front_weights, tmp_path):
    """FFmpeg and OpenCV print nothing of their own."""
    path, content = tmp_path / 'street.mp4', film(tmp_path / 'whole.mp4').read_bytes()
    if damage != 'gone':
        path.write_bytes({'empty': b'', 'text': b'<html>404</html>' * 99, 'no index': content[: len(content) // 2]}[damage])
    done = command('--weights', front_weights, '--out', tmp_path / 'out', path)
    assert done.returncode == 1
    head, line = done.stderr.splitlines()
    assert head == 'error: 1 of 1 files cannot be used; nothing was labelled:' and str(path) in line


def test_a_full_disk_is_said(run, tmp_path, monkeypatch):
    """OpenCV's writer reports nothing; the file that it leaves cannot be read."""
    monkeypatch.setattr(video, '_is_readable', lambda path: False)
    with pytest.raises(UserError, match='street_color.mp4 could not be written whole'):
        run(film(tmp_path / 'street.mp4', frames=2))
    assert not names(tmp_path / 'out')
