"""tools/predict.py with videos: frames in the colours of their classes, stops, and files that are damaged."""

import subprocess
import sys

import cv2
import numpy as np
import pytest

from dataset_prep.datasets import dataset
from tests.toy_nets import random_image, random_weights
from tools import predict
from tools.inference import Predictor, video
from tools.support.errors import UserError
from tools.support.paths import ROOT

FPS, FRAMES, SIZE_HW = 10.0, 6, (48, 64)
KINDS = {'mp4v': '.mp4', 'MJPG': '.avi'}


@pytest.fixture(scope='module')
def weights(tmp_path_factory):
    """Random weights of front_toy."""
    return random_weights('front_toy', tmp_path_factory.mktemp('weights') / 'front.caffemodel')


@pytest.fixture
def run(weights, tmp_path):
    """Label files into tmp_path/out; returns that folder."""

    def run(*files):
        out = tmp_path / 'out'
        predict.main(['--net', 'front-toy', '--weights', str(weights), '--tiling', 'tight', '--out', str(out), *map(str, files)])
        return out

    return run


def film(path, codec='mp4v', size_hw=SIZE_HW, frames=FRAMES):
    """A video of random pictures."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), FPS, size_hw[::-1])
    for number in range(frames):
        writer.write(random_image(*size_hw, seed=number))
    writer.release()
    return path


def frames_of(path):
    """All frames of a video, and how many a second it has."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames, capture.get(cv2.CAP_PROP_FPS)


def nearest_classes(frame, palette_rgb):
    """The class of each pixel whose colour is nearest: the codec changes colours a little."""
    colours = np.array(palette_rgb)[:, ::-1]
    return ((frame[:, :, np.newaxis].astype(int) - colours) ** 2).sum(axis=3).argmin(axis=2)


@pytest.mark.parametrize('codec', KINDS)
def test_every_frame_comes_out_in_its_classes_colours(codec, run, weights, tmp_path, capsys):
    """As many, as large, as fast; away from the codec's blur each pixel has the class of the Predictor."""
    source = film(tmp_path / f'street{KINDS[codec]}', codec)
    out = run(source)
    given, _ = frames_of(source)
    found, fps = frames_of(out / 'street_color.mp4')
    assert (len(given), len(found), fps) == (FRAMES, FRAMES, FPS)
    predictor, facts = Predictor('front_toy', weights, tiling='tight'), dataset('toy')
    for before, after in zip(given, found, strict=True):
        expected = predictor.label_map(before)
        assert after.shape == before.shape and len(np.unique(expected)) > 1
        assert (nearest_classes(after, facts.palette) == expected).mean() > 0.9
    assert [path.name for path in out.iterdir()] == ['street_color.mp4']
    assert capsys.readouterr().out.split() == [str(out / 'street_color.mp4')]


def test_videos_and_images_together(run, tmp_path, capsys):
    """With --keep neither is labelled again."""
    cv2.imwrite(str(tmp_path / 'a.png'), random_image(9, 13))
    files = film(tmp_path / 'b.mp4', frames=2), tmp_path / 'a.png'
    out = run(*files)
    assert sorted(path.name for path in out.iterdir()) == ['a.png', 'a_color.png', 'b_color.mp4']
    capsys.readouterr()
    run('--keep', *files)
    assert capsys.readouterr().out == ''


def test_odd_sides_lose_their_last_row_and_column(run, tmp_path):
    """MPEG-4 has even ones."""
    source = film(tmp_path / 'odd.avi', 'MJPG', (47, 63), 2)
    found, _ = frames_of(run(source) / 'odd_color.mp4')
    assert [frame.shape for frame in found] == [(46, 62, 3)] * 2


def test_a_stop_leaves_a_video_of_the_frames_so_far(run, tmp_path, monkeypatch, capsys):
    """Ctrl-C while the third is labelled; there is no file under the whole video's name, and nothing hidden."""
    label_map, seen = Predictor.label_map, []

    def stopped(self, frame):
        seen.append(frame)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return label_map(self, frame)

    monkeypatch.setattr(Predictor, 'label_map', stopped)
    with pytest.raises(KeyboardInterrupt):
        run(film(tmp_path / 'street.mp4'))
    part = tmp_path / 'out' / 'street_color-first-2.mp4'
    assert list((tmp_path / 'out').iterdir()) == [part] and len(frames_of(part)[0]) == 2
    assert f'{part} has the first 2 frames' in capsys.readouterr().err


def test_a_stop_before_the_first_frame_leaves_nothing(run, tmp_path, monkeypatch):
    """No empty file."""

    def stopped(self, frame):
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, 'label_map', stopped)
    with pytest.raises(KeyboardInterrupt):
        run(film(tmp_path / 'street.mp4'))
    assert not list((tmp_path / 'out').iterdir())


def test_a_video_that_is_cut_off_is_named(run, tmp_path, capsys):
    """What can be read of it is labelled, the other file too."""
    whole = film(tmp_path / 'cut.avi', 'MJPG', frames=20).read_bytes()
    (tmp_path / 'cut.avi').write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match=r'1 of 2 files cannot be used; .*\n  .*cut.avi ends after \d+ of 20 frames'):
        run(tmp_path / 'cut.avi', film(tmp_path / 'sound.mp4', frames=2))
    (part,) = (tmp_path / 'out').glob('cut_color-first-*.mp4')
    assert 0 < len(frames_of(part)[0]) < 20
    assert capsys.readouterr().out.split() == [str(tmp_path / 'out' / 'sound_color.mp4')]


@pytest.mark.parametrize('damage', ['empty', 'text', 'no index', 'gone', 'folder'])
def test_what_is_no_video_is_one_error(damage, weights, tmp_path):
    """In the whole command FFmpeg and OpenCV say nothing of their own."""
    path = tmp_path / 'street.mp4'
    content = film(tmp_path / 'whole.mp4').read_bytes()
    if damage == 'folder':
        path.mkdir()
    elif damage != 'gone':
        path.write_bytes({'empty': b'', 'text': b'<html>404</html>' * 99, 'no index': content[: len(content) // 2]}[damage])
    options = ['--net', 'front-toy', '--weights', weights, '--out', tmp_path / 'out']
    done = subprocess.run(
        [sys.executable, ROOT / 'tools' / 'predict.py', *options, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1 and done.stderr.startswith('error: ') and 'Traceback' not in done.stderr
    if damage == 'folder':
        assert 'no images in folder' in done.stderr
    else:
        head, line = done.stderr.splitlines()
        assert head == 'error: 1 of 1 files cannot be used; nothing was labelled:' and str(path) in line


def test_a_full_disk_is_said(run, tmp_path, monkeypatch):
    """OpenCV's writer reports nothing; the file it leaves cannot be read."""
    monkeypatch.setattr(video, '_is_readable', lambda path: False)
    with pytest.raises(UserError, match='street_color.mp4 could not be written whole'):
        run(film(tmp_path / 'street.mp4', frames=2))
    assert not list((tmp_path / 'out').iterdir())
