"""Chains: the order of their stages, their options and commands, and one that runs from images to a context module."""

import importlib.util
import re
import shlex
import shutil
import subprocess

import pytest

from dataset_prep.lmdb_writer import read_manifest
from prototxt.chains import CHAINS, ends, stages_of
from prototxt.experiments import STAGES
from tests.train_data import images_lmdb, iterations, split_with_maps
from tools import extract_features
from tools.recipes.chain import Chain
from tools.support.errors import UserError
from tools.support.hashing import file_sum
from tools.support.paths import ROOT
from tools.train import main, parse_args
from tools.training.options import Options, for_make, words_of
from tools.training.run_folder import newest_snapshot
from tools.training.scores import read_scores


@pytest.mark.parametrize(
    ('name', 'stages'),
    [
        ('cityscapes', 'cityscapes-front cityscapes-context cityscapes-joint'),
        ('camvid', 'camvid-front camvid-joint'),
        ('kitti', 'kitti-front kitti-joint'),
        ('toy', 'toy-front toy-basic toy-large'),
        ('voc-fyu', 'voc-front-fyu voc-context-basic-fyu voc-basic-joint-fyu'),
        ('voc', 'voc-coco-front voc-coco-front-finetune voc-context-basic voc-context-large voc-large-joint-fyu'),
        ('cityscapes@mine', 'cityscapes-front@mine cityscapes-context@mine cityscapes-joint@mine'),
    ],
)
def test_order_of_a_chain(name, stages):
    """The paper's appendix A and Sec. 5, and docs/training.md of fyu/dilation."""
    assert stages_of(ends(name)) == stages.split()


def test_make_knows_every_chain():
    """`make train-CHAIN` runs tools/train.py with --chain."""
    names = [*CHAINS, 'cityscapes-joint']
    words = ['make', '-n', *(f'train-{name}' for name in names), 'CHAIN=1']
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r'tools/train\.py (\S+) .*--chain', said) == names


@pytest.mark.parametrize(
    ('name', 'said'),
    [
        ('toy-frnt', 'no stage or chain toy-frnt; did you mean toy-front'),
        ('xyzzyq', 'no stage or chain xyzzyq; make stages lists them'),
        ('pascal_voc', 'pascal_voc is a data set: make train-STAGE DATASET=pascal_voc; make stages lists them'),
    ],
)
def test_make_says_what_to_train_in_place_of_a_name_that_is_no_stage(name, said):
    """Instead of make's own 'No rule to make target'."""
    finished = subprocess.run(['make', f'train-{name}'], cwd=ROOT, capture_output=True, text=True, check=False)
    assert finished.returncode == 2 and f'error: {said}' in finished.stderr


def chain_data(root):
    """Write to `root`/toy what dataset_prep writes for stage toy-front: a list, and an LMDB of noise of 40x56 pixels."""
    images_lmdb(root / 'toy', STAGES['toy-front'].crop_size).rename(root / 'toy' / 'train_564')


def made_files(folder):
    """The weight files and LMDBs in `folder` with their times of change."""
    kinds = ('.caffemodel', '.solverstate', '.mdb')
    files = [path for path in folder.rglob('*') if path.suffix in kinds and path.name != 'lock.mdb']
    return {path: path.stat().st_mtime_ns for path in files}


def test_chain_from_images_to_context(tmp_path, capfd):
    """Each stage starts from the result of the stage before it; a second call does nothing."""
    data, runs = tmp_path / 'data', tmp_path / 'runs'
    chain_data(data)
    words = ['toy-basic', '--chain', '--data', str(data), '--runs', str(runs), '--iters', '2']
    main(words)
    assert [iterations(runs / stage) for stage in ('toy-front', 'toy-basic')] == [[0, 1], [0, 1]]
    manifest = read_manifest(data / 'toy' / 'train_final_toy-front')
    assert manifest['weights_sha256'] == file_sum(newest_snapshot(runs / 'toy-front'))
    before = made_files(tmp_path)
    main(words)
    assert made_files(tmp_path) == before
    assert capfd.readouterr().out.count('is already at iteration 2') == 2


