"""What make's variables hold comes to the commands as it was typed, whatever is in it."""

import json
import os
import re
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.test_make_help import MAKEFILES
from tools.support.paths import ROOT
from tools.training.options import for_make

RULES = re.compile(r'^([a-z][\w%-]*):[^\n]*\n((?:\t.*\n)+)', re.MULTILINE)
TEXT = ''.join(path.read_text() for path in MAKEFILES)
TARGETS = [name.replace('%', 'toy') for name, lines in RULES.findall(TEXT) if '$(PYTHON)' in lines]
LISTS = {'CROP_SIZE', 'STAGES', 'PARTS', 'TESTS'}  # several words each
SHELL_TEXT = {'ARGS', 'BENCH_FLAGS', 'DEMO_FLAGS', 'PYTEST_FLAGS'}  # options as they would be typed
SET_HERE = set(re.findall(r'^([A-Z][A-Z_]+) *[:?]?=', TEXT, re.MULTILINE)) - {'NAME'}
IN_RULES = set(re.findall(r'[=:(,]([A-Z][A-Z_]+)\b', TEXT)) - SET_HERE - SHELL_TEXT - {'MAKEFILE_LIST'}
NAMES = sorted(IN_RULES | set(re.findall(r'[=:](\w+)', for_make())))
ODD = """o'brien's "$HOME" $$(x) `id` \\ ; & # é ~/x"""
TABLES_ALONE = """#!/bin/sh
case "$*" in *prototxt.listing*|*tools.training.options*) exec /usr/bin/python3 "$@";; esac
"""  # in place of the system's Python: answers what the Makefile asks of the tables, and builds nothing
SHOW = """python3 -c 'import json, sys; print(json.dumps(sys.argv[1:]))'"""


def value(name):
    """What a variable holds here: its name, to be told by, and whatever a shell or make could stumble over."""
    return f'{name}-{ODD.replace(" ", "_") if name in LISTS else ODD}'


def made(*words, **variables):
    """The words of the commands that make runs, $(PYTHON) being a program that prints its own; what make says besides."""
    with TemporaryDirectory() as folder:
        python = Path(folder) / 'python3'
        python.write_text(TABLES_ALONE)
        python.chmod(0o755)
        command = ['make', '--silent', f'SYSTEM_PYTHON={python}', f'PYTHON={SHOW}', *words]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=os.environ | variables)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    return [word for line in lines if line.startswith('[') for word in json.loads(line)], done.stdout


@pytest.mark.parametrize('target', [*TARGETS, 'train-toy-front'])
def test_every_variable_of_every_target_is_one_word(target):
    """Blanks, apostrophes, quotes, what a shell would run, `$`, `~`, letters of other alphabets."""
    words, _ = made(target, *(f'{name}={value(name)}' for name in NAMES))
    known = {value(name) for name in NAMES}
    assert all(word.rpartition('@')[2] in known for word in words if not re.fullmatch(r'[\w./=@-]*', word))


def test_the_variables_are_found():
    """The test above sees those that matter."""
    assert {'DATA', 'OUT', 'WEIGHTS', 'FROM', 'NAME', 'CLASSES', 'RUN', 'DATASET', 'GPU', 'STAGES', *LISTS} <= set(NAMES)
    assert {'lmdb-custom', 'weights-toy', 'crf-toy', 'on-pretended-gpus', 'rehearse'} <= set(TARGETS)
    assert value('CLASSES') in made('lmdb-custom', f'CLASSES={value("CLASSES")}')[0]


def test_a_variable_of_the_shell_is_taken_and_said():
    """DATA=FOLDER make ...; but not NAME, which WSL sets to the name of the machine."""
    words, said = made('lmdb-custom', DATA='a b', NAME='LAPTOP')
    assert words[-2:] == ['--data', 'a b'] and 'note: DATA=a b comes from the environment' in said
    assert 'LAPTOP' not in said
