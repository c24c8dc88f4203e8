"""The commands of the recipes on CamVid: their tools accept them, and each reads what an earlier one wrote."""

import subprocess

import pytest

import tools.training.storing
from dataset_prep import camvid
from dataset_prep.records import Record, save_split
from prototxt.experiments import STAGES
from prototxt.lmdb_names import lmdb_of, whole_images_of
from tools import crf_search, extract_features, recipe, train
from tools import test as test_command
from tools.recipes import on_camvid
from tools.recipes.on_camvid import RECIPES
from tools.support.errors import UserError
from tools.support.paths import ROOT
from tools.training.initial import GENERATED
from tools.training.options import Options
from tools.training.settings import settings

TAKES = {
    'dataset_prep.camvid': camvid.parse_args, 'tools/extract_features.py': extract_features.parse_args,
    'tools/train.py': train.parse_args, 'tools/test.py': test_command.parse_args, 'tools/crf_search.py': crf_search.parse_args,
}  # fmt: skip


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """The commands of the recipes, parsed by their tools, if VGG-16's convolutions are there."""
    said = []
    monkeypatch.setattr(on_camvid, 'VGG16', tmp_path / 'vgg16.caffemodel')
    on_camvid.VGG16.write_bytes(b'')
    monkeypatch.setattr(on_camvid, 'DATA', tmp_path / 'data')
    for module in (on_camvid, tools.training.storing):
        monkeypatch.setattr(module, 'newest_snapshot', lambda run: run / f'{run.name}_iter_1.caffemodel')
    images = [Record(f'frame_{number}', tmp_path / f'{number}.png', None, 'camvid') for number in range(21)]
    save_split(tmp_path / 'data' / 'camvid', 'val', images)
    steps, source, out = on_camvid.begin(tmp_path / 'out'), tmp_path / 'CamVid', tmp_path / 'out'

    def note(_title, *argv):
        words = [str(word) for word in argv if word != '-m']
        said.append((words[0], TAKES[words[0]](words[1:])))

    monkeypatch.setattr(steps, 'do', note)
    on_camvid.train_and_test(RECIPES['camvid-cpu'], steps, source, out)
    on_camvid.refine(steps, source, out)
    for name in ('camvid-night', 'table2-mini'):
        on_camvid.train_and_test(RECIPES[name], steps, source, out)
    return said


def test_each_command_reads_what_another_wrote(commands, tmp_path):
    """This covers stored maps, snapshots, score maps, the CRF's parameters, and images."""
    maps, images, snapshots, scores, found = set(), set(), {'vgg16'}, set(), set()
    prepared, whole, data = {}, None, tmp_path / 'data'
    for tool, args in commands:
        for weights in getattr(args, 'weights', None) or ():
            assert weights.stem.removesuffix('_iter_1') in snapshots
        if features := getattr(args, 'features', None):
            assert features in maps
        if tool == 'tools/extract_features.py':
            maps.add(args.out)
        elif tool == 'tools/train.py':
            stage = STAGES[args.stage]
            assert settings(args.stage, Options(data=str(data))).lmdb in maps | images
            assert not args.options.val_every or stage.start == 'data' or data / lmdb_of(stage, 'val') in maps
            assert {*stage.init} <= snapshots | GENERATED.keys()
            assert whole or not stage.beside_images
            snapshots.add(args.stage)
        elif tool == 'tools/crf_search.py':
            assert args.scores in scores and args.split == 'val_tenth'
            found.add(args.out / 'crf.json')
        elif tool == 'tools/test.py':
            assert args.crf is None or args.crf in found
            assert args.data in prepared and args.net == STAGES[args.weights[0].parent.name].net
            scores.add(args.save_scores)
        elif args.whole:
            whole = args.out / whole_images_of('train')
        else:
            prepared[args.out] = args.size
            images |= {args.out / f'train_{size}' for size in args.crop_size or ()}
    assert prepared == {data / 'camvid': None, data / 'camvid-320x240': (320, 240)}


def test_every_system_is_tested(commands, tmp_path):
    """Table 3 has three networks, each plain, with the CRF and with CRF-RNN. Each system of a recipe is tested as well."""
    tested = {args.out for tool, args in commands if tool == 'tools/test.py' and args.split == 'test'}
    rows = [system.folder for system in on_camvid.structured_systems(tmp_path / 'out')]
    stages = {stage for recipe in RECIPES.values() for stage in recipe.systems.values()}
    assert len(rows) == 9 and tested == {*rows, *(tmp_path / 'out' / stage for stage in stages)}


def test_without_vgg16_the_command_that_makes_it_is_named(monkeypatch, tmp_path):
    """The error comes before the first step."""
    monkeypatch.setattr(on_camvid, 'VGG16', tmp_path / 'none')
    with pytest.raises(UserError, match='make weights-vgg16'):
        recipe.main(['camvid-cpu', '--data', str(tmp_path)])


@pytest.mark.parametrize('name', on_camvid.FOLLOW)
def test_without_a_data_set_the_make_target_is_named(name):
    """The message is that of make lmdb-camvid, and make has the target that it names."""
    with pytest.raises(UserError, match=f'camvid is not given: make {name} DATA=FOLDER, or --data FOLDER'):
        recipe.main([name])
    printed = subprocess.run(['make', '-n', name, 'DATA=x'], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert f"tools/recipe.py {name} --data 'x'" in printed
