"""How commands start: with their own packages, whatever the user's shell holds. Ctrl-C stops them without a traceback."""

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
SYSTEM_PYTHON = shutil.which('python3', path='/usr/bin:/usr/local/bin') or sys.executable
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
def test_variables_that_change_what_is_loaded_are_removed(name):
    assert foreign({name: 'x', 'HOME': '/'}) == [name]
    assert cleaned({name: 'x', 'HOME': '/'}) == {'HOME': '/'}


@pytest.mark.parametrize('name', STAY.split())
def test_variables_for_places_and_for_computing_stay(name):
    assert cleaned({name: 'x'}) == {name: 'x'}


def test_variables_that_the_toolkit_has_set_stay():
    """Such as the library of the simulated GPUs."""
    variables = {OWN: 'LD_PRELOAD', 'LD_PRELOAD': 'ours.so', 'LD_AUDIT': 'theirs.so'}
    assert cleaned(variables) == {OWN: 'LD_PRELOAD', 'LD_PRELOAD': 'ours.so'}


def test_the_folder_of_the_gpus_driver_stays(tmp_path):
    """Only LD_LIBRARY_PATH may tell where it is."""
    driver, other = tmp_path / 'nvidia lib', tmp_path / 'conda'
    for folder in (driver, other):
        folder.mkdir()
    (driver / 'libcuda.so.1').touch()
    assert cleaned({'LD_LIBRARY_PATH': f'{other}:{driver}:'}) == {'LD_LIBRARY_PATH': str(driver)}
    assert cleaned({'LD_LIBRARY_PATH': f'{other}'}) == {}
    assert foreign({'LD_LIBRARY_PATH': str(driver)}) == []


def test_the_systems_compilers_come_first():
    """Each folder once; the user's folders follow in their order."""
    assert system_first('/opt/conda/bin:/usr/bin::/opt/cuda/bin') == '/usr/sbin:/usr/bin:/sbin:/bin:/opt/conda/bin:/opt/cuda/bin'


@pytest.fixture
def traps(tmp_path):
    """Variables of a shell with packages of other programs; each package ends the command that imports it."""
    for name in ('numpy', 'cv2', 'caffe', 'lmdb', 'PIL', 'tqdm'):
        (tmp_path / f'{name}.py').write_text('raise SystemExit(f"{__name__} of another program")')
    of_folder = dict.fromkeys(['PYTHONPATH', 'PYTHONUSERBASE', 'LD_LIBRARY_PATH', 'CONDA_PREFIX', 'VIRTUAL_ENV'], str(tmp_path))
    return of_folder | {'PYTHONOPTIMIZE': '2', 'MPLBACKEND': 'none', 'PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION': 'cpp'}


@pytest.mark.parametrize('name', ['score', 'predict', 'extract_features', 'browse_lmdb'])
def test_a_script_finds_its_own_packages(traps, tmp_path, name):
    """Run by the system's Python in another folder, also if it needs Caffe."""
    command = [SYSTEM_PYTHON, str(ROOT / 'tools' / f'{name}.py'), '--help']
    done = subprocess.run(command, env=os.environ | traps, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '') and 'show this help message' in done.stdout


@pytest.mark.parametrize(('command', 'home'), [
    ([*MODULE, '--help'], {}), (['make', '-o', 'caffe', 'nets', f'SYSTEM_PYTHON={PYTHON}'], {}),
    (['make', 'nets'], {'PYTHONHOME': '/nowhere'}),
], ids=['module', 'make', 'make with PYTHONHOME'])  # fmt: skip
def test_modules_and_make_find_their_own_packages(traps, command, home):
    """PYTHONHOME stops any Python except its own, so make removes it."""
    done = subprocess.run(command, env=os.environ | traps | home, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, '') and 'another program' not in done.stdout


def test_a_command_without_a_venv_says_what_to_run(tmp_path):
    """In a checkout before `make caffe`."""
    for name in ('tools', 'prototxt'):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns('__pycache__'))
    done = subprocess.run([SYSTEM_PYTHON, str(tmp_path / 'tools' / 'predict.py'), '--help'], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (1, f'error: no {tmp_path / ".venv"}; run: make caffe\n')


def heed_ctrl_c():
    """Children of a test suite in the background of a script would ignore it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.parametrize('command', [SCRIPT, MODULE], ids=lambda words: words[-1])
def test_ctrl_c_while_a_command_starts_is_quiet(command):
    """It comes while libraries are being imported, before the command complains about its wrong option."""
    pipes = {'stdout': subprocess.PIPE, 'stderr': subprocess.PIPE, 'text': True}
    for _ in range(10):
        with subprocess.Popen([*command, '--nonsense'], preexec_fn=heed_ctrl_c, **pipes) as started:
            while started.poll() is None and 'numpy' not in Path(f'/proc/{started.pid}/maps').read_text():
                time.sleep(0.001)
            started.send_signal(signal.SIGINT)
            said, wrong = started.communicate(timeout=60)
        if started.returncode != 2:  # on a busy machine the signal may come after the complaint
            break
    assert (started.returncode, said, wrong) == (-signal.SIGINT, '', '')


def test_names_of_files_are_utf8_in_any_locale(tmp_path):
    """In a locale of ISO 8859-1, names in a UTF-8 list would otherwise differ from the system's."""
    locale = tmp_path / 'en_US.iso88591'
    made = shutil.which('localedef') and subprocess.run(['localedef', '-i', 'en_US', '-f', 'ISO-8859-1', locale], check=False)
    if not made or not locale.is_dir():
        pytest.skip('this system cannot make a locale')
    variables = os.environ | {'LOCPATH': str(tmp_path), 'LC_ALL': locale.name}
    say = 'import sys; print(sys.getfilesystemencoding())'
    begin = f'import sys; sys.path.insert(0, {str(ROOT)!r}); import tools.support.bootstrap as it; it.use_project_python()'
    for code, encoding in ((say, 'iso8859-1'), (f'{begin}; {say}', 'utf-8')):
        (tmp_path / 'script.py').write_text(code)
        done = subprocess.run([PYTHON, str(tmp_path / 'script.py')], env=variables, capture_output=True, text=True)
        assert (done.stdout, done.stderr) == (f'{encoding}\n', '')
