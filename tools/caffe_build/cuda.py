"""The CUDA side of `make caffe CUDA=1`: nvcc from the PATH or the Python package index, libraries from there, architectures.

Environment: CUDA_ARCH=80,90 names the GPU architectures (compute capability without its dot); otherwise those of the GPUs
present. The packages of the index are installed into `.venv`; the installed build finds them there by a relative path.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tools.caffe_build import environment
from tools.support.errors import UserError

CMAKE_PART = Path(__file__).with_name('cuda.cmake')
DEFAULT_ARCHITECTURE = '90'  # Hopper; taken when no GPU is present to ask


@dataclass(frozen=True)
class Packages:
    """Packages of one major version of CUDA that were built and linked together, and where they put their files."""

    libraries: tuple[str, ...]
    toolkit: tuple[str, ...]  # nvcc and what it needs; empty: the index has no whole one, nvcc must be on the PATH
    folders: tuple[str, ...]  # below site-packages/nvidia, each with include/ and lib/
    files: tuple[str, ...]  # what Caffe links to, below site-packages/nvidia
    driver: int  # the oldest major version of the driver that runs it (NVIDIA's table of minor version compatibility)


PACKAGES = {
    13: Packages(
        ('nvidia-cuda-runtime==13.0.96', 'nvidia-cublas==13.0.2.14', 'nvidia-curand==10.4.0.35', 'nvidia-nccl-cu13==2.27.7'),
        ('nvidia-cuda-nvcc==13.0.88', 'nvidia-cuda-crt==13.0.88', 'nvidia-nvvm==13.0.88', 'nvidia-cuda-cccl==13.0.85'),
        ('cu13', 'nccl'),
        ('cu13/lib/libcudart.so.13', 'cu13/lib/libcublas.so.13', 'cu13/lib/libcurand.so.10', 'nccl/lib/libnccl.so.2'),
        driver=580,
    ),
    12: Packages(
        (
            'nvidia-cuda-runtime-cu12==12.9.79',
            'nvidia-cublas-cu12==12.9.1.4',
            'nvidia-curand-cu12==10.3.10.19',
            'nvidia-nccl-cu12==2.27.7',
        ),
        (),
        ('cuda_runtime', 'cublas', 'curand', 'nccl'),
        (
            'cuda_runtime/lib/libcudart.so.12',
            'cublas/lib/libcublas.so.12',
            'curand/lib/libcurand.so.10',
            'nccl/lib/libnccl.so.2',
        ),
        driver=525,
    ),
}
NEWEST = max(PACKAGES)
WHERE_ELSE = 'on Debian 13 the package nvidia-cuda-toolkit of non-free; the Python package index has none'


def architectures(variables: Mapping[str, str]) -> str:
    """Architectures to compile for, as CMake takes them ('80;90'): of CUDA_ARCH, else of the GPUs present.

    Raises UserError on any other name.
    """
    asked = variables.get('CUDA_ARCH') or ''
    found = re.split(r'[,; ]+', asked) if asked else architectures_present()
    if not found:
        print(f'no GPU here: compiling for architecture {DEFAULT_ARCHITECTURE}; CUDA_ARCH= chooses others', file=sys.stderr)
        found = [DEFAULT_ARCHITECTURE]
    for name in found:
        if not re.fullmatch(r'\d{2,3}[af]?', name):
            raise UserError(
                f'CUDA_ARCH={asked}: {name!r} is not an architecture; write compute capability 8.0 and 9.0 as CUDA_ARCH=80,90'
            )
    return ';'.join(sorted(set(found)))


def architectures_present() -> list[str]:
    """Architectures of the GPUs of this machine; none without a driver."""
    return [line.replace('.', '') for line in ask_driver('compute_cap')]


def ask_driver(field: str) -> list[str]:
    """The values of nvidia-smi --query-gpu=`field` (or several, with commas) for each GPU; empty without a driver."""
    if shutil.which('nvidia-smi') is None:
        return []
    finished = subprocess.run(['nvidia-smi', f'--query-gpu={field}', '--format=csv,noheader'], capture_output=True, text=True)
    return [line.strip() for line in finished.stdout.splitlines()] if finished.returncode == 0 else []


def check_driver() -> None:
    """Raise UserError if there is a driver and it is too old for the libraries that fit this machine's nvcc."""
    row = packages()[0]
    version = next(number for number, other in PACKAGES.items() if other is row)
    for driver in ask_driver('driver_version')[:1]:
        if int(driver.split('.')[0]) < row.driver:
            older = [number for number in PACKAGES if PACKAGES[number].driver <= int(driver.split('.')[0])]
            way = f'put the nvcc of CUDA {max(older)} on the PATH ({WHERE_ELSE}), or ' if older else ''
            raise UserError(f'the driver {driver} is too old for CUDA {version}; {way}update the driver to {row.driver} or newer')


