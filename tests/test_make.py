"""make: its help and tables, the line that it shows of a command, and what it does before any Python of ours runs.

Whatever the variables hold comes to the commands as it was typed.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from prototxt.experiments import NETS, STAGES
from prototxt.lmdb_names import lmdb_of
from tools.support.paths import ROOT
from tools.training.options import for_make

TEXT = ''.join((ROOT / path).read_text() for path in ('Makefile', 'tools/caffe_build/caffe.mk', 'tools/crfs/crfs.mk'))
RULES = re.compile(r'^([a-z][\w%-]*):[^\n]*\n((?:\t.*\n)+)', re.MULTILINE)
TARGETS = [name.replace('%', 'toy') for name, lines in RULES.findall(TEXT) if '$(PYTHON)' in lines]
LISTS = {'CROP_SIZE', 'STAGES', 'PARTS', 'TESTS'}  # several words each
SHELL_TEXT = {'ARGS', 'BENCH_FLAGS', 'DEMO_FLAGS', 'PYTEST_FLAGS'}  # options as they would be typed
SET_HERE = set(re.findall(r'^([A-Z][A-Z_]+) *[:?]?=', TEXT, re.MULTILINE)) - {'NAME'}
IN_RULES = set(re.findall(r'[=:(,]([A-Z][A-Z_]+)\b', TEXT)) - SET_HERE - SHELL_TEXT - {'MAKEFILE_LIST'}
OF_TRAINING = set(re.findall(r'[=:](\w+)', for_make()))  # --iters=ITERS, --restart:RESTART
NAMES = sorted(IN_RULES | OF_TRAINING)
ODD = """o'brien's "$HOME" $$(x) `id` \\ ; & # é ~/x"""
TABLES_ALONE = """#!/bin/sh
case "$*" in *prototxt.listing*|*tools.training.options*) exec /usr/bin/python3 "$@";; esac
"""  # stands for the system's Python: answers what the Makefile asks of the tables, and builds nothing
SHOW = """python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))'"""


def make(*words, env=None):
    return subprocess.run(['make', *words], cwd=ROOT, env=env, capture_output=True, text=True)


def printed(*words):
    """The lines that make prints."""
    done = make('--no-print-directory', *words)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_help_fits_a_screen():
    """60 lines of 100 columns."""
    lines = printed('help')
    assert len(lines) <= 60 and max(map(len, lines)) <= 100


def test_help_names_every_described_target_and_every_variable_of_a_training():
    """A line for each `target: ... ## text` of the makefiles, under headings."""
    targets = re.findall(r'^([a-z][^:\s]*):.*##', TEXT, re.MULTILINE)
    lines = printed('help')
    assert len(targets) > 30 and targets == [line.split()[0] for line in lines if line[:1] == ' ' and line.split()[0] in targets]
    assert not lines[0].startswith(' ')
    variables = set(re.findall(r'\b([A-Z_]+)=', '\n'.join(lines)))
    assert 'ITERS' in OF_TRAINING and variables >= OF_TRAINING


def test_make_stages_has_a_line_for_each():
    """With its LMDB, iterations x batch, and whether the number of iterations is given by the source."""
    lines = {line.split(' ')[0]: line for line in printed('stages')}
    for name, stage in STAGES.items():
        assert f'data/{lmdb_of(stage)}' in lines[name] and f'{stage.max_iter:,} x {stage.batch_size}' in lines[name]
        assert ('not given' in lines[name]) == ('iterations' in dict(stage.assumed))


def test_make_nets_has_a_line_for_each():
    """With its tile and its context module."""
    lines = {line.split(' ')[0]: line for line in printed('nets')}
    assert set(NETS) <= set(lines)
    assert re.search(r' camvid +900x1100 .* Basic, 8 layers, dilations 1 1 2 4 8 16 1$', lines['dilation8_camvid'])


@pytest.mark.parametrize('words', [
    ('train-camvid-front', 'ITERS=5', 'GPU=0,1', 'RESTART=1', 'BASE_LR=1e-4'), ('lmdb-custom', 'CLASSES=3'),
    ('prototxt', 'NET=x', 'OUT=y'), ('rehearse',),
])  # fmt: skip
def test_a_command_is_shown_as_one_line(words):
    """No backslashes, and no gaps for variables that were not given."""
    (line,) = printed('-n', '-o', 'caffe', '-o', 'crf-packages', *words)
    assert not re.search(r'\S  +\S', line)


@pytest.mark.parametrize('target', ['help', 'caffe', 'demo', 'test', 'lint', 'doctor', 'train-camvid-front', 'train-typo'])
def test_a_machine_without_python_is_told_what_to_install(target):
    """In one line instead of the shell's "No such file or directory"."""
    done = make('SYSTEM_PYTHON=/nowhere/python3', target)
    assert (done.returncode, done.stdout, done.stderr.count('\n')) == (2, '', 1)
    assert 'there is no /nowhere/python3' in done.stderr and 'run: sudo apt-get install python3' in done.stderr


@pytest.mark.parametrize('target', ['stages', 'nets'])
def test_tables_take_the_python_that_was_named(target, tmp_path):
    """No python3 is on the PATH."""
    for program in ('make', 'sh', 'sed'):
        (tmp_path / program).symlink_to(shutil.which(program))
    done = make(f'SYSTEM_PYTHON={shutil.which("python3", path="/usr/bin")}', target, env={'PATH': str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, '') and 'camvid' in done.stdout


def value(name):
    """A value that tells its variable's name and has characters that a shell or make might interpret."""
    return f'{name}-{ODD.replace(" ", "_") if name in LISTS else ODD}'


def arguments(*words, **variables):
    """The arguments of the commands that make runs, and make's output. $(PYTHON) is a program that prints its arguments."""
    with TemporaryDirectory() as folder:
        python = Path(folder) / 'python3'
        python.write_text(TABLES_ALONE)
        python.chmod(0o755)
        done = make('--silent', f'SYSTEM_PYTHON={python}', f'PYTHON={SHOW}', *words, env=os.environ | variables)
    assert done.returncode == 0, done.stderr
    return [word for line in done.stdout.splitlines() if line.startswith('[') for word in json.loads(line)], done.stdout


@pytest.mark.parametrize('target', [*TARGETS, 'train-toy-front'])
def test_every_variable_of_every_target_is_one_word(target):
    """Whatever is in it: blanks, quotes, `$`, `~`, commands of a shell, letters of other alphabets."""
    words, _ = arguments(target, *(f'{name}={value(name)}' for name in NAMES))
    known = {value(name) for name in NAMES}
    assert all(word.rpartition('@')[2] in known for word in words if not re.fullmatch(r'[\w./=@-]*', word))


def test_the_variables_are_found():
    """The test above sees the important targets and variables."""
    assert {'DATA', 'OUT', 'WEIGHTS', 'FROM', 'NAME', 'CLASSES', 'RUN', 'DATASET', 'GPU', 'STAGES', *LISTS} <= set(NAMES)
    assert {'lmdb-custom', 'weights-toy', 'crf-toy', 'on-pretended-gpus', 'rehearse'} <= set(TARGETS)
    assert value('CLASSES') in arguments('lmdb-custom', f'CLASSES={value("CLASSES")}')[0]


def test_a_variable_of_the_environment_is_used_and_reported():
    """DATA=FOLDER make ...; but not NAME, which WSL sets to the name of the machine."""
    words, said = arguments('lmdb-custom', DATA='a b', NAME='LAPTOP')
    assert words[-2:] == ['--data', 'a b'] and 'note: DATA=a b comes from the environment' in said
    assert 'LAPTOP' not in said
