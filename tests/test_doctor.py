"""What `make doctor` shows: in this checkout, in a bare one, and of data sets, weights and the shell."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from dataset_prep import datasets
from pretrained.weights import WEIGHTS
from tools import doctor
from tools.support.paths import ROOT


def test_records_are_counted(tmp_path):
    path = tmp_path / 'train.json'
    path.write_text(json.dumps({'dataset': 'camvid', 'records': [{}, {}, {}]}))
    assert doctor.record_count(path) == 3


@pytest.mark.parametrize('content', ['[]', '{"split": "train"}', '{"records": [', None])
def test_broken_lists_count_as_none(tmp_path, content):
    if content:
        (tmp_path / 'train.json').write_text(content)
    assert doctor.record_count(tmp_path / 'train.json') == 0


def test_a_damaged_own_data_set_has_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, 'DATA', tmp_path)
    monkeypatch.setattr(datasets, '_own', {})
    monkeypatch.setattr(doctor, 'DATA', tmp_path)
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'dataset.json').write_text('{')
    line = doctor.dataset_line('mine')
    assert line.state == '-' and 'mine/dataset.json is damaged' in line.fact


def test_screen_of_this_checkout(tmp_path):
    """Caffe is usable, each weight file has a line, and so have variables for other programs, also those that make removed."""
    foreign = dict.fromkeys(['PYTHONPATH', 'LD_LIBRARY_PATH', 'CONDA_PREFIX', 'MPLBACKEND'], str(tmp_path))
    done = subprocess.run(['make', 'doctor'], env=os.environ | foreign, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    facts = ('camvid', 'dilated convolution', 'commit ', 'BLAS', 'layer types            yes', 'weights above 512 MiB  yes')
    assert all(name in done.stdout for name in (*WEIGHTS, *facts))
    shell = next(line for line in done.stdout.splitlines() if ' shell ' in line)
    assert all(name in shell for name in foreign) and 'left out by the commands here' in shell


def test_a_bare_checkout_is_told_to_make_caffe(tmp_path):
    """Run by the system's Python without .venv and without any package: status 1, and what to do for each thing."""
    for name in ('tools', 'dataset_prep', 'pretrained'):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns('__pycache__', '*.caffemodel', 'downloads'))
    command = ['/usr/bin/python3', '-S', str(tmp_path / 'tools' / 'doctor.py')]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, '')
    assert '.venv                  not there  -> make caffe' in done.stdout
    assert 'vgg16                  not there  -> make weights-vgg16' in done.stdout


def test_an_older_python_is_one_line():
    """The command does not end with the traceback of an import."""
    script = str(ROOT / 'tools' / 'doctor.py')
    code = f'import runpy, sys; sys.version_info = (3, 10, 1); runpy.run_path({script!r}, run_name="__main__")'
    done = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True)
    said = 'error: this is Python 3.10; run it with 3.11 or newer: make doctor SYSTEM_PYTHON=PATH\n'
    assert (done.returncode, done.stderr) == (1, said)


def test_optional_things_are_not_marked_as_missing(monkeypatch, tmp_path):
    """Without data sets and weights, no line has a minus, and the demo can run."""
    monkeypatch.setattr(doctor, 'DATA', tmp_path)
    monkeypatch.setattr('pretrained.weights.PRETRAINED', tmp_path)
    lines = [doctor.dataset_line('camvid'), doctor.weight_line('vgg16')]
    assert [(line.state, line.todo) for line in lines] == [(' ', 'make lmdb-camvid DATA=FOLDER'), (' ', 'make weights-vgg16')]
    demo, train, label = doctor.next_lines([doctor.Line('+', 'caffe', 'x')], has_data=False)
    assert (demo.state, demo.name, train.state) == ('+', 'make demo', ' ')
    assert train.fact == 'needs a data set and vgg16, see above'


def test_without_caffe_the_next_step_is_to_make_it():
    [line] = doctor.next_lines([doctor.Line('-', 'caffe', 'not installed', 'make caffe')], has_data=True)
    assert (line.state, line.todo) == ('-', 'make caffe')
