"""The patches to Caffe's source: each fits exactly, or is refused."""

import shutil

import pytest

from tools.caffe_build import patches, source
from tools.caffe_build.cache import cache_folder
from tools.caffe_build.environment import PYTHON
from tools.caffe_build.variant import Variant
from tools.netinfo.costs import COLUMN_BYTES
from tools.support.errors import UserError

PATCH = """Description: A test.

--- a/src/file.cpp
+++ b/src/file.cpp
@@ -1,3 +1,3 @@
 before
-old line
+new line
 after
"""


@pytest.fixture(scope='module')
def archive():
    """The source archive of Caffe, which `make caffe` has left in the cache."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return source.fetch(folder, PYTHON)


@pytest.fixture
def small(tmp_path):
    """A tree of one file, and a folder with PATCH; the function patches the tree and returns the file's text."""
    (tmp_path / 'tree' / 'src').mkdir(parents=True)
    (tmp_path / 'mend.patch').write_text(PATCH)

    def patched(text):
        file = tmp_path / 'tree' / 'src' / 'file.cpp'
        file.write_text(text)
        patches.apply(tmp_path / 'tree', ['mend'], tmp_path)
        return file.read_text()

    return patched


def test_a_patch_changes_its_lines(small):
    """Wherever they stand in the file, the rest stays."""
    assert small('before\nold line\nafter\n') == 'before\nnew line\nafter\n'
    assert small('first\nbefore\nold line\nafter\n') == 'first\nbefore\nnew line\nafter\n'


@pytest.mark.parametrize(
    'text',
    ['before\nother line\nafter\n', 'before\nnew line\nafter\n', 'beside\nold line\nafter\n'],
    ids=['another line', 'patched already', 'other context'],
)
def test_a_patch_that_does_not_fit_is_refused(small, text):
    """The message names the patch and the file. Nothing is guessed from lines that are only alike."""
    with pytest.raises(UserError, match=r'(?s)mend\.patch does not fit the source of Caffe.*src/file\.cpp'):
        small(text)


def test_a_file_that_is_not_there_is_named(small, tmp_path):
    """So is a source without the file."""
    shutil.rmtree(tmp_path / 'tree')
    (tmp_path / 'tree').mkdir()
    with pytest.raises(UserError, match=r'(?s)mend\.patch does not fit.*src/file\.cpp'):
        patches.apply(tmp_path / 'tree', ['mend'], tmp_path)


def test_no_program_that_patches(small, monkeypatch):
    """The package to install is named."""
    monkeypatch.setenv('PATH', '/nowhere')
    with pytest.raises(UserError, match='install the package patch'):
        small('before\nold line\nafter\n')


@pytest.mark.parametrize('cuda_arch', ['', '90'], ids=['cpu', 'cuda'])
@pytest.mark.parametrize('im2col', ['shared', 'as-released'])
def test_patches_fit_the_archive(im2col, cuda_arch, archive, tmp_path):
    """Every patch of a variant fits the pinned archive, and buffers are shared in one variant only."""
    tree = source.unpack(archive, tmp_path)
    patches.apply(tree, Variant(im2col, cuda_arch).patches)
    header = (tree / 'include/caffe/layers/base_conv_layer.hpp').read_text()
    layer = (tree / 'src/caffe/layers/base_conv_layer.cpp').read_text()
    assert ('thread_local' in header) == (im2col == 'shared')
    assert ('col_buffer_.' in header + layer) == (im2col == 'as-released')
    assert 'SetTotalBytesLimit(kProtoReadBytesLimit)' in (tree / 'src/caffe/util/io.cpp').read_text()


def test_every_patch_is_used_and_says_why():
    """A file that no build takes would mislead, and so would a patch without its reason."""
    names = {path.stem for path in patches.FOLDER.glob('*.patch')}
    assert names == set(patches.series(shared_im2col=True, cuda=True))
    assert all(patches.text(name).startswith('Description: ') for name in names)


def test_the_cpu_build_takes_no_patch_of_the_cuda_build():
    """So that they cannot change a CPU build or its key."""
    for im2col in ('shared', 'as-released'):
        assert not any(name.startswith('cuda') for name in Variant(im2col).patches)


def test_columns_of_a_part_are_as_many_as_the_estimate_of_memory_takes():
    """The number stands in a patch and in the rules for memory."""
    assert COLUMN_BYTES == 1 << 28
    assert '+const size_t kColumnBytes = size_t(1) << 28;' in patches.text('convolution-in-parts')


def test_changed_archive_is_fetched_again_not_used(archive, tmp_path):
    """An archive in the cache whose sum is wrong is replaced by the right one."""
    (tmp_path / source.ARCHIVE).write_bytes(archive.read_bytes()[:-1])
    assert source.sha256(source.fetch(tmp_path, PYTHON)) == source.SHA256
