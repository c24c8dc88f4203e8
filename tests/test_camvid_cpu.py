"""The recipes of CamVid on a CPU as commands: each is one that its tool takes, and reads what a command before it wrote."""

from pathlib import Path

import pytest

import tools.camvid_recipe
import tools.training.storing
from dataset_prep import camvid
from dataset_prep.records import Record, save_split
from prototxt.experiments import STAGES
from prototxt.lmdb_names import lmdb_of, whole_images_of
from tools import camvid_cpu, camvid_cpu_structured, camvid_night, crf_search, extract_features, table2_mini, train
from tools import test as test_command
from tools.camvid_recipe import Folders
from tools.support.errors import UserError
from tools.training.settings import settings

TAKES = {
    'dataset_prep.camvid': camvid.parse_args, 'tools/extract_features.py': extract_features.parse_args,
    'tools/train.py': train.parse_args, 'tools/test.py': test_command.parse_args, 'tools/crf_search.py': crf_search.parse_args,
}  # fmt: skip


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """The recipes' commands, parsed by their tools, as they would be run on a computer with VGG-16's convolutions."""
    said = []
    monkeypatch.setattr(tools.camvid_recipe, 'VGG16', tmp_path / 'vgg16.caffemodel')
    tools.camvid_recipe.VGG16.write_bytes(b'')
    for module in (tools.camvid_recipe, tools.training.storing):
        monkeypatch.setattr(module, 'newest_snapshot', lambda run: run / f'{run.name}_iter_1.caffemodel')
    source, folders, recipe = camvid_cpu.begin(['--data', str(tmp_path / 'CamVid'), '--out', str(tmp_path / 'out')])
    images = [Record(f'frame_{number}', tmp_path / f'{number}.png', None, 'camvid') for number in range(21)]
    folders = Folders(tmp_path / 'data' / 'camvid', folders.out)
    save_split(folders.data, 'val', images)

    def note(_title, *argv):
        words = [str(word) for word in argv if word != '-m']
        said.append((words[0], TAKES[words[0]](words[1:])))

    monkeypatch.setattr(recipe, 'do', note)
    camvid_cpu.follow(recipe, source, folders)
    camvid_cpu_structured.follow(recipe, source, folders)
    camvid_night.follow(recipe, source, folders)
    return said


def trained_on(args, data: Path) -> Path:
    """The LMDB that a command of tools/train.py reads, were the data sets in `data`."""
    return settings(train.parse_args([args.stage, '--data', str(data)])).lmdb


def validated_on(args, data: Path) -> Path:
    """The maps that its snapshots are scored on, likewise."""
    return data / lmdb_of(STAGES[args.stage], 'val')


def test_each_command_reads_what_another_wrote(commands, tmp_path):
    """Maps, those of the validation images too; snapshots, score maps, the CRF's parameters; images for stages that read them."""
    maps, images, snapshots, scores, found = set(), set(), {'vgg16'}, set(), set()
    whole = None
    for tool, args in commands:
        for weights in getattr(args, 'weights', None) or ():
            assert weights.stem.removesuffix('_iter_1') in snapshots
        if features := getattr(args, 'features', None):
            assert features in maps
        if tool == 'tools/extract_features.py':
            maps.add(args.out)
        elif tool == 'tools/train.py':
            assert trained_on(args, tmp_path / 'data') in maps | images
            assert not args.val_every or STAGES[args.stage].start == 'data' or validated_on(args, tmp_path / 'data') in maps
            assert {*STAGES[args.stage].init} <= snapshots | {'identity', 'vgg16-trunk'}
            assert whole or not STAGES[args.stage].beside_images
            snapshots.add(args.stage)
        elif tool == 'tools/crf_search.py':
            assert args.scores in scores and args.split == 'val_tenth'
            found.add(args.out / 'crf.json')
        elif tool == 'tools/test.py':
            assert args.crf is None or args.crf in found
            scores.add(args.save_scores)
        elif args.whole:
            whole = args.out / whole_images_of('train')
        else:
            images |= {args.out / f'train_{size}' for size in args.crop_size or ()}


def test_nine_rows_are_tested(commands, tmp_path):
    """Table 3's: three networks, plain, with the CRF and with CRF-RNN, all on the test images; and the joint training."""
    tested = {args.out for tool, args in commands if tool == 'tools/test.py' and args.split == 'test'}
    rows = [system.folder for system in camvid_cpu_structured.systems(tmp_path / 'out')]
    night = {tmp_path / 'out' / stage for stage in camvid_night.SYSTEMS.values()}
    assert len(rows) == 9 and tested == {*rows, *night, tmp_path / 'out' / camvid_cpu.JOINT}


def test_without_vgg16_the_command_that_makes_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(tools.camvid_recipe, 'VGG16', tmp_path / 'none')
    with pytest.raises(UserError, match='make weights-vgg16'):
        camvid_cpu.begin(['--data', str(tmp_path)])


@pytest.mark.parametrize(
    ('command', 'target'),
    [
        (camvid_cpu, 'camvid-cpu'),
        (camvid_cpu_structured, 'camvid-cpu-structured'),
        (camvid_night, 'camvid-night'),
        (table2_mini, 'table2-mini'),
    ],
)
def test_without_a_data_set_the_make_target_is_named(command, target):
    """As by make lmdb-camvid."""
    with pytest.raises(UserError, match=f'camvid is not given: make {target} DATA=FOLDER, or --data FOLDER'):
        command.main([])