def nvcc_on_path() -> tuple[str, int] | None:
    """Path and major version of the nvcc on the PATH; None without one. Raises UserError if the version is not in PACKAGES."""
    program = shutil.which('nvcc')
    if program is None:
        return None
    finished = subprocess.run([program, '--version'], capture_output=True, text=True)
    release = re.search(r'release (\d+)\.', finished.stdout)
    if release is None or int(release[1]) not in PACKAGES:
        known = ' and '.join(str(version) for version in sorted(PACKAGES))
        raise UserError(f'{program} is not of CUDA {known} (nvcc --version); take it off the PATH and CUDA {NEWEST} is fetched')
    return program, int(release[1])


def packages() -> tuple[Packages, tuple[str, ...]]:
    """The row of PACKAGES that fits this machine's nvcc, and the packages to install."""
    found = nvcc_on_path()
    row = PACKAGES[found[1] if found else NEWEST]
    return row, row.libraries if found else row.libraries + row.toolkit


def facts() -> dict[str, object]:
    """What the CUDA side of a build depends on, for its key."""
    found = nvcc_on_path()
    version = subprocess.run([found[0], '--version'], capture_output=True, text=True).stdout if found else ''
    return {'nvcc': version, 'packages': packages()[1], 'cmake': CMAKE_PART.read_text(encoding='utf-8')}


def prepare() -> None:
    """Install the packages that are missing into `.venv` (650 MB, and 110 MB more without an nvcc)."""
    check_driver()
    missing = [name for name in packages()[1] if not is_installed(name)]
    if missing:
        print(f'fetching {" ".join(missing)}', file=sys.stderr, flush=True)
        command = [str(environment.PYTHON), '-m', 'pip', 'install', '--quiet', '--no-deps', *missing]
        environment.run(command, 'pip could not install the CUDA packages')
    library_folder = nvidia_folder() / 'cu13' / 'lib64'
    if not nvcc_on_path() and not library_folder.exists():
        library_folder.symlink_to('lib')  # where nvcc looks for the CUDA runtime


def is_ready() -> bool:
    """Whether `.venv` has every package that is needed."""
    return all(is_installed(name) for name in packages()[1])


def is_installed(requirement: str) -> bool:
    """Whether `.venv` has exactly the package 'name==version'."""
    name, _, version = requirement.partition('==')
    return (environment.site_packages() / f'{name.replace("-", "_")}-{version}.dist-info').is_dir()


def nvidia_folder() -> Path:
    """Where the packages put their files."""
    return environment.site_packages() / 'nvidia'


def cmake_options() -> list[str]:
    """Options for CMake besides those of the variant: the compiler, and where headers and libraries are."""
    found, root = nvcc_on_path(), nvidia_folder()
    row = packages()[0]
    from_install = Path('..') / root.relative_to(environment.VENV)  # from .venv/cuda
    return [
        f'-DCMAKE_PROJECT_INCLUDE={CMAKE_PART}',
        f'-DCMAKE_CUDA_COMPILER={found[0] if found else root / "cu13" / "bin" / "nvcc"}',
        f'-DCUDA_INCLUDES={";".join(str(root / folder / "include") for folder in row.folders)}',
        f'-DCUDA_LIBRARIES={";".join(str(root / name) for name in row.files)}',
        f'-DCUDA_RPATH={";".join(str(from_install / folder / "lib") for folder in row.folders)}',
    ]
