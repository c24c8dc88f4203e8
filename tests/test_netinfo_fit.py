"""The choice of a tile by memory."""

import argparse
import subprocess
import sys

import cv2
import numpy as np
import pytest

from prototxt.shapes import check_crop_size
from tests.toy_nets import random_image, random_weights
from tools import predict
from tools.inference import Predictor
from tools.netinfo.fit import fit_tile, largest_tile, memory_size, tile_memory
from tools.netinfo.memory_estimate import program_bytes
from tools.support.errors import UserError
from tools.support.paths import ROOT


@pytest.mark.parametrize(('text', 'size'), [
    ('4G', 4_000_000_000), ('4GB', 4_000_000_000), ('3.5g', 3_500_000_000), ('800M', 800_000_000),
    ('2GiB', 2_147_483_648), ('512', 512),
])  # fmt: skip
def test_sizes_as_people_write_them(text, size):
    assert memory_size(text) == size


@pytest.mark.parametrize('text', ['', 'G', '4 pounds', '-1G'])
def test_other_words_are_no_sizes(text):
    with pytest.raises(argparse.ArgumentTypeError, match='4G or 800M'):
        memory_size(text)


def by_trying_all(own, limit, need):
    """Cells of the largest tile that fits."""
    sizes = [(height, width) for height in range(380, own[0] + 1, 8) for width in range(380, own[1] + 1, 8)]
    return max(((height - 372) * (width - 372) // 64 for height, width in sizes if need((height, width)) <= limit), default=0)


@pytest.mark.parametrize('limit', [145_000, 200_000, 400_000, 699_999, 2_000_000])
def test_the_largest_tile_is_found(limit):
    """As many cells as the best of all tiles has; the memory of a made-up net grows with its area and its height."""
    own = 500, 740

    def need(tile):
        return tile[0] * tile[1] + 100 * tile[0]

    tile = largest_tile(own, limit, need)
    expected = by_trying_all(own, limit, need)
    assert ((tile[0] - 372) * (tile[1] - 372) // 64 if tile else 0) == expected


def test_a_limit_picks_a_tile_that_the_network_takes(tmp_path, capsys):
    """Below the limit, but not by a cell's row more than it must; what changed is said."""
    weights = random_weights('front_toy', tmp_path / 'w.caffemodel')
    need = tile_memory('front_toy', weights.stat().st_size, [(192, 384)], False)
    limit = int(need((564, 756)) - 1)
    tile = fit_tile('front_toy', [weights], [(192, 384)], limit)
    assert tile and need(tile) <= limit and all(check_crop_size(side) for side in tile)
    assert need((tile[0], tile[1] + 8)) > limit or tile[1] == 756
    said = capsys.readouterr().err
    assert f'tiles of {tile[0]}x{tile[1]} take' in said and '564x756, the usual, would take' in said


def test_what_fits_stays(tmp_path, capsys):
    weights = random_weights('front_toy', tmp_path / 'w.caffemodel')
    assert fit_tile('front_toy', [weights], [(10, 10)], None) is None and not capsys.readouterr().err
    assert fit_tile('front_toy', [weights], [(10, 10)], 10**10) is None
    assert 'a tile of 564x756 takes' in capsys.readouterr().err


def test_too_little_memory_says_how_much_is_needed(tmp_path):
    weights = random_weights('front_toy', tmp_path / 'w.caffemodel')
    with pytest.raises(UserError, match=r'--max-memory 50.0 MB: front_toy needs .* for its smallest tile'):
        fit_tile('front_toy', [weights], [(10, 10)], 50_000_000)


def test_predict_labels_with_the_tile_that_fits(tmp_path, capsys):
    """The label map is that of a predictor with that tile."""
    weights, image = random_weights('basic_toy', tmp_path / 'w.caffemodel'), random_image(70, 90)
    cv2.imwrite(str(tmp_path / 'scene.png'), image)
    words = ['--net', 'basic_toy', '--weights', str(weights), '--out', str(tmp_path / 'out'), str(tmp_path / 'scene.png')]
    predict.main([*words, '--max-memory', str(program_bytes('test') + 125e6)])
    tile = tuple(int(side) for side in capsys.readouterr().err.split('tiles of ')[1].split(' ')[0].split('x'))
    found = cv2.imread(str(tmp_path / 'out' / 'scene.png'), cv2.IMREAD_UNCHANGED)
    assert tile < (564, 756)
    assert np.array_equal(found, Predictor('basic_toy', [weights], tile).label_map(image))


MEASURED = """
import sys
from tools import predict
from tools.support.memory_use import peak_bytes
predict.main(sys.argv[1:])
print(peak_bytes())
"""


def test_predict_stays_within_the_memory_it_is_given(tmp_path):
    """A process of its own, on an image of several tiles: its peak, beside the limit and what it would take without one."""
    weights = random_weights('basic_toy', tmp_path / 'w.caffemodel')
    cv2.imwrite(str(tmp_path / 'scene.png'), random_image(200, 400))
    words = ['--net', 'basic_toy', '--weights', weights, '--out', tmp_path / 'out', tmp_path / 'scene.png']
    limit, peaks = program_bytes('test') + 140e6, []
    for more in ([], ['--max-memory', limit]):
        command = [sys.executable, '-c', MEASURED, *map(str, [*words, *more])]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        peaks.append(int(done.stdout.split()[-1]))
    assert peaks[1] < 1.05 * limit < 1.1 * limit < peaks[0]
