"""CAFFE_ROOT: an existing Caffe is checked, and refused with the reason; what another system lacks."""

import shutil
import subprocess

import pytest

from tools.caffe_build import caffe_root, install, system
from tools.support.errors import UserError
from tools.support.paths import VENV

OURS = VENV / 'bin' / 'caffe'


@pytest.fixture
def root(tmp_path):
    """A folder that looks like a compiled Caffe: its programs, and an empty package `caffe`."""
    (tmp_path / 'build' / 'tools').mkdir(parents=True)
    for name in install.PROGRAMS:
        (tmp_path / 'build' / 'tools' / name).touch()
    (tmp_path / 'python' / 'caffe').mkdir(parents=True)
    (tmp_path / 'python' / 'caffe' / '__init__.py').touch()
    return tmp_path


@pytest.mark.parametrize(
    ('harm', 'message'),
    [
        (lambda root: shutil.rmtree(root), r'CAFFE_ROOT=.*: no such folder'),
        (lambda root: shutil.rmtree(root / 'build'), 'no program `caffe` in build/tools'),
        (lambda root: (root / 'build' / 'tools' / 'convert_imageset').unlink(), 'lacks convert_imageset'),
        (lambda root: shutil.rmtree(root / 'python'), 'no python/caffe'),
        (
            lambda root: (root / 'python' / 'caffe' / '__init__.py').write_text('from ._caffe import Net\n'),
            r'`import caffe` fails under Python 3\.\d+: .*_caffe',
        ),
    ],
    ids=['no folder', 'not compiled', 'a program is missing', 'no Python package', 'of another Python'],
)
def test_caffe_that_cannot_be_used_is_refused(root, harm, message):
    """The message names what is missing."""
    harm(root)
    with pytest.raises(UserError, match=message):
        caffe_root.use(root)


def test_everything_an_old_caffe_lacks_is_named(root):
    """Layer types, dilation, LMDB and large files are each reported, and `.venv` keeps the Caffe that it had."""
    before = OURS.resolve()
    (root / 'python' / 'caffe' / '__init__.py').write_text("def layer_type_list():\n    return ['Convolution', 'Data']\n")
    with pytest.raises(UserError) as refusal:
        caffe_root.use(root)
    for part in ('commit unknown', 'layer types are missing (Crop, Deconvolution,', 'dilation', 'LMDB', '512 MiB', 'make caffe'):
        assert part in str(refusal.value)
    assert OURS.resolve() == before


def test_caffe_in_use_passes_the_checks():
    """The Caffe that these tests run on answers every question with yes."""
    caffe_root.refuse_unless_fit(OURS.resolve().parents[1])


def test_probe_tells_a_failed_check_of_caffe_from_success(tmp_path):
    """A CHECK that fails in Caffe ends the process: the answer is no, with Caffe's message."""
    shutil.copytree(OURS.resolve().parents[1] / 'python', tmp_path / 'python')
    shutil.copytree(OURS.resolve().parents[1] / 'lib', tmp_path / 'lib')
    with (tmp_path / 'python' / 'caffe' / '__init__.py').open('a') as file:
        file.write('Net(__file__, TEST)\n')
    assert 'Failed to parse NetParameter file' in caffe_root.last_line(caffe_root.fault('layers', tmp_path) or '')


def test_commit_of_a_clone(tmp_path, monkeypatch):
    """Git's commit of the folder itself, not of a repository around it; without git it is unknown, which is no error."""
    git = ['git', '-C', str(tmp_path), '-c', 'user.name=a', '-c', 'user.email=a@b.c']
    subprocess.run([*git, 'init', '-q'], check=True)
    subprocess.run([*git, 'commit', '-q', '--allow-empty', '-m', 'a'], check=True)
    head = subprocess.run([*git, 'rev-parse', 'HEAD'], capture_output=True, text=True, check=True)
    (tmp_path / 'inner').mkdir()
    assert caffe_root.commit(tmp_path) == head.stdout.strip()
    assert caffe_root.commit(tmp_path / 'inner') is None
    monkeypatch.setenv('PATH', str(tmp_path))
    assert caffe_root.commit(tmp_path) is None


def test_other_system_is_told_what_it_lacks(monkeypatch):
    """Each missing program and header is named with Debian's package; what is there is not named."""
    monkeypatch.setattr(system, 'PACKAGES', {'g++': 'c++', 'libnot-dev': 'no/such.hpp', 'nottool': 'no-such-program'})
    with pytest.raises(UserError) as refusal:
        system.check_other_system('Plan 9')
    lines = str(refusal.value).splitlines()
    assert lines[0].startswith('this is Plan 9')
    assert [line.strip() for line in lines[1:]] == ['no/such.hpp (Debian: libnot-dev)', 'no-such-program (Debian: nottool)']


def test_headers_of_this_system_are_found():
    """Where Caffe was compiled, everything that the table names is there."""
    assert [thing for thing in system.PACKAGES.values() if thing and not system.is_there(thing)] == []


def test_a_header_that_goes_before_debians_is_named(tmp_path):
    """A header in /usr/local does not go with Debian's library: the message names the file and what to do."""
    system.refuse_foreign_headers(tmp_path)
    (tmp_path / 'google' / 'protobuf').mkdir(parents=True)
    (tmp_path / 'google' / 'protobuf' / 'message.h').touch()
    with pytest.raises(UserError, match=r'in the way: .*/google/protobuf/message\.h; .* Move them aside'):
        system.refuse_foreign_headers(tmp_path)
