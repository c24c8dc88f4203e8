"""What the operating system must have before Caffe can be compiled: Debian's packages, or the same things elsewhere."""

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from pathlib import Path

from tools.support.errors import UserError

LOCAL_HEADERS = Path('/usr/local/include')  # where compilers look before /usr/include
TRIED = {('debian', '12'), ('debian', '13')}

# Debian's package -> a program or a header that is in it
PACKAGES = {
    'g++': 'c++',
    'make': 'make',
    'cmake': 'cmake',
    'patch': 'patch',
    'protobuf-compiler': 'protoc',
    'python3-dev': 'Python.h',
    'python3-venv': '',
    'libboost-thread-dev': 'boost/thread.hpp',
    'libboost-filesystem-dev': 'boost/filesystem.hpp',
    'libboost-python-dev': 'boost/python.hpp',
    'libgoogle-glog-dev': 'glog/logging.h',
    'libgflags-dev': 'gflags/gflags.h',
    'libprotobuf-dev': 'google/protobuf/message.h',
    'liblmdb-dev': 'lmdb.h',
    'libhdf5-dev': 'hdf5.h',
    'libopencv-core-dev': 'opencv2/core/core.hpp',
    'libopencv-imgproc-dev': 'opencv2/imgproc/imgproc.hpp',
    'libopencv-imgcodecs-dev': 'opencv2/imgcodecs.hpp',
    'libopencv-highgui-dev': 'opencv2/highgui/highgui_c.h',
    'libgl1': '',  # opencv-python's own libraries need it
    'libglib2.0-0': '',
}


def prepare(more: Iterable[str] = ()) -> None:
    """Install what is missing of PACKAGES and `more`, as root or through sudo.

    Raises UserError with the one command to run, or on another system with what is missing of PACKAGES.
    """
    release = os_release()
    if not is_tried(release):
        check_other_system(release.get('PRETTY_NAME', platform.system()))
        return
    refuse_foreign_headers(LOCAL_HEADERS)
    missing = missing_packages([*PACKAGES, *more])
    if missing:
        install(missing)


def refuse_foreign_headers(folder: Path) -> None:
    """Raise UserError if `folder` holds a header of another version of one of Debian's libraries."""
    found = [folder / thing for thing in PACKAGES.values() if thing.endswith(('.h', '.hpp')) and (folder / thing).exists()]
    if found:
        raise UserError(
            f"in the way: {', '.join(map(str, found))}; the compiler takes these before the headers of Debian's packages, whose "
            f'libraries Caffe is linked to. Move them aside while `make caffe` runs'
        )


def os_release() -> dict[str, str]:
    """The fields of os-release; empty if the system has none."""
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def is_tried(release: Mapping[str, str]) -> bool:
    """Whether packages can be installed here by name."""
    return (release.get('ID'), release.get('VERSION_ID')) in TRIED


def missing_packages(names: Iterable[str] = PACKAGES) -> list[str]:
    """The Debian packages among `names` that are not installed; a renamed package counts by what it provides."""
    query = ['dpkg-query', '--show', '--showformat', '${db:Status-Status} ${Package} ${Provides}\n']
    lines = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()
    present: set[str] = set()
    for line in lines:
        status, _, provided = line.partition(' ')
        if status == 'installed':
            present.update(name.split('(')[0].strip() for name in provided.replace(' ', ',').split(','))
    return [name for name in names if name not in present]


def install(packages: list[str]) -> None:
    """Install Debian packages. Raises UserError if this user may not install them, or if it fails."""
    command = ['apt-get', '-o', 'DPkg::Lock::Timeout=600', 'install', '--yes', '--no-install-recommends', *packages]
    prefix = root_prefix()
    if prefix is None:
        raise UserError(f'Debian packages are missing; run this once, then `make caffe` again:\n  sudo {" ".join(command)}')
    print(f'installing {len(packages)} Debian packages: {" ".join(packages)}', file=sys.stderr, flush=True)
    environment = {**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'}
    for step in (['apt-get', 'update'], command):
        finished = subprocess.run([*prefix, *step], env=environment, stdout=sys.stderr)
        if finished.returncode and step is command:
            raise UserError(f'apt-get failed (above); correct that, then run: {" ".join([*prefix, *command])}')


def root_prefix() -> list[str] | None:
    """The words before a command that make it run as root; None if this user cannot."""
    if os.geteuid() == 0:
        return []
    if shutil.which('sudo') is None:
        return None
    without_asking = subprocess.run(['sudo', '--non-interactive', 'true'], capture_output=True).returncode == 0
    return ['sudo'] if without_asking or sys.stdin.isatty() else None


def check_other_system(name: str) -> None:
    """On a system other than Debian 12 and 13: raise UserError naming the programs and headers that are missing."""
    lacking = [f'{thing} (Debian: {package})' for package, thing in PACKAGES.items() if thing and not is_there(thing)]
    if lacking:
        raise UserError(
            f'this is {name}; `make caffe` installs packages on Debian 12 and 13 only. These are missing:\n  '
            + '\n  '.join(lacking)
        )
    print(f'Caffe was not tried on {name}, but everything it needs seems to be there', file=sys.stderr)


def is_there(thing: str) -> bool:
    """Whether a program is on PATH, or the C++ compiler finds a header, also where Debian and others keep these."""
    if not thing.endswith(('.h', '.hpp')):
        return shutil.which(thing) is not None
    if shutil.which('c++') is None:
        return False
    folders = ['/usr/include/opencv4', '/usr/include/hdf5/serial', *python_includes()]
    command = ['c++', '-E', '-x', 'c++', '-', '-o', os.devnull, *(f'-I{folder}' for folder in folders)]
    source = f'#if !__has_include(<{thing}>)\n#error\n#endif\n'
    return subprocess.run(command, input=source, text=True, capture_output=True).returncode == 0


def python_includes() -> list[str]:
    """Where Python.h of the running Python would be."""
    return [str(Path(sysconfig.get_path('include')))]
