"""Builds in the cache: a whole one is used, any other is made again."""

import json
import shutil
import subprocess
import sys

import pytest

from tools.caffe_build import cache, compile, onednn, openblas, source
from tools.caffe_build.environment import PYTHON
from tools.caffe_build.variant import Variant
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
def test_only_a_whole_build_is_used(entry, harm):
    """A build is whole only under its own key, and only until one of its files differs."""
    assert cache.is_whole(entry, 'k') and not cache.is_whole(entry, 'other')
    harm(entry)
    assert not cache.is_whole(entry, 'k')


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


HOLDER = """
import sys; from pathlib import Path; from tools.caffe_build import cache
with cache.only_one(Path(sys.argv[1])):
    print("in", flush=True); sys.stdin.read()
"""


def test_second_make_waits_for_the_first(tmp_path):
    """A process that wants the lock says that it waits, and gets it when the holder ends."""
    command, pipe = [sys.executable, '-c', HOLDER, str(tmp_path)], subprocess.PIPE
    first = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe)
    assert first.stdout.readline() == b'in\n'
    second = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    assert b'waiting' in second.stderr.readline()
    assert second.poll() is None
    first.communicate(b'')
    assert second.communicate()[0] == b'in\n'


# configure: remember the prefix; build: count; install: write one file there
FAKE_CMAKE = """#!/bin/sh
for word; do case $word in -DCMAKE_INSTALL_PREFIX=*) echo "${word#*=}" > "$FAKE/prefix";; esac; done
case $1 in
  --build) echo built >> "$FAKE/count"; [ ! -e "$FAKE/fail" ];;
  --install) mkdir "$(cat "$FAKE/prefix")/lib" && echo library > "$(cat "$FAKE/prefix")/lib/libcaffe.so";;
esac
"""


@pytest.fixture
def compiler(tmp_path, monkeypatch):
    """A folder with an empty cache, and a stand-in for CMake that counts its builds there and fails if the file `fail` exists."""
    program = tmp_path / 'bin' / 'cmake'
    program.parent.mkdir()
    program.write_text(FAKE_CMAKE)
    program.chmod(0o755)
    monkeypatch.setenv('FAKE', str(tmp_path))
    monkeypatch.setenv('PATH', f'{program.parent}:/usr/bin:/bin')
    (tmp_path / 'cache').mkdir()
    for fetched in (source.fetch(cache.cache_folder(), PYTHON), openblas.fetch(cache.cache_folder(), PYTHON)):
        shutil.copy(fetched, tmp_path / 'cache')
    return tmp_path


def test_second_build_comes_from_the_cache_and_a_broken_one_is_made_again(compiler):
    """Two calls compile once; a third compiles again, as a file of the entry was cut short."""
    count = compiler / 'count'
    entry = compile.build(compiler / 'cache', Variant('as-released'), PYTHON)
    manifest = json.loads((entry / cache.MANIFEST).read_text())
    assert (manifest['commit'], manifest['im2col'], manifest['blas']) == (source.COMMIT, 'as-released', 'bundled')
    assert list(manifest['files']) == ['lib/libcaffe.so']
    assert compile.build(compiler / 'cache', Variant('as-released'), PYTHON) == entry
    assert count.read_text() == 'built\n'
    (entry / 'lib' / 'libcaffe.so').write_text('libr')
    compile.build(compiler / 'cache', Variant('as-released'), PYTHON)
    assert count.read_text() == 'built\nbuilt\n'
    assert (entry / 'lib' / 'libcaffe.so').read_text() == 'library\n'


def test_failed_compilation_is_an_error_and_leaves_no_entry(compiler):
    """The error names the step, and only what was fetched stays in the cache."""
    (compiler / 'fail').touch()
    with pytest.raises(UserError, match='cmake --build failed'):
        compile.build(compiler / 'cache', Variant(), PYTHON)
    wheels = 1 + (len(onednn.SHA256) if onednn.wheel_sha256() else 0)  # OpenBLAS, and oneDNN with its headers
    assert sorted(path.suffix for path in (compiler / 'cache').iterdir()) == ['.gz', *(['.whl'] * wheels)]
