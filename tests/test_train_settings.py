"""The command line of tools/train.py over the rows of the table."""

import pytest

from prototxt.experiments import STAGES
from tests.train_data import asked
from tools import train as command
from tools.support.errors import UserError
from tools.support.paths import DATA, RUNS


@pytest.mark.parametrize('name', STAGES)
def test_row_holds_where_nothing_is_given(name):
    """Without options the stage is its row, in runs/<stage>."""
    plain = asked(name)
    assert plain.stage == STAGES[name]
    assert plain.run_dir == RUNS / name


def test_options_replace_fields():
    """Each option replaces its field of the row."""
    words = '--iters 7 --batch 6 --batch-per-pass 2 --crop-size 404 --base-lr 0.5 --snapshot 3 --seed 4'
    stage = asked('toy-front', *words.split()).stage
    assert (stage.max_iter, stage.batch_size, stage.iter_size) == (7, 6, 3)
    assert (stage.crop_size, stage.base_lr, stage.snapshot, stage.random_seed) == (404, 0.5, 3, 4)


@pytest.mark.parametrize(('batch', 'images'), [(1, 1), (8, 8), (16, 8), (12, 6), (11, 1)])
def test_memory_of_a_pass_does_not_grow_with_the_batch(batch, images):
    """A pass has the largest divisor of the batch that is at most the 8 of camvid-front's row."""
    assert asked('camvid-front', '--batch', batch).batch_per_pass == images


def test_default_lmdbs():
    """Images are named by crop size, maps by blob and stage. Another crop uses the row's LMDB."""
    assert asked('camvid-front').lmdb == DATA / 'camvid' / 'train_628'
    assert asked('camvid-front', '--crop-size', '380').lmdb == DATA / 'camvid' / 'train_628'
    assert asked('camvid-cpu-basic').lmdb == DATA / 'camvid' / 'train_final_camvid-cpu-front'


@pytest.mark.parametrize(
    ('word', 'files'),
    [
        ("{0}/o'brien dir/a.caffemodel", ["{0}/o'brien dir/a.caffemodel"]),
        ('{0}/a.caffemodel ~/b.caffemodel', ['{0}/a.caffemodel', '/home/me/b.caffemodel']),
        ("{0}/a.caffemodel '{0}/c d'", ['{0}/a.caffemodel', '{0}/c d']),
        ("{0}/o'brien gone", ["{0}/o'brien gone"]),
    ],
)
def test_a_word_names_one_file_or_several(tmp_path, monkeypatch, word, files):
    """WEIGHTS= of make is one word: one file with blanks in its name, or several files separated by blanks."""
    monkeypatch.setenv('HOME', '/home/me')
    (tmp_path / "o'brien dir").mkdir()
    (tmp_path / "o'brien dir" / 'a.caffemodel').touch()
    found = asked('toy-front', '--weights', word.format(tmp_path)).weights
    assert [str(path) for path in found] == [path.format(tmp_path) for path in files]


@pytest.mark.parametrize(
    ('words', 'between'), [('--val-every 10', 10), ('--val-every 200', 100), ('--val-every 10 --snapshot 5', 5)]
)
def test_snapshots_are_written_at_the_iterations_to_score(words, between):
    """The row of toy-front has a snapshot every 100 iterations."""
    assert asked('toy-front', *words.split()).stage.snapshot == between


@pytest.mark.parametrize(
    'words', ['--iters 0', '--batch -1', '--base-lr 0', '--gpu -1', '--keep 0', '--max-loss -4', '--max-loss nan']
)
def test_wrong_numbers_are_wrong_usage(words, capsys):
    """argparse refuses them with status 2."""
    with pytest.raises(SystemExit) as end:
        asked('toy-front', *words.split())
    assert end.value.code == 2
    assert words.split()[0] in capsys.readouterr().err


@pytest.mark.parametrize(
    ('words', 'fault'),
    [
        ('voc-fronted', 'camvid-front, camvid-joint'),  # lists the stages
        ('toy-front --batch 8 --batch-per-pass 3', 'batch of 8 does not split into passes of 3'),
        ('toy-front --fresh final,fc8', '--fresh fc8: front_toy has no such layer; there are: conv1_1, .*, final'),
        ('toy-basic --crop-size 404', 'whole maps'),
        ('toy-basic --runs somewhere', '--runs is only for a chain; give --run-dir'),
        ('toy-basic --val-split test', '--val-split has no effect without --val-every'),
        ('toy-basic --val-limit 3 --chain', '--val-limit has no effect without --val-every'),
        ('camvid --crop-size 628', '--crop-size is for one stage, and camvid is several: camvid-front, camvid-joint'),
        ('camvid --batch 628', '--batch is for one stage, and camvid is several: camvid-front, camvid-joint'),
    ],
)
def test_what_contradicts_the_row_or_another_option_is_refused(words, fault):
    """The message says what would fit."""
    with pytest.raises(UserError, match=fault):
        command.main(words.split())
