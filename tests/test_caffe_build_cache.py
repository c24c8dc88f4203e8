"""Builds in the cache are used when whole, else made again; and the key that names them."""

import json
import shutil
import subprocess
import sys
import textwrap

import pytest

from tools.caffe_build import cache, compile, openblas, source
from tools.caffe_build.environment import PYTHON
from tools.caffe_build.variant import Variant, key, variant_from
from tools.support.errors import UserError
from tools.support.paths import ROOT


@pytest.fixture
def entry(tmp_path):
    """A small whole build with the key 'k'."""
    with cache.new_entry(tmp_path / 'k') as folder:
        (folder / 'bin').mkdir()
        (folder / 'bin' / 'caffe').write_text('program')
        (folder / 'libcaffe.so').write_text('library')
        cache.write_manifest(folder, {'key': 'k'})
    return tmp_path / 'k'


def test_whole_build_is_used(entry):
    """Nothing was touched: whole."""
    assert cache.is_whole(entry, 'k')


@pytest.mark.parametrize(
    'harm',
    [
        lambda entry: (entry / 'libcaffe.so').write_text('librar!'),
        lambda entry: (entry / 'bin' / 'caffe').unlink(),
        lambda entry: (entry / 'bin' / 'more').write_text(''),
        lambda entry: (entry / 'manifest.json').unlink(),
        lambda entry: (entry / 'manifest.json').write_text((entry / 'manifest.json').read_text()[:40]),
        lambda entry: (entry / 'manifest.json').write_text('[]'),
    ],
    ids=['changed', 'missing', 'additional', 'no manifest', 'half a manifest', 'foreign manifest'],
)
def test_harmed_build_is_not_used(entry, harm):
    """Any difference from what was written makes it unusable."""
    harm(entry)
    assert not cache.is_whole(entry, 'k')


def test_build_of_another_key_is_not_used(entry):
    """A folder renamed by hand does not pass for another build."""
    assert not cache.is_whole(entry, 'other')


def test_failed_build_leaves_the_old_one_and_no_trace(entry):
    """A build that ends in an error changes nothing in the cache."""
    with pytest.raises(UserError), cache.new_entry(entry) as folder:
        (folder / 'libcaffe.so').write_text('half')
        raise UserError('the compiler failed')
    assert cache.is_whole(entry, 'k')
    assert [path.name for path in entry.parent.iterdir()] == ['k']


def test_sweep_removes_what_a_killed_build_left(entry):
    """Temporary folders go, finished builds stay."""
    for name in ('building-k-x1', 'source-x2', 'fetch-x3'):
        (entry.parent / name).mkdir()
    cache.sweep(entry.parent)
    assert [path.name for path in entry.parent.iterdir()] == ['k']


HOLDER = """\
import sys; from pathlib import Path; from tools.caffe_build import cache
with cache.only_one(Path(sys.argv[1])):
    """


def test_second_make_waits_for_the_first(tmp_path):
    """While one process holds the lock another does not get in; once it ends, the other does."""
    first = subprocess.Popen(
        [sys.executable, '-c', HOLDER + 'print("in", flush=True); sys.stdin.read()', str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert first.stdout.readline() == b'in\n'
    second = subprocess.Popen(
        [sys.executable, '-c', HOLDER + 'print("in", flush=True)', str(tmp_path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert b'waiting' in second.stderr.readline()
    assert second.poll() is None
    first.communicate(b'')
    assert second.communicate()[0] == b'in\n'


FAKE_CMAKE = """\
    #!/bin/sh
    # configure: remember the prefix; build: count; install: write one file there
    for word; do case $word in -DCMAKE_INSTALL_PREFIX=*) echo "${word#*=}" > "$FAKE/prefix";; esac; done
    case $1 in
      --build) echo built >> "$FAKE/count"; [ ! -e "$FAKE/fail" ];;
      --install) mkdir "$(cat "$FAKE/prefix")/lib" && echo library > "$(cat "$FAKE/prefix")/lib/libcaffe.so";;
    esac
"""


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """A stand-in for CMake that counts how often it compiles, and fails while the file `fail` is there; and an empty cache."""
    program = tmp_path / 'bin' / 'cmake'
    program.parent.mkdir()
    program.write_text(textwrap.dedent(FAKE_CMAKE))
    program.chmod(0o755)
    monkeypatch.setenv('FAKE', str(tmp_path))
    monkeypatch.setenv('PATH', f'{program.parent}:/usr/bin:/bin')
    own = tmp_path / 'cache'
    own.mkdir()
    shutil.copy(source.fetch(cache.cache_folder(), PYTHON), own)
    shutil.copy(openblas.fetch(cache.cache_folder(), PYTHON), own)
    return tmp_path


def compiled(compiler):
    """How often the compiler ran."""
    return len((compiler / 'count').read_text().splitlines())


def test_second_build_comes_from_the_cache_and_a_broken_one_is_made_again(compiler):
    """Compiled once for two calls; again when a file of the entry was cut short."""
    folder = compiler / 'cache'
    entry = compile.build(folder, Variant(), PYTHON)
    assert compile.build(folder, Variant(), PYTHON) == entry
    assert compiled(compiler) == 1
    (entry / 'lib' / 'libcaffe.so').write_text('libr')
    compile.build(folder, Variant(), PYTHON)
    assert compiled(compiler) == 2
    assert (entry / 'lib' / 'libcaffe.so').read_text() == 'library\n'


def test_failed_compilation_is_an_error_and_leaves_no_entry(compiler):
    """One message, and only what was fetched stays in the cache."""
    (compiler / 'fail').touch()
    with pytest.raises(UserError, match='cmake --build failed'):
        compile.build(compiler / 'cache', Variant(), PYTHON)
    kept = sorted(path.suffix for path in (compiler / 'cache').iterdir())
    assert kept == ['.gz', '.whl']


def test_key_names_the_variant():
    """Builds of different sorts never share a name."""
    keys = {key(Variant()), key(Variant('as-released')), key(Variant(blas='system'))}
    assert len(keys) == 3


def test_key_does_not_depend_on_where_the_checkout_lies(tmp_path):
    """A copy of the scripts elsewhere finds the same build."""
    shutil.copytree(ROOT / 'tools', tmp_path / 'tools', ignore=shutil.ignore_patterns('__pycache__'))
    command = [sys.executable, '-c', 'from tools.caffe_build.variant import Variant, key; print(key(Variant()))']
    there = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True, env={'PATH': '/usr/bin:/bin'})
    here = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env={'PATH': '/usr/bin:/bin'})
    assert there.stdout == here.stdout


def test_unknown_im2col_is_refused():
    """IM2COL has two values."""
    with pytest.raises(UserError, match='IM2COL=own: choose one of shared, as-released'):
        variant_from({'IM2COL': 'own'})


def test_manifest_says_what_was_built(compiler):
    """Commit, buffer and BLAS are on record beside the hashes."""
    entry = compile.build(compiler / 'cache', Variant('as-released'), PYTHON)
    manifest = json.loads((entry / cache.MANIFEST).read_text())
    assert (manifest['commit'], manifest['im2col'], manifest['blas']) == (source.COMMIT, 'as-released', 'bundled')
    assert list(manifest['files']) == ['lib/libcaffe.so']
