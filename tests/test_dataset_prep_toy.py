"""The drawn scenes: deterministic, and so laid out that context is needed."""

import numpy as np
import pytest

from dataset_prep import toy
from dataset_prep.datasets import dataset
from dataset_prep.lmdb_writer import iterate
from dataset_prep.records import load_split, read_image, read_label
from prototxt.experiments import NETS, STAGES
from prototxt.shapes import RECEPTIVE_FIELD, STRIDE
from tools.support.errors import UserError

CLASS = {name: place for place, name in enumerate(dataset('toy').classes)}


def scenes(count=12):
    """(lake, flip, image, label) of some pictures, all four kinds in turn."""
    kinds = [(number % 2 == 0, number // 2 % 2 == 1) for number in range(count)]
    return [(lake, flip, *toy.draw_scene(lake, flip, (7, number))) for number, (lake, flip) in enumerate(kinds)]


def test_same_seed_same_picture_other_seed_another():
    first, again, other = (toy.draw_scene(True, False, (1, number)) for number in (5, 5, 6))
    assert all((left == right).all() for left, right in zip(first, again, strict=True))
    assert (first[0] != other[0]).any() and (first[1] != other[1]).any()


def test_plain_is_named_by_what_stands_on_it():
    for lake, _, _, label in scenes():
        names = {'sky', 'mountain', 'tree', *(('lake', 'boat') if lake else ('field', 'barn'))}
        assert set(np.unique(label)) == {CLASS[name] for name in names}


def test_much_of_the_plain_is_out_of_the_front_ends_sight_and_all_within_the_context_modules():
    """The front end sees 186 pixels each way; Basic's 67 cells of 8 pixels add 33 cells, 264 pixels."""
    front, beyond = RECEPTIVE_FIELD // 2, []
    for lake, _, _, label in scenes(24):
        plain, cue = (label == CLASS['lake' if lake else 'field']), (label == CLASS['boat' if lake else 'barn'])
        columns, places = np.nonzero(cue.any(axis=0))[0], np.nonzero(plain)[1]
        distance = np.maximum(columns.min() - places, places - columns.max())  # to the nearest column of boat or barn
        beyond.append((distance > front).mean())
        assert distance.max() < front + 33 * STRIDE
    assert np.mean(beyond) > 0.2


def test_plain_looks_the_same_in_both_kinds():
    """The same random numbers as lake and as field: away from boat and barn the pictures are equal, the labels are not."""
    for seed in range(4):
        lake, field = (toy.draw_scene(kind, False, (9, seed)) for kind in (True, False))
        np.testing.assert_array_equal(lake[0][:, 300:], field[0][:, 300:])
        np.testing.assert_array_equal(lake[1][:, 300:] == CLASS['lake'], field[1][:, 300:] == CLASS['field'])
        assert (lake[1][:, 300:] == CLASS['lake']).any()


def test_sizes_fit_the_nets_tile_and_the_stages_crop():
    height, width = toy.SIZE_HW
    assert NETS['front_toy'].input_size_hw == (height + 372, width + 372)
    assert (STAGES['toy-front'].crop_size,) == toy.CROP_SIZES


def test_command_writes_splits_and_lmdb_and_draws_nothing_twice(tmp_path, capsys):
    out = tmp_path / 'toy'
    command = ['--out', str(out), '--train', '2', '--val', '1', '--test', '1']
    toy.main(command)
    first = next((out / 'drawn' / 'train').iterdir())
    times = [first.stat().st_mtime_ns, (out / 'train_564' / 'manifest.json').stat().st_mtime_ns]
    toy.main(command)
    assert [first.stat().st_mtime_ns, (out / 'train_564' / 'manifest.json').stat().st_mtime_ns] == times
    assert [len(load_split(out, split)) for split in ('train', 'val', 'test')] == [2, 1, 1]
    stored, records = dict(iterate(out / 'train_564')), {record.id: record for record in load_split(out, 'train')}
    for name, array in stored.items():
        assert array.shape == (4, 564, 756)
        np.testing.assert_array_equal(array[:3, 186:378, 186:570].transpose(1, 2, 0), read_image(records[name]))
        np.testing.assert_array_equal(array[3, 186:378, 186:570], read_label(records[name]))
    with pytest.raises(UserError, match='no train2 split'):
        load_split(out, 'train2')


def test_a_training_reads_lakes_and_fields_in_turn(tmp_path):
    """In the LMDB of another seed too: left and right, lake and field, over and over."""
    toy.main(['--out', str(tmp_path), '--train', '8', '--val', '1', '--test', '1', '--seed', '5'])
    labels = [array[3, 186:378, 186:570] for _, array in iterate(tmp_path / 'train_564')]
    assert [(label == CLASS['lake']).any() for label in labels] == [True, False] * 4
    centres = [np.nonzero((label == CLASS['boat']) | (label == CLASS['barn']))[1].mean() for label in labels]
    assert [centre > 192 for centre in centres] == [False, False, True, True] * 2


def test_mean_in_the_table_is_that_of_the_training_images():
    """Of the default 96 pictures drawn with the default seed."""
    pictures = [toy.draw_scene(number % 2 == 0, number // 2 % 2 == 1, (1, 0, number))[0] for number in range(96)]
    mean = np.mean([picture.mean(axis=(0, 1)) for picture in pictures], axis=0)
    np.testing.assert_allclose(mean, dataset('toy').mean_bgr, atol=0.01)
