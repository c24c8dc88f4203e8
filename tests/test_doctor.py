"""The doctor's screen: what it counts, and that it runs before anything is installed."""

import json
import shutil
import subprocess
import sys

import pytest

from pretrained.weights import WEIGHTS
from tools import doctor
from tools.support.paths import ROOT


def test_records_are_counted_not_the_fields_around_them(tmp_path):
    """Three records are three; a broken or missing list is none."""
    path = tmp_path / 'train.json'
    assert doctor.record_count(path) == 0
    path.write_text(json.dumps({'dataset': 'camvid', 'records': [{}, {}, {}]}))
    assert doctor.record_count(path) == 3
    path.write_text('{"records": [')
    assert doctor.record_count(path) == 0


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