def test_maps_that_are_missing_are_made_by_the_command_that_the_message_says(tmp_path):
    """First for the training split, then for the validation split; after both commands the training runs."""
    data, runs = tmp_path / 'da ta', tmp_path / 'runs'
    chain_data(data)
    shutil.rmtree(split_with_maps(data, 'val') / 'val_final_toy-front')
    main(['toy-front', '--data', str(data), '--run-dir', str(runs / 'toy-front'), '--iters', '1', '--batch', '1'])
    words = ['toy-basic', '--data', str(data), '--run-dir', str(runs / 'toy-basic'), '--iters', '2', '--batch', '2']
    words += ['--snapshot', '2', '--val-every', '2']
    for split, said in (('train', 'CHAIN=1, which makes what it starts from too; or '), ('val', 'run: ')):
        with pytest.raises(UserError, match=f'/{split}_final_toy-front;') as refused:
            main(words)
        assert not (runs / 'toy-basic').exists()
        subprocess.run(str(refused.value).partition(said)[2], cwd=ROOT, shell=True, check=True)
        manifest = read_manifest(data / 'toy' / f'{split}_final_toy-front')
        assert (manifest['split'], manifest['mirror']) == (split, False)
    assert main(words) == 0
    assert [score.iteration for score in read_scores(runs / 'toy-basic')] == [2]


def chain(name, **options):
    """The chain `name`, or that of a single stage."""
    return Chain(name, ends(name) if name in CHAINS else (name,), Options(**options))


def test_images_in_a_pass_are_those_that_divide_each_stages_batch():
    """The rows have batches of 8, 100 and 1, and 8, 2 and 1 images in a pass; the option asks for 3."""
    cityscapes = chain('cityscapes', batch_per_pass=3)
    assert [cityscapes.options(name).batch_per_pass for name in cityscapes.stages] == [2, 2, 1]


@pytest.mark.parametrize(('stage', 'gpus'), [('cityscapes-front', '0,1,2,3'), ('cityscapes-joint', '0'), ('voc-front', '0,1')])
def test_batch_goes_to_as_many_gpus_as_divide_it(stage, gpus, monkeypatch):
    """Batches of 8, 1 and 14 images on four GPUs."""
    monkeypatch.setattr('tools.recipes.chain.check_gpus', lambda numbers: numbers)
    words = words_of(chain(stage, gpu=(0, 1, 2, 3)).options(stage))
    assert words[words.index('--gpu') + 1] == gpus


def test_options_reach_the_stages_that_they_are_for():
    """--random-fc only goes to the stage whose fc6 and fc7 come from a file; the other options go to all."""
    cityscapes = chain('cityscapes', random_fc=True, iters=7, val_every=5, class_weights='/w.txt')
    found = {name: cityscapes.options(name) for name in cityscapes.stages}
    assert [name for name, options in found.items() if options.random_fc] == ['cityscapes-front']
    assert {(options.iters, options.val_every, options.class_weights) for options in found.values()} == {(7, 5, '/w.txt')}


@pytest.fixture
def steps(monkeypatch, tmp_path):
    """The commands that a chain would run where pretrained/ is empty."""
    steps = []
    monkeypatch.setattr('tools.recipes.steps.Steps.do', lambda self, title, *argv: steps.append([str(word) for word in argv]))
    monkeypatch.setattr('tools.training.storing.newest_snapshot', lambda run_dir: run_dir / 'newest.caffemodel')
    monkeypatch.setattr('pretrained.weights.PRETRAINED', tmp_path)
    return steps


@pytest.mark.parametrize(
    ('words', 'said'),
    [
        (['camvid'], r'no LMDB at .*camvid/train_628; run: make lmdb-camvid'),
        (['camvid-cpu-front', '--chain'], r'no train split at .*/camvid/train\.json; run: make lmdb-camvid'),
    ],
)
def test_missing_data_of_any_stage_is_reported_before_the_first_step(tmp_path, steps, words, said):
    """The error must not come after weeks of training the front end, or after a download."""
    with pytest.raises(UserError, match=said):
        main([*words, '--data', str(tmp_path), '--runs', str(tmp_path / 'runs')])
    assert steps == [] and not (tmp_path / 'runs').exists()


