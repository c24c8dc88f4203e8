"""`make bench PARTS=lmdb` on a few tiny images: each way of writing works and gets a row. No time is asserted."""

import numpy as np
import pytest

from dataset_prep.lmdb_store import iterate
from dataset_prep.photographs import draw
from dataset_prep.records import read_image, read_label
from tools.bench import lmdb_speed as bench
from tools.bench.lmdb_speed import convert_imageset
from tools.support.errors import UserError


def test_table_has_a_row_for_each_way_of_writing(tmp_path, capsys):
    """Both encodings hold the same pixels."""
    case = bench.Case('toys', 'toy', (40, 30), '.jpg', 8, 380)
    found = bench.measure(case, tmp_path, repeat=1)
    bench.report(case, found)
    lines = capsys.readouterr().out.splitlines()
    assert [line[:24].strip() for line in lines[3:]] == [*found['runs'], 'plain file, synced']
    for (name, raw), (other, png) in zip(iterate(tmp_path / 'raw'), iterate(tmp_path / 'png'), strict=True):
        assert name == other
        np.testing.assert_array_equal(raw, png)
    assert {array.shape for _, array in iterate(tmp_path / 'same')} == {(4, 30, 40)}


def test_drawn_images_are_the_same_each_time_and_have_valid_labels(tmp_path):
    one, other = (draw(tmp_path / name, 2, (50, 40), '.png', 'toy') for name in 'ab')
    for first, second in zip(one, other, strict=True):
        np.testing.assert_array_equal(read_image(first), read_image(second))
        assert read_label(first).shape == (40, 50)  # which raises for ids out of range
    assert (read_image(one[0]) != read_image(one[1])).any()


def test_a_convert_imageset_that_skips_files_is_an_error(tmp_path):
    """convert_imageset itself exits with 0 then."""
    draw(tmp_path, 2, (50, 40), '.png', 'toy')
    assert convert_imageset(tmp_path, ['000000.png', '000001.png'], tmp_path / 'good').seconds > 0
    with pytest.raises(UserError, match='convert_imageset left files out: .*bad has 1 records of 2'):
        convert_imageset(tmp_path, ['000000.png', 'gone.png'], tmp_path / 'bad')
