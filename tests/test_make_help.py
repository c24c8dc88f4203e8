"""`make help`, the tables that make prints, and the one line that it shows of a command."""

import re
import subprocess

import pytest

from prototxt.experiments import NETS, STAGES
from prototxt.lmdb_names import lmdb_of
from tools.support.paths import ROOT
from tools.training.options import for_make

MAKEFILES = (ROOT / 'Makefile', ROOT / 'tools' / 'caffe_build' / 'caffe.mk', ROOT / 'tools' / 'crfs' / 'crfs.mk')


def printed(*words):
    """What `make` prints on stdout."""
    return subprocess.run(['make', '--no-print-directory', *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def command_of(*words):
    """The last line that `make -n` shows, without making Caffe, and all lines."""
    lines = printed('-n', '-o', 'caffe', '-o', 'crf-packages', *words).splitlines()
    return lines[-1], lines


def test_help_fits_a_screen():
    """60 lines of 100 columns."""
    lines = printed('help').splitlines()
    assert len(lines) <= 60 and max(map(len, lines)) <= 100


def test_help_names_every_target_that_is_described():
    """Each `target: ... ## text` of the makefiles is a line, under a heading."""
    targets = [name for path in MAKEFILES for name in re.findall(r'^([a-z][^:\s]*):.*##', path.read_text(), re.MULTILINE)]
    lines = printed('help').splitlines()
    assert len(targets) > 30 and targets == [line.split()[0] for line in lines if line[:1] == ' ' and line.split()[0] in targets]
    assert not lines[0].startswith(' ')


def test_help_names_every_variable_of_a_training():
    """The options that make passes on: --iters=ITERS, --restart:RESTART."""
    variables = re.findall(r'[=:](\w+)', for_make())
    assert 'ITERS' in variables and set(variables) <= set(re.findall(r'\b([A-Z_]+)=', printed('help')))


def test_make_stages_has_a_line_for_each_with_what_it_needs():
    """The LMDB, and iterations x batch with whose they are."""
    said = printed('stages')
    for name, stage in STAGES.items():
        line = re.search(rf'^{name} .*$', said, re.MULTILINE)[0]
        assert f'data/{lmdb_of(stage)}' in line and f'{stage.max_iter:,} x {stage.batch_size}' in line
        assert ('not given' in line) == ('iterations' in dict(stage.assumed))


def test_make_nets_has_a_line_for_each():
    """With its tile and its context module."""
    said = printed('nets')
    assert all(re.search(rf'^{name} ', said, re.MULTILINE) for name in NETS)
    assert re.search(r'^dilation8_camvid +camvid +900x1100 .* Basic, 8 layers, dilations 1 1 2 4 8 16 1$', said, re.MULTILINE)


@pytest.mark.parametrize(
    'words',
    [
        ('train-camvid-front', 'ITERS=5', 'GPU=0,1', 'RESTART=1', 'BASE_LR=1e-4'),
        ('lmdb-custom', 'CLASSES=3'),
        ('prototxt', 'NET=x', 'OUT=y'),
        ('rehearse',),
    ],
)
def test_a_command_is_shown_as_one_line(words):
    """Nothing is broken by backslashes, and variables that were not given leave no gaps."""
    line, lines = command_of(*words)
    assert len(lines) == 1 and not re.search(r'\S  +\S', line)
