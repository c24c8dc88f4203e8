"""The program `caffe` with its libraries, for another machine."""

import re
import subprocess

import pytest

from prototxt.networks import deploy, write
from tools.caffe_build import bundle
from tools.support.caffe_in_use import in_use
from tools.support.errors import UserError


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """The bundle of the Caffe in use, moved after it was made."""
    path = tmp_path_factory.mktemp('bundle')
    bundle.pack(in_use(), [], path / 'made')
    return (path / 'made').rename(path / 'moved')


def test_every_library_is_inside(folder):
    """Only the C library and CUDA's libraries come from outside; the hundred libraries of GDAL are left out."""
    said = subprocess.run(['ldd', folder / 'bin' / 'caffe'], capture_output=True, text=True, check=True).stdout
    outside = [name for name, path in re.findall(r'(\S+) => (\S+)', said) if not path.startswith(str(folder))]
    assert outside and all(bundle.OF_THE_C_LIBRARY.match(name) or bundle.OF_CUDA.match(name) for name in outside)
    assert len(said.splitlines()) < 150


def test_it_runs(folder, tmp_path):
    """The moved program times a forward and a backward pass, without a variable of this machine."""
    write(deploy('basic_toy', size_hw=(380, 380)), tmp_path / 'deploy.prototxt')
    command = [folder / 'run', 'caffe', 'time', '-model', tmp_path / 'deploy.prototxt', '-iterations', '1']
    finished = subprocess.run(command, env={'PATH': '/usr/bin:/bin'}, capture_output=True, text=True)
    assert finished.returncode == 0 and 'Average Forward pass' in finished.stderr, finished.stderr


def test_a_library_that_is_not_there(tmp_path):
    """A program whose library is missing is not packed; the message names the library."""
    command = ['c++', '-shared', '-nostdlib', '-fPIC', '-x', 'assembler', '-', '-Wl,-soname,libnowhere.so']
    subprocess.run([*command, '-o', tmp_path / 'libnowhere.so'], input='ret\n', text=True, check=True)
    (tmp_path / 'main.c').write_text('int main() { return 0; }\n')
    flags = ['-Wl,--no-as-needed', f'-L{tmp_path}', '-lnowhere']
    subprocess.run(['c++', tmp_path / 'main.c', *flags, '-o', tmp_path / 'program'], check=True)
    with pytest.raises(UserError, match='needs libnowhere.so, which is missing'):
        bundle.linked([tmp_path / 'program'])
