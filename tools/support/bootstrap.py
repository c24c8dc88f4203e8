"""How a command begins: with the project's own Python, without what the user's shell holds for other programs, stoppable quietly.

`tools/test.py` runs as it stands, from any folder, by any Python 3, and `python -m tools.bench` from the checkout. Both are begun
again here if need be: under `.venv/bin/python`, and without the variables that decide what Python, the linker or a compiler load.
"""

import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from tools.support.paths import VENV

OWN = 'DILATION_TOOLKIT_OWN'  # names of variables below that this toolkit itself has set, for programs that it starts
LIBRARY_PATH = 'LD_LIBRARY_PATH'
DRIVER = 'libcuda.so.1'  # which no program can say the place of: it comes with the machine

# Those of Python, of the dynamic linker, of environments of other packages, of pip, CMake and compilers, of git in its hooks, and
# those by which packages that are used here choose what they load.
FOREIGN = re.compile(
    r'PYTHON[A-Z0-9]+|_PYTHON_\w+|LD_\w+|VIRTUAL_ENV\w*|_?CONDA_\w+|PIP_\w+|CMAKE_\w+|Python3?_ROOT_DIR|SETUPTOOLS_\w+|DISTUTILS_\w+'
    r'|CPATH|(C|CPLUS|OBJC)_INCLUDE_PATH|LIBRARY_PATH|COMPILER_PATH|GCC_EXEC_PREFIX|PKG_CONFIG\w*|DESTDIR'
    r'|CC|CXX|CPP|CXXCPP|AS|AR|NM|LD|RANLIB|STRIP|LDSHARED|LDCXXSHARED|(C|CXX|CPP|LD|AS|AR|ARCH|CUDA)FLAGS|NVCC_\w+_FLAGS'
    r'|GIT_(DIR|WORK_TREE|INDEX_FILE|COMMON_DIR|OBJECT_DIRECTORY|NAMESPACE)'
    r'|MPLBACKEND|MATPLOTLIBRC|PROTOCOL_BUFFERS_PYTHON_\w+|HDF5_PLUGIN_PATH|LOKY_\w+|JOBLIB_\w+'
)
# Of these, what says how things are written, or where packages come from, and not which they are.
HARMLESS = re.compile(
    r'PYTHON(UNBUFFERED|DONTWRITEBYTECODE|PYCACHEPREFIX|HASHSEED|FAULTHANDLER|UTF8)'
    r'|PIP_(INDEX_URL|EXTRA_INDEX_URL|NO_INDEX|FIND_LINKS|TRUSTED_HOST|CERT|CLIENT_CERT|PROXY|CONFIG_FILE|CACHE_DIR|NO_CACHE_DIR'
    r'|TIMEOUT|DEFAULT_TIMEOUT|RETRIES|KEYRING_PROVIDER|QUIET|VERBOSE|NO_COLOR|PROGRESS_BAR|NO_INPUT|DISABLE_PIP_VERSION_CHECK'
    r'|ROOT_USER_ACTION)'
)


def use_project_python() -> None:
    """Begin a command that was started as a script; without a `.venv`, end with what to do."""
    python = VENV / 'bin' / 'python'
    if not python.exists():
        sys.exit(f'error: no {VENV}; run: make caffe')
    optimized = bool(sys.flags.optimize)  # without docstrings, which packages that Caffe imports read
    _begin(python, [str(python), *sys.argv], there=sys.prefix == str(VENV) and not optimized)


def begin_module() -> None:
    """Begin a command that is being started as `python -m MODULE`, by the Python that runs; nothing in any other program."""
    if getattr(sys, 'argv', [''])[:1] == ['-m']:
        _begin(Path(sys.executable), sys.orig_argv, there=True)


def foreign(environment: Mapping[str, str]) -> list[str]:
    """Names of the variables in `environment` that commands leave out."""
    own = environment.get(OWN, '').split(',')
    names = (name for name in environment if FOREIGN.fullmatch(name) and not HARMLESS.fullmatch(name) and name not in own)
    return sorted(name for name in names if name != LIBRARY_PATH or _of_driver(environment[name]) != environment[name])


def cleaned(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without the variables that `foreign` names; of LD_LIBRARY_PATH the folders with the GPU's driver stay."""
    left_out = foreign(environment)
    kept = {name: value for name, value in environment.items() if name not in left_out}
    if LIBRARY_PATH in left_out and (folders := _of_driver(environment[LIBRARY_PATH])):
        kept[LIBRARY_PATH] = folders
    return kept


def system_first(path: str | None = None) -> str:
    """The folders of PATH, those of the system's own programs first: for compilers and all that they call."""
    folders = (os.environ.get('PATH', '') if path is None else path).split(os.pathsep)
    return os.pathsep.join(dict.fromkeys(['/usr/sbin', '/usr/bin', '/sbin', '/bin', *filter(None, folders)]))


def _of_driver(folders: str) -> str:
    return os.pathsep.join(
        folder for folder in folders.split(os.pathsep) if folder and os.path.exists(os.path.join(folder, DRIVER))
    )


def _begin(python: Path, words: list[str], *, there: bool) -> None:
    """Go on if that is `there` and the environment is clean, else replace this process by `words` under `python`.

    A Ctrl-C ends the process without a word until run_command takes over; while another Python starts it waits.
    """
    environment = cleaned(os.environ)
    if sys.getfilesystemencoding() != 'utf-8':  # by the locale; lists, names of files and reports are in UTF-8 everywhere
        environment['PYTHONUTF8'] = '1'
    if not there or environment != dict(os.environ):
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        os.execve(python, words, environment)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # and not ignored, as behind `&` in a script
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
