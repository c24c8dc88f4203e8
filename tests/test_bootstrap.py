"""How commands begin: with their own packages whatever the user's shell holds, and stopped without a traceback."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tools.support.bootstrap import OWN, cleaned, foreign, system_first
from tools.support.paths import ROOT, VENV

PYTHON = str(VENV / 'bin' / 'python')
SCRIPT = [sys.executable, str(ROOT / 'tools' / 'score.py')]
MODULE = [PYTHON, '-m', 'dataset_prep.custom']

DECIDE = """
    PYTHONPATH PYTHONHOME PYTHONOPTIMIZE PYTHONSTARTUP PYTHONUSERBASE PYTHONIOENCODING LD_PRELOAD LD_AUDIT VIRTUAL_ENV
    CONDA_PREFIX CONDA_BUILD_SYSROOT _CONDA_PYTHON_SYSCONFIGDATA_NAME PIP_TARGET PIP_USER PIP_REQUIRE_VIRTUALENV PIP_CONSTRAINT
    CMAKE_PREFIX_PATH CMAKE_GENERATOR CMAKE_TOOLCHAIN_FILE CPATH CPLUS_INCLUDE_PATH LIBRARY_PATH CC CXX CFLAGS CXXFLAGS LDFLAGS
    PKG_CONFIG_PATH DESTDIR GIT_DIR MPLBACKEND PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION LOKY_PYTHON
"""
STAY = """
    PATH HOME LANG LC_ALL TERM TMPDIR XDG_CACHE_HOME http_proxy SSL_CERT_FILE PIP_INDEX_URL PIP_CERT PIP_CONFIG_FILE
    CUDA_VISIBLE_DEVICES CUBLAS_WORKSPACE_CONFIG CAFFE_COLUMN_MIB CAFFE_ROOT OPENBLAS_NUM_THREADS OMP_NUM_THREADS GLOG_minloglevel
    PYTHON PYTHON_VERSION PYTHONUNBUFFERED
"""


@pytest.mark.parametrize('name', DECIDE.split())
def test_what_decides_what_is_loaded_is_left_out(name):
    assert foreign({name: 'x', 'HOME': '/'}) == [name]
    assert cleaned({name: 'x', 'HOME': '/'}) == {'HOME': '/'}


@pytest.mark.parametrize('name', STAY.split())
def test_what_says_where_things_are_or_how_to_compute_stays(name):
    assert cleaned({name: 'x'}) == {name: 'x'}


def test_what_the_toolkit_has_set_itself_stays():
    """As the library of the simulated GPUs."""
    variables = {OWN: 'LD_PRELOAD', 'LD_PRELOAD': 'ours.so', 'LD_AUDIT': 'theirs.so'}
    assert cleaned(variables) == {OWN: 'LD_PRELOAD', 'LD_PRELOAD': 'ours.so'}


def test_of_the_folders_of_libraries_those_of_the_gpus_driver_stay(tmp_path):
    """Which no program can know the place of."""
    driver, other = tmp_path / 'nvidia lib', tmp_path / 'conda'
    for folder in (driver, other):
        folder.mkdir()
    (driver / 'libcuda.so.1').touch()
    assert cleaned({'LD_LIBRARY_PATH': f'{other}:{driver}:'}) == {'LD_LIBRARY_PATH': str(driver)}
    assert cleaned({'LD_LIBRARY_PATH': f'{other}'}) == {}
    assert foreign({'LD_LIBRARY_PATH': str(driver)}) == []


def test_the_systems_compilers_go_before_others():
    """Each folder once, those of the user after, in their order."""
    assert system_first('/opt/conda/bin:/usr/bin::/opt/cuda/bin') == '/usr/sbin:/usr/bin:/sbin:/bin:/opt/conda/bin:/opt/cuda/bin'


@pytest.fixture
def traps(tmp_path):
    """Variables of a shell with packages of other programs, each of which ends the command that imports it."""
    for name in ('numpy', 'cv2', 'caffe', 'lmdb', 'PIL', 'tqdm'):
        (tmp_path / f'{name}.py').write_text('raise SystemExit(f"{__name__} of another program")')
    of_folder = dict.fromkeys(['PYTHONPATH', 'PYTHONUSERBASE', 'LD_LIBRARY_PATH', 'CONDA_PREFIX', 'VIRTUAL_ENV'], str(tmp_path))
    return of_folder | {'PYTHONOPTIMIZE': '2', 'MPLBACKEND': 'none', 'PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION': 'cpp'}


@pytest.mark.parametrize(
    'command', [SCRIPT, MODULE, ['make', '-o', 'caffe', 'nets', f'SYSTEM_PYTHON={PYTHON}']], ids=lambda words: words[-1]
)
def test_a_command_takes_its_own_packages(traps, command):
    """Run as a script, as a module, and by make: it comes to its help."""
    words = command if command[0] == 'make' else [*command, '--help']
    finished = subprocess.run(words, env=os.environ | traps, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, '') and 'another program' not in finished.stdout


def test_a_home_of_another_python_does_not_keep_make_from_starting_ours():
    """PYTHONHOME ends any Python but the one that it is of."""
    finished = subprocess.run(
        ['make', 'nets'], env=os.environ | {'PYTHONHOME': '/nowhere'}, cwd=ROOT, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr


def test_the_doctor_names_what_is_in_the_way(traps):
    """What make has left out, too."""
    finished = subprocess.run(['make', 'doctor'], env=os.environ | traps, cwd=ROOT, capture_output=True, text=True)
    line = next(line for line in finished.stdout.splitlines() if ' shell ' in line)
    assert all(name in line for name in traps) and 'left out by the commands here' in line


def heed_ctrl_c():
    """A test suite that was started in the background of a script has told its children to ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize('command', [SCRIPT, MODULE], ids=lambda words: words[-1])
def test_ctrl_c_while_a_command_starts_is_quiet(command):
    """Its first library is there, others are being imported; the next words would say what is wrong with the command line."""
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
    for _ in range(10):
        with subprocess.Popen([*command, '--nonsense'], preexec_fn=heed_ctrl_c, **pipes) as started:
            while started.poll() is None and 'numpy' not in Path(f'/proc/{started.pid}/maps').read_text():
                time.sleep(0.001)
            started.send_signal(signal.SIGINT)
            said, wrong = started.communicate(timeout=60)
        if started.returncode != 2:  # else it had said what is wrong before the signal came, on a busy machine
            break
    assert (started.returncode, said, wrong) == (-signal.SIGINT, '', '')


def test_names_of_files_are_utf8_in_any_locale(tmp_path):
    """In one of ISO 8859-1, as a list of UTF-8 and the system's names would otherwise differ."""
    locale = tmp_path / 'en_US.iso88591'
    made = shutil.which('localedef') and subprocess.run(['localedef', '-i', 'en_US', '-f', 'ISO-8859-1', locale], check=False)
    if not made or not locale.is_dir():
        pytest.skip('this system cannot make a locale')
    variables = os.environ | {'LOCPATH': str(tmp_path), 'LC_ALL': locale.name}
    say = ['-c', 'import sys; print(sys.getfilesystemencoding())']
    assert subprocess.run([PYTHON, *say], env=variables, capture_output=True, text=True).stdout == 'iso8859-1\n'
    absent = '\u732b\u00e9'
    command = [*SCRIPT, '--dataset', 'toy', '--pred', absent, '--gt', absent]
    finished = subprocess.run(command, env=variables, capture_output=True, encoding='utf-8')
    assert (finished.returncode, finished.stderr) == (1, f'error: no folder at {absent}\n')
