"""CAFFE_ROOT: an existing Caffe is checked, and refused with the reason; doctor; what another system lacks."""

import shutil
import subprocess
import sys

import pytest

from tools.caffe_build import caffe_root, install, system
from tools.support.errors import UserError
from tools.support.paths import ROOT, VENV

OURS = VENV / 'bin' / 'caffe'


@pytest.fixture
def root(tmp_path):
    """A folder that looks like a compiled Caffe: programs, and a package `caffe` without anything in it."""
    (tmp_path / 'build' / 'tools').mkdir(parents=True)
    for name in install.PROGRAMS:
        (tmp_path / 'build' / 'tools' / name).touch()
    (tmp_path / 'python' / 'caffe').mkdir(parents=True)
    (tmp_path / 'python' / 'caffe' / '__init__.py').touch()
    return tmp_path


def test_folder_that_is_not_there(tmp_path):
    """A wrong path is named."""
    with pytest.raises(UserError, match=r'CAFFE_ROOT=.*/nothing: no such folder'):
        caffe_root.use(tmp_path / 'nothing')


def test_caffe_that_is_not_compiled(tmp_path):
    """Source alone has no program."""
    with pytest.raises(UserError, match='no program `caffe` in build/tools'):
        caffe_root.use(tmp_path)


def test_missing_program_is_named(root):
    """All three programs are needed."""
    (root / 'build' / 'tools' / 'convert_imageset').unlink()
    with pytest.raises(UserError, match='lacks convert_imageset'):
        caffe_root.use(root)


def test_caffe_without_python(root):
    """`make pycaffe` was forgotten."""
    shutil.rmtree(root / 'python')
    with pytest.raises(UserError, match='no python/caffe'):
        caffe_root.use(root)


def test_module_of_another_python_is_refused_with_its_own_words(root):
    """A compiled module that this Python cannot load says so on import."""
    (root / 'python' / 'caffe' / '__init__.py').write_text('from ._caffe import Net\n')
    with pytest.raises(UserError, match=r'`import caffe` fails under Python 3\.\d+: .*_caffe'):
        caffe_root.use(root)


def test_everything_an_old_caffe_lacks_is_named(root):
    """Layer types, dilation, LMDB and large files are each reported, with the commit if it is known."""
    (root / 'python' / 'caffe' / '__init__.py').write_text("def layer_type_list():\n    return ['Convolution', 'Data']\n")
    with pytest.raises(UserError) as refusal:
        caffe_root.use(root)
    message = str(refusal.value)
    for part in ('commit unknown', 'layer types are missing (Crop, Deconvolution,', 'dilation', 'LMDB', '512 MiB', 'make caffe'):
        assert part in message


def test_refused_caffe_is_not_taken_into_use(root):
    """After a refusal `.venv` still has what it had."""
    before = OURS.resolve()
    with pytest.raises(UserError):
        caffe_root.use(root)
    assert OURS.resolve() == before


def test_caffe_in_use_passes_the_checks():
    """The Caffe that these tests run on answers every question with yes."""
    caffe_root.refuse_unless_fit(OURS.resolve().parents[1])


def test_probe_tells_a_failed_check_of_caffe_from_success(tmp_path):
    """A CHECK in Caffe ends the process; that counts as no, and its words are kept."""
    shutil.copytree(OURS.resolve().parents[1] / 'python', tmp_path / 'python')
    shutil.copytree(OURS.resolve().parents[1] / 'lib', tmp_path / 'lib')
    with (tmp_path / 'python' / 'caffe' / '__init__.py').open('a') as file:
        file.write('Net(__file__, TEST)\n')
    assert 'Failed to parse NetParameter file' in caffe_root.last_line(caffe_root.fault('layers', tmp_path) or '')


def test_commit_of_a_clone(tmp_path):
    """The commit is git's, when the folder itself is a clone, and not that of a repository around it."""
    subprocess.run(['git', 'init', '-q', str(tmp_path)], check=True)
    identity = ['-c', 'user.name=a', '-c', 'user.email=a@b.c']
    subprocess.run(['git', '-C', str(tmp_path), *identity, 'commit', '-q', '--allow-empty', '-m', 'a'], check=True)
    head = subprocess.run(['git', '-C', str(tmp_path), 'rev-parse', 'HEAD'], capture_output=True, text=True, check=True)
    (tmp_path / 'inner').mkdir()
    assert caffe_root.commit(tmp_path) == head.stdout.strip()
    assert caffe_root.commit(tmp_path / 'inner') is None


def test_commit_without_git(tmp_path, monkeypatch):
    """A machine without git does not know the commit, and that is no error."""
    monkeypatch.setenv('PATH', str(tmp_path))
    assert caffe_root.commit(tmp_path) is None


def test_other_system_is_told_what_it_lacks(monkeypatch):
    """Each missing program and header is named, with Debian's package for it; what is there is not."""
    monkeypatch.setattr(system, 'PACKAGES', {'g++': 'c++', 'libnot-dev': 'no/such.hpp', 'nottool': 'no-such-program'})
    with pytest.raises(UserError) as refusal:
        system.check_other_system('Plan 9')
    lines = str(refusal.value).splitlines()
    assert lines[0].startswith('this is Plan 9')
    assert [line.strip() for line in lines[1:]] == ['no/such.hpp (Debian: libnot-dev)', 'no-such-program (Debian: nottool)']


def test_headers_of_this_system_are_found():
    """Where Caffe was compiled, everything that the table names is there."""
    assert [thing for thing in system.PACKAGES.values() if thing and not system.is_there(thing)] == []


def test_doctor_before_anything_is_installed(tmp_path):
    """In a fresh checkout it says `make caffe`, without a traceback."""
    for room in ('tools', 'dataset_prep', 'pretrained'):
        shutil.copytree(ROOT / room, tmp_path / room, ignore=shutil.ignore_patterns('__pycache__', '*.caffemodel', 'downloads'))
    finished = subprocess.run([sys.executable, '-S', str(tmp_path / 'tools' / 'doctor.py')], capture_output=True, text=True)
    assert finished.returncode == 1
    assert finished.stderr == ''
    assert '.venv                  not there  -> make caffe' in finished.stdout
    assert 'vgg16                  not there  -> make weights-vgg16' in finished.stdout


def test_doctor_on_this_checkout():
    """Caffe is usable, and every question is answered."""
    finished = subprocess.run([sys.executable, str(ROOT / 'tools' / 'doctor.py')], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout
    for part in ('commit ', 'BLAS', 'layer types            yes', 'weights above 512 MiB  yes', 'camvid'):
        assert part in finished.stdout


def test_a_header_that_goes_before_debians_is_named(tmp_path):
    """A protobuf of /usr/local would be compiled against, and Debian's library linked: the file is named, with what to do."""
    system.refuse_foreign_headers(tmp_path)
    (tmp_path / 'google' / 'protobuf').mkdir(parents=True)
    (tmp_path / 'google' / 'protobuf' / 'message.h').touch()
    with pytest.raises(UserError, match=r'in the way: .*/google/protobuf/message\.h; .* Move them aside'):
        system.refuse_foreign_headers(tmp_path)