@pytest.mark.parametrize(
    ('stage', 'command'),
    [('camvid-front', ['-m', 'pretrained.vgg16']), ('voc-deeplab-largefov', ['-m', 'pretrained.fetch', 'vgg16_20M'])],
)
def test_missing_weights_to_start_from_are_made_or_fetched(stage, command, steps, tmp_path):
    """The first step does it, by a module that exists."""
    chain(stage, runs=str(tmp_path)).follow()
    assert steps[0] == command and importlib.util.find_spec(command[1])


def test_steps_of_cityscapes(tmp_path, steps):
    """The chain stores maps of the training and validation images, with the labels of all pixels, before the context module."""
    chain('cityscapes', val_every=2000, runs=str(tmp_path)).follow()
    extractions = [step for step in steps if step[0] == 'tools/extract_features.py']
    assert [step[1] for step in steps if step[0] == 'tools/train.py'] == stages_of(ends('cityscapes'))
    assert [step[step.index('--split') + 1] for step in extractions] == ['train', 'val']
    assert ['--mirror' in step for step in extractions] == [True, False]
    for step in extractions:
        assert str(tmp_path / 'cityscapes-front' / 'newest.caffemodel') in step
        assert step[step.index('--label-stride') + 1] == '1'


def test_maps_that_two_networks_train_on_are_stored_once(tmp_path, steps):
    """Front end and joint stage both train on VGG-16's maps, which take seconds per image on a CPU."""
    chain('camvid-cpu-joint', runs=str(tmp_path), data=str(tmp_path)).follow()
    blobs = [step[step.index('--blob') + 1] for step in steps if step[0] == 'tools/extract_features.py']
    assert blobs == ['conv5_3', 'final']


def test_scores_are_stored_from_the_maps_that_the_front_end_had(tmp_path, steps):
    """A front end trained on VGG-16's maps lacks the layers below them, so its scores are computed from these maps."""
    chain('camvid-night-basic', runs=str(tmp_path), data=str(tmp_path)).follow()
    weights, maps, _, scores, _ = steps
    maps, scores = (extract_features.parse_args(step[1:]) for step in (maps, scores))
    assert weights == ['-m', 'pretrained.vgg16'] and maps.weights == [tmp_path / 'vgg16.caffemodel'] and maps.mirror
    assert (maps.blob, scores.blob, scores.features) == ('pool3', 'final', maps.out)
    assert scores.weights == [tmp_path / 'camvid-night-front' / 'newest.caffemodel'] and scores.net == 'front_camvid_fc512'


def test_options_are_the_same_when_they_are_typed():
    """Numbers, switches, several words and GPUs; options at their defaults are left out."""
    asked = Options(iters=7, base_lr=0.25, random_fc=True, weights=['a b', 'c'], gpu=(0, 1), val_split='x')
    words = words_of(asked)
    assert parse_args(['toy-front', *words]).options == asked and '--keep' not in words
    assert words_of(Options(gpu='all')) == ['--gpu', 'all']


def test_every_variable_of_make_is_an_option():
    """make passes each on as a value or as a switch."""
    given = {pair.group(2): pair.group(1) for pair in re.finditer(r'[-a-z]+([=:])(\w+)', for_make())}
    assert {'ITERS': '=', 'WEIGHTS': '=', 'RESTART': ':'}.items() <= given.items() and 'RUN_DIR' not in given
    variables = [f'{name}=1' for name in given]
    printed = subprocess.run(['make', '-n', 'train-toy-front', *variables], cwd=ROOT, capture_output=True, text=True, check=True)
    options = parse_args(shlex.split(printed.stdout.partition('tools/train.py ')[2])).options
    assert all(getattr(options, name.lower()) not in (None, False) for name in given)
