"""Simulated GPUs: Caffe's CUDA build runs unchanged, but the host does the work of CUDA, cuBLAS, cuRAND and NCCL.

There are two libraries. libpretended.so is loaded before NVIDIA's (LD_PRELOAD) and answers the calls that Caffe makes. When Caffe
launches a kernel, it runs the kernel of that name in libpretended_kernels.so, which is the same patched .cu files compiled as
C++. So everything is Caffe's own except the machine code of the kernels. This cannot show races between threads of a kernel,
overlapping streams, a GPU's rounding and speed, or the memory that CUDA takes for itself.
"""

import os
import re
import struct
import subprocess
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tools.caffe_build import cuda, openblas, patches, source
from tools.caffe_build.cache import cache_folder
from tools.caffe_build.environment import PYTHON
from tools.caffe_build.variant import Variant
from tools.support import bootstrap
from tools.support.paths import VENV

HERE = Path(__file__).parent
CAFFE = VENV / 'cuda'
MOST_DEVICES = 8  # as in runtime.cpp
RUNTIME = ('runtime', 'cublas', 'curand', 'nccl')
FLAGS = ('-O2', '-w', '-std=c++17', '-fPIC', '-DUSE_LMDB', '-DBOOST_BIND_GLOBAL_PLACEHOLDERS', f'-I{HERE}')
LAUNCH = re.compile(r'<<<.*?>>>', re.DOTALL)
OF_MACRO = re.compile(r'DEFINE_AND_INSTANTIATE_GPU_UNARY_FUNC\((\w+)')  # defines a kernel, in math_functions.hpp
KERNEL = re.compile(r'__global__\s+void\s+(?:__launch_bounds__\([^)]*\)\s*)?(\w+)\s*\(')


