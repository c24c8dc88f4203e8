"""What `make` says and does before any Python of ours runs."""

import shutil
import subprocess

import pytest

from tools.support.paths import ROOT


@pytest.mark.parametrize('target', ['help', 'caffe', 'demo', 'test', 'lint', 'doctor', 'train-camvid-front', 'train-typo'])
def test_a_machine_without_python_is_told_what_to_install(target):
    """One line, whatever is to be made; not the shell's "No such file or directory"."""
    done = subprocess.run(['make', 'SYSTEM_PYTHON=/nowhere/python3', target], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count('\n')) == (2, '', 1)
    assert 'there is no /nowhere/python3' in done.stderr and 'run: sudo apt-get install python3' in done.stderr


@pytest.mark.parametrize('target', ['stages', 'nets'])
def test_tables_take_the_python_that_was_named(target, tmp_path):
    """Nothing called python3 is on the PATH."""
    for program in ('make', 'sh', 'sed'):
        (tmp_path / program).symlink_to(shutil.which(program))
    python = shutil.which('python3', path='/usr/bin')
    command = ['make', f'SYSTEM_PYTHON={python}', target]
    done = subprocess.run(command, cwd=ROOT, env={'PATH': str(tmp_path)}, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '') and 'camvid' in done.stdout
