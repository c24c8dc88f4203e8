"""The toy data set: pictures depend on the seed alone, and parts of them cannot be named without context."""

import numpy as np

from dataset_prep import toy
from dataset_prep.datasets import dataset
from dataset_prep.lmdb_writer import iterate
from dataset_prep.records import load_split, read_image, read_label
from prototxt.experiments import NETS, STAGES
from prototxt.shapes import RECEPTIVE_FIELD, STRIDE

CLASS = {name: place for place, name in enumerate(dataset('toy').classes)}


def scenes(count=12):
    """(lake, flip, image, label) of `count` pictures: each of the four kinds in turn."""
    kinds = [(number % 2 == 0, number // 2 % 2 == 1) for number in range(count)]
    return [(lake, flip, *toy.draw_scene(lake, flip, (7, number))) for number, (lake, flip) in enumerate(kinds)]


def test_picture_depends_on_the_seed():
    first, again, other = (toy.draw_scene(True, False, (1, number)) for number in (5, 5, 6))
    assert all((left == right).all() for left, right in zip(first, again, strict=True))
    assert (first[0] != other[0]).any() and (first[1] != other[1]).any()


def test_plain_with_a_boat_is_a_lake_and_with_a_barn_a_field():
    for lake, _, _, label in scenes():
        names = {'sky', 'mountain', 'tree', *(('lake', 'boat') if lake else ('field', 'barn'))}
        assert set(np.unique(label)) == {CLASS[name] for name in names}


def test_context_module_sees_the_boat_or_barn_from_all_of_the_plain_and_the_front_end_does_not():
    """The front end sees 186 pixels each way. Basic's 67 cells of 8 pixels add 33 cells, 264 pixels."""
    front, beyond = RECEPTIVE_FIELD // 2, []
    for lake, _, _, label in scenes(24):
        plain, cue = (label == CLASS['lake' if lake else 'field']), (label == CLASS['boat' if lake else 'barn'])
        columns, places = np.nonzero(cue.any(axis=0))[0], np.nonzero(plain)[1]
        distance = np.maximum(columns.min() - places, places - columns.max())  # to the nearest column of the boat or barn
        beyond.append((distance > front).mean())
        assert distance.max() < front + 33 * STRIDE
    assert np.mean(beyond) > 0.2


def test_lake_and_field_look_the_same():
    """With the same random numbers, lake and field have equal pixels away from the boat or barn."""
    for seed in range(4):
        lake, field = (toy.draw_scene(kind, False, (9, seed)) for kind in (True, False))
        np.testing.assert_array_equal(lake[0][:, 300:], field[0][:, 300:])
        np.testing.assert_array_equal(lake[1][:, 300:] == CLASS['lake'], field[1][:, 300:] == CLASS['field'])
        assert (lake[1][:, 300:] == CLASS['lake']).any()


def test_sizes_match_the_nets_input_and_the_stages_crop():
    height, width = toy.SIZE_HW
    assert NETS['front_toy'].input_size_hw == (height + 372, width + 372)
    assert (STAGES['toy-front'].crop_size,) == toy.CROP_SIZES


def test_command_writes_lists_and_lmdb_and_keeps_them_the_second_time(tmp_path, capsys):
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


def test_training_reads_lakes_and_fields_in_turn(tmp_path):
    """Also with another seed. The side of the boat or barn changes every two pictures."""
    toy.main(['--out', str(tmp_path), '--train', '8', '--val', '1', '--test', '1', '--seed', '5'])
    labels = [array[3, 186:378, 186:570] for _, array in iterate(tmp_path / 'train_564')]
    assert [(label == CLASS['lake']).any() for label in labels] == [True, False] * 4
    centres = [np.nonzero((label == CLASS['boat']) | (label == CLASS['barn']))[1].mean() for label in labels]
    assert [centre > 192 for centre in centres] == [False, False, True, True] * 2


def test_mean_in_the_table_is_measured_over_the_default_training_images():
    pictures = [toy.draw_scene(number % 2 == 0, number // 2 % 2 == 1, (1, 0, number))[0] for number in range(96)]
    mean = np.mean([picture.mean(axis=(0, 1)) for picture in pictures], axis=0)
    np.testing.assert_allclose(mean, dataset('toy').mean_bgr, atol=0.01)
