"""What goes to the evaluation servers: names, ids, colours, and what is refused."""

import resource
import signal
import subprocess
import sys
import tarfile
import zipfile
from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dataset_prep.datasets import dataset
from dataset_prep.records import Record, save_split
from tools import submit
from tools.report import server_archives
from tools.support.errors import UserError
from tools.support.paths import ROOT

NAMES = {'pascal_voc': ('2008_000006', '2012_004331'), 'cityscapes': ('berlin_000000_000019', 'munich_000397_000019')}


@pytest.fixture
def pack(tmp_path):
    """Packs two maps of random labels; returns them by id, and the archive."""

    def pack(name, *options, change=None):
        maps, rng = {}, np.random.default_rng(0)
        (tmp_path / 'maps').mkdir()
        for image in NAMES[name]:
            maps[image] = rng.integers(0, dataset(name).num_classes, (20, 30), np.uint8)
            cv2.imwrite(str(tmp_path / f'{image}.jpg'), np.zeros((20, 30, 3), np.uint8))
            cv2.imwrite(str(tmp_path / 'maps' / f'{image}.png'), maps[image])
        save_split(tmp_path, 'test', [Record(image, tmp_path / f'{image}.jpg', None, name) for image in maps])
        if change:
            change(tmp_path / 'maps')
        out = tmp_path / ('a' + server_archives.SERVERS[name].suffix)
        arguments = ['--dataset', name, '--pred', tmp_path / 'maps', '--data', tmp_path, '--out', out, *options]
        submit.main([str(word) for word in arguments])
        return maps, out

    return pack


def test_vocs_archive(pack):
    """Names as the server takes them; indices with VOC's colours: 1 is (128, 0, 0), 15 (192, 128, 128), 20 (0, 64, 128)."""
    maps, out = pack('pascal_voc')
    with tarfile.open(out) as archive:
        found = {entry.name: Image.open(BytesIO(archive.extractfile(entry).read())) for entry in archive}
    assert found.keys() == {f'results/VOC2012/Segmentation/comp6_test_cls/{name}.png' for name in maps}
    for name, labels in maps.items():
        picture = found[f'results/VOC2012/Segmentation/comp6_test_cls/{name}.png']
        assert picture.mode == 'P' and np.array_equal(picture, labels)
        colours = np.array(picture.getpalette()[: 3 * 256]).reshape(-1, 3).tolist()
        assert (colours[1], colours[15], colours[20]) == ([128, 0, 0], [192, 128, 128], [0, 64, 128])
        assert [tuple(colour) for colour in colours[:21]] == list(dataset('pascal_voc').palette)


def test_vocs_other_competition(pack):
    with tarfile.open(pack('pascal_voc', '--competition', 'comp5')[1]) as archive:
        assert all(name.startswith('results/VOC2012/Segmentation/comp5_test_cls/') for name in archive.getnames())


def test_cityscapes_maps_are_label_ids(pack):
    """By the evaluator's own table: 0 road is 7, 18 bicycle is 33; the evaluator finds the files by their names."""
    from cityscapesscripts.helpers.labels import trainId2label

    maps, out = pack('cityscapes')
    ids = np.array([trainId2label[number].id for number in range(19)])
    with zipfile.ZipFile(out) as archive:
        assert sorted(archive.namelist()) == [f'{name}.png' for name in sorted(maps)]
        for name, labels in maps.items():
            picture = Image.open(BytesIO(archive.read(f'{name}.png')))
            assert picture.mode == 'L' and np.array_equal(picture, ids[labels])


def lose(folder):
    (folder / '2012_004331.png').unlink()


def resize(folder):
    cv2.imwrite(str(folder / '2012_004331.png'), np.zeros((30, 20), np.uint8))


def void(folder):
    cv2.imwrite(str(folder / '2012_004331.png'), np.full((20, 30), 255, np.uint8))


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lose, '1 of 2 images cannot be used; .* run tools/test.py .*:\n  no file at .*2012_004331.png'),
        (resize, r'2012_004331.png is 30x20, its image .*2012_004331.jpg is 20x30'),
        (void, '2012_004331.png has label 255; classes are 0-20'),
    ],
)
def test_what_a_server_would_not_take_is_refused(pack, tmp_path, change, message):
    """And no archive is left."""
    with pytest.raises(UserError, match=message):
        pack('pascal_voc', change=change)
    assert not list(tmp_path.glob('*.tar.gz'))


@pytest.mark.parametrize('name', ['pascal_voc', 'cityscapes'])
def test_full_disk_is_one_line_that_names_the_archive(pack, tmp_path, name):
    """A file may not grow beyond 512 bytes: the kernel refuses the write, as it does on a full disk."""

    def little_room():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))

    pack(name)
    out = tmp_path / f'b{server_archives.SERVERS[name].suffix}'
    words = ['--dataset', name, '--pred', tmp_path / 'maps', '--data', tmp_path, '--out', out]
    command = [sys.executable, str(ROOT / 'tools' / 'submit.py'), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=little_room)
    lines = [line for line in done.stderr.splitlines() if line and 'packing' not in line]
    assert done.returncode == 1 and lines == [f'error: {out}: File too large']
    assert not list(tmp_path.glob('*b.*'))


def test_an_archive_that_holds_something_else_is_found(pack, tmp_path, monkeypatch):
    """The check reads what was written: here one pixel is another."""
    right = server_archives.with_voc_colours

    def wrong(labels):
        labels = labels.copy()
        labels[3, 4] = (labels[3, 4] + 1) % 21
        return right(labels)

    server = server_archives.SERVERS['pascal_voc']
    monkeypatch.setitem(
        server_archives.SERVERS, 'pascal_voc', server_archives.Server(server.suffix, 21, server.name, wrong, server.decode)
    )
    with pytest.raises(UserError, match='results/.*png is not what was predicted'):
        pack('pascal_voc')
    assert not list(tmp_path.glob('*.tar.gz'))


@pytest.mark.parametrize(
    ('pred', 'name'),
    [
        ('out/test/front_cityscapes/test', 'cityscapes_test_front_cityscapes.zip'),
        ('out/released/dilation10_cityscapes-crf/test', 'cityscapes_test_dilation10_cityscapes-crf_released.zip'),
        ('maps', 'cityscapes_test_maps.zip'),
    ],
)
def test_archives_are_named_after_what_they_hold(pred, name):
    """One network's does not overwrite another's, and the authors' weights not ours."""
    assert submit.default_out('cityscapes', 'test', Path(pred)).name == name
