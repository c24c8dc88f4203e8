"""The edits to Caffe's source: made exactly, or refused."""

import pytest

from tools.caffe_build import edits, source
from tools.caffe_build.cache import cache_folder
from tools.caffe_build.edits import Edit
from tools.caffe_build.environment import PYTHON
from tools.caffe_build.variant import Variant
from tools.support.errors import UserError


@pytest.fixture(scope='module')
def archive():
    """The source archive of Caffe, which `make caffe` has left in the cache."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return source.fetch(folder, PYTHON)


def edit_of(text, old='old line\n', new='new line\n', tmp_path=None):
    """The file of a small tree after one edit."""
    (tmp_path / 'file.cpp').write_text(text)
    edits.apply_edits(tmp_path, [Edit('file.cpp', old, new, 'test')])
    return (tmp_path / 'file.cpp').read_text()


def test_edit_replaces_the_old_text(tmp_path):
    """One occurrence is replaced, the rest stays."""
    assert edit_of('a\nold line\nb\n', tmp_path=tmp_path) == 'a\nnew line\nb\n'


def test_missing_old_text_is_refused(tmp_path):
    """A source that lacks the old text is not the one the edit was made for; the message shows file and text."""
    with pytest.raises(UserError, match=r'(?s)file\.cpp.*found it 0 times.*old line'):
        edit_of('a\nb\n', tmp_path=tmp_path)


def test_repeated_old_text_is_refused(tmp_path):
    """Which of two is meant cannot be known."""
    with pytest.raises(UserError, match='found it 2 times'):
        edit_of('old line\nold line\n', tmp_path=tmp_path)


def test_missing_file_is_refused(tmp_path):
    """So is a source without the file."""
    with pytest.raises(UserError, match=r'src/nothing\.cpp is missing'):
        edits.apply_edits(tmp_path, [Edit('src/nothing.cpp', 'a', 'b', 'test')])


@pytest.mark.parametrize('cuda_arch', ['', '90'], ids=['cpu', 'cuda'])
@pytest.mark.parametrize('im2col', ['shared', 'as-released'])
def test_edits_fit_the_archive(im2col, cuda_arch, archive, tmp_path):
    """Every edit of a variant finds its text in the pinned archive, and buffers are shared in one variant only."""
    tree = source.unpack(archive, tmp_path)
    edits.apply_edits(tree, Variant(im2col, cuda_arch).edits)
    header = (tree / edits.BASE_CONV_HPP).read_text()
    layer = (tree / edits.BASE_CONV_CPP).read_text()
    assert ('thread_local' in header) == (im2col == 'shared')
    assert ('col_buffer_.' in header + layer) == (im2col == 'as-released')
    assert 'SetTotalBytesLimit(kProtoReadBytesLimit)' in (tree / 'src/caffe/util/io.cpp').read_text()


def test_changed_archive_is_fetched_again_not_used(archive, tmp_path):
    """An archive in the cache whose sum is wrong is replaced by the right one."""
    (tmp_path / source.ARCHIVE).write_bytes(archive.read_bytes()[:-1])
    assert source.sha256(source.fetch(tmp_path, PYTHON)) == source.SHA256
