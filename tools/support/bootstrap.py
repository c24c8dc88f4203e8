"""Starts commands with the project's own Python and without the shell's variables for other programs; Ctrl-C stops them quietly.

`tools/test.py` runs from any folder by any Python 3, and `python -m tools.bench` in the checkout. If necessary, both are started
again: under `.venv/bin/python`, and without the variables that change what Python, the linker or a compiler loads.
"""

import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from tools.support.paths import VENV

OWN = 'DILATION_TOOLKIT_OWN'  # names of such variables that this toolkit has set for the programs that it starts
LIBRARY_PATH = 'LD_LIBRARY_PATH'
DRIVER = 'libcuda.so.1'  # comes with the machine; only LD_LIBRARY_PATH may say where it is

# Variables of Python, the dynamic linker, environments of other packages, pip, CMake, compilers and git's hooks, and those that
# tell the packages used here what to load.
FOREIGN = re.compile(
    r'PYTHON[A-Z0-9]+|_PYTHON_\w+|LD_\w+|VIRTUAL_ENV\w*|_?CONDA_\w+|PIP_\w+|CMAKE_\w+|Python3?_ROOT_DIR|SETUPTOOLS_\w+|DISTUTILS_\w+'
    r'|CPATH|(C|CPLUS|OBJC)_INCLUDE_PATH|LIBRARY_PATH|COMPILER_PATH|GCC_EXEC_PREFIX|PKG_CONFIG\w*|DESTDIR'
    r'|CC|CXX|CPP|CXXCPP|AS|AR|NM|LD|RANLIB|STRIP|LDSHARED|LDCXXSHARED|(C|CXX|CPP|LD|AS|AR|ARCH|CUDA)FLAGS|NVCC_\w+_FLAGS'
    r'|GIT_(DIR|WORK_TREE|INDEX_FILE|COMMON_DIR|OBJECT_DIRECTORY|NAMESPACE)'
    r'|MPLBACKEND|MATPLOTLIBRC|PROTOCOL_BUFFERS_PYTHON_\w+|HDF5_PLUGIN_PATH|LOKY_\w+|JOBLIB_\w+'
)
# Exceptions: they say how output is written or where packages come from, but not which packages.
HARMLESS = re.compile(
    r'PYTHON(UNBUFFERED|DONTWRITEBYTECODE|PYCACHEPREFIX|HASHSEED|FAULTHANDLER|UTF8)'
    r'|PIP_(INDEX_URL|EXTRA_INDEX_URL|NO_INDEX|FIND_LINKS|TRUSTED_HOST|CERT|CLIENT_CERT|PROXY|CONFIG_FILE|CACHE_DIR|NO_CACHE_DIR'
    r'|TIMEOUT|DEFAULT_TIMEOUT|RETRIES|KEYRING_PROVIDER|QUIET|VERBOSE|NO_COLOR|PROGRESS_BAR|NO_INPUT|DISABLE_PIP_VERSION_CHECK'
    r'|ROOT_USER_ACTION)'
)


def use_project_python() -> None:
    """Continue a command that was started as a script under the project's Python. Without a `.venv`, exit with what to do."""
    python = VENV / 'bin' / 'python'
    if not python.exists():
        sys.exit(f'error: no {VENV}; run: make caffe')
    optimized = bool(sys.flags.optimize)  # removes docstrings, which packages that Caffe imports read
    _begin(python, [str(python), *sys.argv], there=sys.prefix == str(VENV) and not optimized)


def begin_module() -> None:
    """Prepare a command that is started as `python -m MODULE`; do nothing in any other program."""
    if getattr(sys, 'argv', [''])[:1] == ['-m']:
        _begin(Path(sys.executable), sys.orig_argv, there=True)


def foreign(environment: Mapping[str, str]) -> list[str]:
    """Names of the variables in `environment` that commands leave out."""
    own = environment.get(OWN, '').split(',')
    names = (name for name in environment if FOREIGN.fullmatch(name) and not HARMLESS.fullmatch(name) and name not in own)
    return sorted(name for name in names if name != LIBRARY_PATH or _of_driver(environment[name]) != environment[name])


def cleaned(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without the variables that `foreign` names. LD_LIBRARY_PATH keeps the folders with the GPU's driver."""
    left_out = foreign(environment)
    kept = {name: value for name, value in environment.items() if name not in left_out}
    if LIBRARY_PATH in left_out and (folders := _of_driver(environment[LIBRARY_PATH])):
        kept[LIBRARY_PATH] = folders
    return kept


def system_first(path: str | None = None) -> str:
    """PATH with the folders of the system's own programs first, for compilers and the programs that they call."""
    folders = (os.environ.get('PATH', '') if path is None else path).split(os.pathsep)
    return os.pathsep.join(dict.fromkeys(['/usr/sbin', '/usr/bin', '/sbin', '/bin', *filter(None, folders)]))


def _of_driver(folders: str) -> str:
    return os.pathsep.join(
        folder for folder in folders.split(os.pathsep) if folder and os.path.exists(os.path.join(folder, DRIVER))
    )


def _begin(python: Path, words: list[str], *, there: bool) -> None:
    """Replace this process by `words` under `python`, unless it is `there` already with a clean environment.

    Until run_command takes over, Ctrl-C ends the process silently; while the other Python starts, Ctrl-C waits.
    """
    environment = cleaned(os.environ)
    if sys.getfilesystemencoding() != 'utf-8':  # of the locale; but lists, file names and reports are always UTF-8
        environment['PYTHONUTF8'] = '1'
    if not there or environment != dict(os.environ):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        os.execve(python, words, environment)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not if it is ignored, as after `&` in a script
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