class PretendedGpus:
    """Both libraries, compiled into `folder`, and the variables that make a process use them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        build(folder)

    def variables(self, count: int, use: Path, memory: float = 80e9) -> dict[str, str]:
        """Environment variables for `count` GPUs of `memory` bytes. Each process that uses one writes a file to `use`."""
        return {
            'LD_PRELOAD': str(self._folder / 'libpretended.so'),
            bootstrap.OWN: 'LD_PRELOAD',
            'PATH': f'{HERE}:{os.environ["PATH"]}',  # nvidia-smi
            'PRETENDED_GPUS': str(count),
            'PRETENDED_GPU_BYTES': str(memory),
            'PRETENDED_GPU_KERNELS': str(self._folder / 'libpretended_kernels.so'),
            'PRETENDED_GPU_USE': str(use),
        }


def bytes_taken(use: Path, gpu: int = 0) -> tuple[int, int]:
    """Bytes of a GPU that a process had at its end, and at most; of the process with the highest peak."""
    processes = [struct.unpack(f'{2 * MOST_DEVICES}q', path.read_bytes()) for path in use.iterdir() if path.name.isdecimal()]
    return max(((values[gpu], values[MOST_DEVICES + gpu]) for values in processes), key=lambda pair: pair[1], default=(0, 0))


def build(folder: Path) -> None:
    """Compile both libraries against the Caffe in .venv/cuda."""
    tree = source.unpack(source.fetch(cache_folder(), PYTHON), folder)
    patches.apply(tree, Variant('shared', '90').patches)
    includes = [f'-I{path}' for path in (tree / 'include', CAFFE / 'include', CAFFE / 'include' / 'openblas', *headers())]
    runtime = [(HERE / f'{name}.cpp', folder / f'{name}.o') for name in RUNTIME]
    kernels = kernel_units(tree, folder)
    compile_all([*runtime, *kernels], [*FLAGS, *includes])
    bundled = CAFFE / 'lib' / Path(openblas.LIBRARY).name
    blas = [str(bundled), f'-Wl,-rpath,{bundled.parent}'] if bundled.is_file() else ['-lopenblas']
    link(folder / 'libpretended.so', [out for _, out in runtime], [*blas, '-ldl', '-lpthread'])
    caffe = [str(CAFFE / 'lib' / 'libcaffe.so'), '-lglog', '-lprotobuf', '-lboost_thread']
    link(folder / 'libpretended_kernels.so', [out for _, out in kernels], caffe)


def headers() -> list[Path | str]:
    """Folders with the headers of CUDA, the toolkit's own first, of its libraries, and of Debian's libraries."""
    found = cuda.nvcc_on_path()
    nvcc = found[0] if found else str(cuda.nvidia_folder() / 'cu13' / 'bin' / 'nvcc')
    command = [nvcc, '--dryrun', '-x', 'cu', '-c', os.devnull, '-o', os.devnull]
    toolkit = re.findall(r'"-I(.*?)"', subprocess.run(command, capture_output=True, text=True).stderr)
    packages = [cuda.nvidia_folder() / folder / 'include' for folder in cuda.packages()[0].folders]
    return [*toolkit, *packages, f'/usr/include/{os.uname().machine}-linux-gnu']


def kernel_units(tree: Path, folder: Path) -> list[tuple[Path, Path]]:
    """Write a C++ file for each .cu file with kernels; returns pairs (C++ file, object file to make).

    Launches become calls, and each kernel that the CUDA build knows gets a function run<mangled name>, for runtime.cpp.
    """
    signatures = kernel_signatures(CAFFE / 'lib' / 'libcaffe.so')
    macro = tree / 'include' / 'caffe' / 'util' / 'math_functions.hpp'
    macro.write_text(LAUNCH.sub('', macro.read_text(encoding='utf-8')), encoding='utf-8')
    units = []
    for path in sorted(tree.glob('src/caffe/*/*.cu')):
        text = path.read_text(encoding='utf-8')
        names = {*KERNEL.findall(text), *(f'{name}_kernel' for name in OF_MACRO.findall(text))}
        known = {symbol: found for symbol, found in signatures.items() if base_name(found) in names}
        if known and path.parent.name != 'test':
            written = folder / f'{path.stem}_kernels.cpp'
            text = re.sub(r'#include .(thrust|math_functions\.h).*', '', LAUNCH.sub('', text))
            runners = [runner(symbol, found, with_barriers(text)) for symbol, found in known.items()]
            written.write_text('#include "kernels.hpp"\n' + text + '\n'.join(runners), encoding='utf-8')
            units.append((written, written.with_suffix('.o')))
    return units


def kernel_signatures(library: Path) -> dict[str, str]:
    """Mangled name -> signature, such as 'void caffe::f<float>(int)', of the kernels that a library registers with CUDA."""
    symbols = sorted({name.decode() for name in re.findall(rb'(?<=\0)_ZN5caffe\w+(?=\0)', library.read_bytes())})
    said = subprocess.run(['c++filt'], input='\n'.join(symbols), capture_output=True, text=True, check=True).stdout
    pairs = zip(symbols, said.splitlines(), strict=True)
    return {symbol: found for symbol, found in pairs if re.match(r'(void )?caffe::\w+[<(]', found) and found.endswith(')')}


def base_name(signature: str) -> str:
    """'f' of 'void caffe::f<float>(int)'."""
    return re.sub(r'^(void )?caffe::(\w+)[<(].*', r'\2', signature)


def with_barriers(text: str) -> set[str]:
    """Names of the kernels of a .cu file whose threads wait for each other."""
    parts = KERNEL.split(text)[1:]
    return {name for name, body in zip(parts[::2], parts[1::2], strict=True) if '__syncthreads' in body}


def runner(symbol: str, signature: str, barriers: Iterable[str]) -> str:
    """The function that calls a kernel with the arguments of a launch."""
    found = re.fullmatch(r'(?:void )?(caffe::\w+(?:<.*>)?)(\(.*\))', signature)
    assert found is not None, signature
    how = 'in_turns' if base_name(signature) in barriers else 'alone'
    kernel = f'static_cast<void (*){found[2]}>(&{found[1]})'
    visible = 'extern "C" __attribute__((visibility("default"))) void'
    return f'{visible} run{symbol}(void** arguments) {{ pretended::{how}({kernel}, arguments); }}'


def compile_all(units: Iterable[tuple[Path, Path]], flags: Iterable[str]) -> None:
    """Compile files on all cores."""

    def one(unit: tuple[Path, Path]) -> None:
        hidden = [] if unit[0].stem in RUNTIME else ['-fvisibility=hidden', '-fvisibility-inlines-hidden']
        subprocess.run(['c++', *flags, *hidden, '-c', unit[0], '-o', unit[1]], check=True)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, units))


def link(out: Path, objects: Iterable[Path], libraries: Iterable[str]) -> None:
    """Make a shared library."""
    subprocess.run(['c++', '-shared', *objects, '-o', out, *libraries], check=True)
