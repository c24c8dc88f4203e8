"""`make caffe-runtest`: Caffe's own tests, in C++ and Python, run against the Caffe in `.venv`.

Arguments, if any, go to the C++ tests: --gtest_filter='Conv*'
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tools.caffe_build import cache, compile, cuda, environment
from tools.caffe_build.variant import Variant, key, variant_from
from tools.support.bootstrap import system_first
from tools.support.caffe_in_use import manifest_in_use
from tools.support.errors import UserError, run_command
from tools.support.paths import VENV

# What the networks of this toolkit are made of, and what the patches touch.
TESTS = (
    'convolution_layer', 'onednn_conv_layer', 'deconvolution_layer', 'pooling_layer', 'im2col_layer', 'crop_layer',
    'slice_layer', 'softmax_layer', 'softmax_with_loss_layer', 'accuracy_layer', 'neuron_layer', 'data_layer',
    'dummy_data_layer', 'hdf5data_layer', 'data_transformer', 'filler', 'blob', 'syncedmem', 'net', 'solver',
    'gradient_based_solver',
)  # fmt: skip


LEFT_OUT = 'test_draw.py'  # draws models/ and examples/ with Graphviz; the archive has no examples/


def main(argv: list[str] | None) -> int:
    """Run both kinds of tests; returns 0 if all passed."""
    os.environ['PATH'] = system_first()
    if os.environ.get('CAFFE_ROOT'):
        raise UserError('these tests are compiled against the Caffe that this toolkit builds; run without CAFFE_ROOT')
    variant = variant_from(os.environ, manifest_in_use())
    arguments = argv or sys.argv[1:]
    if variant.cuda_arch and not arguments and not cuda.architectures_present():
        raise UserError('no GPU is here, and the Caffe in use is for GPUs: make check-cuda runs its tests on simulated ones')
    installed = VENV / variant.folder
    if not cache.is_whole(installed, key(variant)):
        raise UserError('the Caffe in .venv is not one that this checkout built; run: make caffe')
    folder = cache.cache_folder()
    with cache.only_one(folder):
        tests = build_tests(folder, variant, installed)
    chosen = ['--gtest_filter=*'] if variant.cuda_arch else ['--gtest_filter=-*GPU*']  # as BVLC's own `runtest`
    failed = cpp_tests(tests, installed, arguments or chosen)
    failed |= python_tests(tests, installed)
    return 1 if failed else 0


def build_tests(folder: Path, variant: Variant, installed: Path) -> Path:
    """The compiled C++ tests and their data, from the cache `folder` or compiled now against the Caffe `installed`."""
    name = f'{key(variant)}-tests'
    entry = folder / name
    if cache.is_whole(entry, name):
        return entry
    print(f"compiling {len(TESTS)} of Caffe's C++ tests: minutes", file=sys.stderr)
    with tempfile.TemporaryDirectory(dir=folder, prefix='source-') as temporary, cache.new_entry(entry) as made:
        tree = compile.patched_source(folder, Path(temporary), variant, environment.PYTHON)
        options = compile.machine_options(folder, Path(temporary), variant, environment.PYTHON)
        options += [f'-DCAFFE_PREBUILT={installed}', f'-DCAFFE_TESTS={";".join(TESTS)}', f'-DCMAKE_INSTALL_PREFIX={made}']
        work = Path(temporary) / 'objects'
        compile.cmake(tree, work, options, environment.PYTHON)
        compile.call(['cmake', '--install', str(work)], quiet=True)
        cache.write_manifest(made, {'key': name})
    return entry


def cpp_tests(tests: Path, installed: Path, arguments: list[str]) -> int:
    """Run the C++ tests in the folder where they find their data; returns the exit status."""
    variables = {**os.environ, 'LD_LIBRARY_PATH': str(installed / 'lib'), 'GLOG_minloglevel': '2'}
    return subprocess.run([str(tests / 'bin' / 'caffe_tests'), *arguments], cwd=tests, env=variables).returncode


def python_tests(tests: Path, installed: Path) -> int:
    """Run the tests of the Python package, except LEFT_OUT; returns the exit status."""
    variables = {**os.environ, 'PYTHONPATH': str(installed / 'python'), 'GLOG_minloglevel': '2'}
    folder = installed / 'python' / 'caffe' / 'test'
    options = ['-c', os.devnull, '--rootdir', str(tests), f'--ignore={folder / LEFT_OUT}', '-W', 'ignore::DeprecationWarning']
    plugins = ['-p', 'no:cacheprovider', '-p', 'tools.caffe_build.old_unittest']
    command = [str(environment.PYTHON), '-m', 'pytest', *options, *plugins, str(folder)]
    return subprocess.run(command, cwd=tests, env=variables).returncode


if __name__ == '__main__':
    run_command(main)
