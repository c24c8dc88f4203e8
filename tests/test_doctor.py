"""The doctor's screen: what it counts, and that it runs before anything is installed."""

import json
import shutil
import subprocess
import sys

import pytest

from dataset_prep import datasets
from pretrained.weights import WEIGHTS
from tools import doctor
from tools.support.paths import ROOT


def test_records_are_counted_not_the_fields_around_them(tmp_path):
    path = tmp_path / 'train.json'
    path.write_text(json.dumps({'dataset': 'camvid', 'records': [{}, {}, {}]}))
    assert doctor.record_count(path) == 3


@pytest.mark.parametrize('content', ['[]', '{"split": "train"}', '{"records": [', None])
def test_broken_lists_count_as_none(tmp_path, content):
    if content:
        (tmp_path / 'train.json').write_text(content)
    assert doctor.record_count(tmp_path / 'train.json') == 0


def test_damaged_data_set_of_ones_own_is_a_line_of_the_screen(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets, 'DATA', tmp_path)
    monkeypatch.setattr(datasets, '_own', {})
    monkeypatch.setattr(doctor, 'DATA', tmp_path)
    (tmp_path / 'mine').mkdir()
    (tmp_path / 'mine' / 'dataset.json').write_text('{')
    line = doctor.dataset_line('mine')
    assert line.state == '-' and 'mine/dataset.json is damaged' in line.fact


def test_screen_of_this_checkout():
    """With Caffe built, the status is 0 and each weight file has its line."""
    command = [sys.executable, str(ROOT / 'tools' / 'doctor.py')]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    assert all(name in finished.stdout for name in (*WEIGHTS, 'camvid', 'dilated convolution'))


def test_an_older_python_is_one_line():
    """Not the traceback of the first module that it lacks."""
    script = str(ROOT / 'tools' / 'doctor.py')
    code = f'import runpy, sys; sys.version_info = (3, 10, 1); runpy.run_path({script!r}, run_name="__main__")'
    finished = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, check=False)
    assert finished.returncode == 1
    assert finished.stderr == 'error: this is Python 3.10; run it with 3.11 or newer: make doctor SYSTEM_PYTHON=PATH\n'


def test_bare_checkout_is_told_to_make_caffe(tmp_path):
    """Run by the system's Python in a checkout without .venv: a screen all the same, status 1, and the command to run."""
    python = shutil.which('python3', path='/usr/bin')
    if python is None:
        pytest.fail('no /usr/bin/python3, which make caffe needs')
    for name in ('tools', 'dataset_prep', 'pretrained', 'prototxt'):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns('__pycache__', '*.caffemodel', 'downloads'))
    finished = subprocess.run([python, str(tmp_path / 'tools' / 'doctor.py')], capture_output=True, text=True, check=False)
    assert finished.returncode == 1, finished.stderr
    assert 'make caffe' in finished.stdout
    assert finished.stderr == ''


def test_what_only_some_steps_need_is_not_marked_as_missing(monkeypatch, tmp_path):
    """Neither data sets nor weights are there: no line has a minus, and the demo can run."""
    monkeypatch.setattr(doctor, 'DATA', tmp_path)
    monkeypatch.setattr('pretrained.weights.PRETRAINED', tmp_path)
    lines = [doctor.dataset_line('camvid'), doctor.weight_line('vgg16')]
    assert [(line.state, line.todo) for line in lines] == [(' ', 'make lmdb-camvid DATA=FOLDER'), (' ', 'make weights-vgg16')]
    demo, train, label = doctor.next_lines([doctor.Line('+', 'caffe', 'x')], has_data=False)
    assert (demo.state, demo.name, train.state) == ('+', 'make demo', ' ')
    assert train.fact == 'needs a data set and vgg16, see above'


def test_without_caffe_the_next_step_is_to_make_it():
    """Whatever else is there."""
    [line] = doctor.next_lines([doctor.Line('-', 'caffe', 'not installed', 'make caffe')], has_data=True)
    assert (line.state, line.todo) == ('-', 'make caffe')
