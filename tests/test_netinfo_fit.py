"""The choice of a tile by memory, free memory, and the warning before a training."""

import argparse
import subprocess
import sys

import cv2
import numpy as np
import pytest

from prototxt.experiments import STAGES
from prototxt.networks import training
from prototxt.shapes import check_crop_size
from tests.toy_nets import random_image, random_weights
from tools.inference import Predictor
from tools.netinfo import fit
from tools.netinfo.fit import fit_tile, largest_tile, memory_size, tile_memory
from tools.netinfo.memory_estimate import program_bytes
from tools.support import memory_use
from tools.support.errors import UserError
from tools.support.paths import ROOT


@pytest.mark.parametrize(('text', 'size'), [
    ('4G', 4_000_000_000), ('4GB', 4_000_000_000), ('3.5g', 3_500_000_000), ('800M', 800_000_000),
    ('2GiB', 2_147_483_648), ('512', 512), ('', None), ('G', None), ('4 pounds', None), ('-1G', None),
])  # fmt: skip
def test_memory_sizes_as_people_write_them(text, size):
    """Any other text is refused, with two examples."""
    if size is None:
        with pytest.raises(argparse.ArgumentTypeError, match='4G or 800M'):
            memory_size(text)
    else:
        assert memory_size(text) == size


@pytest.mark.parametrize('limit', [145_000, 200_000, 400_000, 699_999, 2_000_000])
def test_the_largest_tile_is_found(limit):
    """It has as many cells as the best of all tiles, for a made-up net whose memory grows with area and height."""

    def need(tile):
        return tile[0] * tile[1] + 100 * tile[0]

    cells = [(rows, columns) for rows in range(1, 17) for columns in range(1, 47)]  # 500 and 740 pixels at most
    fitting = [rows * columns for rows, columns in cells if need((372 + 8 * rows, 372 + 8 * columns)) <= limit]
    tile = largest_tile((500, 740), limit, need)
    assert ((tile[0] - 372) * (tile[1] - 372) // 64 if tile else 0) == max(fitting, default=0)


@pytest.fixture
def weights(tmp_path):
    """Random weights of front_toy."""
    return random_weights('front_toy', tmp_path / 'w.caffemodel')


def test_a_limit_picks_a_tile_that_the_network_takes(weights, capsys):
    """One more column of cells would not fit; the new tile and the usual one are printed."""
    need = tile_memory('front_toy', weights.stat().st_size, [(192, 384)], False)
    limit = int(need((564, 756)) - 1)
    tile = fit_tile('front_toy', [weights], [(192, 384)], limit)
    assert tile and need(tile) <= limit and all(check_crop_size(side) for side in tile)
    assert need((tile[0], tile[1] + 8)) > limit or tile[1] == 756
    said = capsys.readouterr().err
    assert f'tiles of {tile[0]}x{tile[1]} take' in said and '564x756, the usual, would take' in said


def test_a_tile_that_fits_stays(weights, capsys):
    """Without a limit nothing is printed."""
    assert fit_tile('front_toy', [weights], [(10, 10)], None) is None and not capsys.readouterr().err
    assert fit_tile('front_toy', [weights], [(10, 10)], 10**10) is None
    assert 'a tile of 564x756 takes' in capsys.readouterr().err


def test_too_little_memory_says_how_much_is_needed(weights):
    """The smallest tile's memory is in the error."""
    with pytest.raises(UserError, match=r'--max-memory 50.0 MB: front_toy needs .* for its smallest tile'):
        fit_tile('front_toy', [weights], [(10, 10)], 50_000_000)


PREDICT = """
import sys
from tools import predict
from tools.support.memory_use import peak_bytes
predict.main(sys.argv[1:])
print(peak_bytes())
"""


def test_predict_stays_within_the_memory_it_is_given(tmp_path):
    """On an image of several tiles the peak stays below the limit, and the labels are those of the tile that is named."""
    weights, image = random_weights('basic_toy', tmp_path / 'w.caffemodel'), random_image(200, 400)
    cv2.imwrite(str(tmp_path / 'scene.png'), image)
    words = ['--net', 'basic_toy', '--weights', weights, '--out', tmp_path / 'out', tmp_path / 'scene.png']
    limit, peaks = program_bytes('test') + 140e6, []
    for more in ([], ['--max-memory', limit]):
        command = [sys.executable, '-c', PREDICT, *map(str, [*words, *more])]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]))
    assert peaks[1] < 1.05 * limit < 1.1 * limit < peaks[0]
    tile = tuple(int(side) for side in done.stderr.split('tiles of ')[1].split(' ')[0].split('x'))
    assert tile < (564, 756)
    found = cv2.imread(str(tmp_path / 'out' / 'scene.png'), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(found, Predictor('basic_toy', [weights], tile).label_map(image))


@pytest.mark.parametrize(('available_kb', 'limit', 'expected'), [
    (5_000_000, None, 5_000_000 * 1024), (5_000_000, ('max', '7'), 5_000_000 * 1024),
    (5_000_000, ('3000000000', '1000000000'), 2_000_000_000), (1000, ('3000000000', '1000000000'), 1_024_000),
])  # fmt: skip
def test_free_memory_knows_containers(tmp_path, monkeypatch, available_kb, limit, expected):
    """The machine's free memory, or what a container's limit leaves if that is less."""
    (tmp_path / 'meminfo').write_text(f'MemTotal: 9 kB\nMemAvailable:   {available_kb} kB\n')
    for name, text in zip(('memory.max', 'memory.current'), limit or (), strict=False):
        (tmp_path / name).write_text(f'{text}\n')
    monkeypatch.setattr(memory_use, 'MEMINFO', tmp_path / 'meminfo')
    monkeypatch.setattr(memory_use, 'CGROUP', tmp_path)
    assert memory_use.available_bytes() == expected


def test_a_training_that_will_not_fit_is_warned_of(monkeypatch, capsys):
    """The warning says what would help; there is none if the training fits."""
    net = training('camvid-front', 'x', 628, 8)
    monkeypatch.setattr(fit, 'available_bytes', lambda: 1e12)
    fit.warn_of_memory('camvid-front', net, 8)
    assert not capsys.readouterr().err
    monkeypatch.setattr(fit, 'available_bytes', lambda: 3e9)
    fit.warn_of_memory('camvid-front', net, STAGES['camvid-front'].batch_per_pass)
    said = capsys.readouterr().err
    assert said.startswith('warning: camvid-front takes about ') and '3.00 GB are free; BATCH_PER_PASS= ' in said
    fit.warn_of_memory('camvid-front', net, 1)
    assert 'BATCH_PER_PASS' not in capsys.readouterr().err
