"""Caffe's source: which archives are taken, and the patches to it."""

import io
import tarfile

import pytest

from tools.caffe_build import patches, source
from tools.caffe_build.cache import cache_folder
from tools.caffe_build.environment import PYTHON
from tools.caffe_build.variant import Variant
from tools.netinfo.costs import COLUMN_BYTES
from tools.support.errors import UserError

# The two places where BVLC's tree differs from the archive on the package index, as BVLC has them.
OF_BVLC = {
    'src/caffe/util/io.cpp': (b'SetTotalBytesLimit(536870912);', b'SetTotalBytesLimit(kProtoReadBytesLimit, 536870912);'),
    'src/caffe/net.cpp': (
        b'  CopyTrainedLayersFromBinaryProto(trained_filename);\n}\n',
        b'  if (H5Fis_hdf5(trained_filename.c_str())) {\n    CopyTrainedLayersFromHDF5(trained_filename);\n  } else {\n'
        b'    CopyTrainedLayersFromBinaryProto(trained_filename);\n  }\n}\n',
    ),
}
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
    """The source archive of Caffe, which `make caffe` left in the cache."""
    cache_folder().mkdir(parents=True, exist_ok=True)
    return source.fetch(cache_folder(), PYTHON)


@pytest.fixture(scope='module')
def files(archive):
    """The files of the archive that the build reads."""
    return source.tree_files(archive)


def packed(path, files, top):
    """`path`, a .tar.gz of `files` below the folder `top`."""
    with tarfile.open(path, 'w:gz') as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(top + name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize('top', ['caffe-9b891540183ddc834a02b2bd81b31afae71b2153/', ''], ids=['a folder', 'no folder'])
def test_tree_of_bvlc_gives_the_same_files_as_the_archive(top, files, tmp_path):
    """Documents beside the source do not matter, and a file with `..` in its path is not written."""
    bvlc = dict(files) | {'docs/index.md': b'# Caffe\n', 'src/../../escaped.cpp': b''}
    for path, (ours, theirs) in OF_BVLC.items():
        assert bvlc[path].count(ours) == 1
        bvlc[path] = bvlc[path].replace(ours, theirs)
    tree = source.unpack(packed(tmp_path / 'bvlc.tar.gz', bvlc, top), tmp_path / 'below')
    assert {str(path.relative_to(tree)): path.read_bytes() for path in tree.rglob('*') if path.is_file()} == files
    assert not list(tmp_path.rglob('escaped.cpp'))


def test_another_caffe_is_refused_by_name(files, tmp_path):
    """One more byte makes it another source."""
    other = files | {'include/caffe/blob.hpp': files['include/caffe/blob.hpp'] + b'\n'}
    with pytest.raises(UserError, match=r'other.tar.gz: the files in it are not those of .* BVLC/caffe at commit 9b89154'):
        source.unpack(packed(tmp_path / 'other.tar.gz', other, 'caffe/'), tmp_path)


def test_a_file_that_is_no_archive_is_refused_by_name(tmp_path):
    """For example a web page saved under the archive's name."""
    (tmp_path / 'caffe.tar.gz').write_text('<html>')
    with pytest.raises(UserError, match='caffe.tar.gz is not an archive that tar reads'):
        source.unpack(tmp_path / 'caffe.tar.gz', tmp_path)


def test_caffe_source_names_the_file(monkeypatch, tmp_path):
    """With CAFFE_SOURCE nothing is fetched."""
    monkeypatch.setenv('CAFFE_SOURCE', str(tmp_path / 'mine.tar.gz'))
    assert source.fetch(tmp_path, PYTHON) == tmp_path / 'mine.tar.gz'


def test_changed_archive_is_fetched_again(archive, tmp_path):
    """An archive in the cache whose hash is wrong is replaced by the right one."""
    (tmp_path / source.ARCHIVE).write_bytes(archive.read_bytes()[:-1])
    assert source.sha256(source.fetch(tmp_path, PYTHON)) == source.SHA256


def patched(folder, text):
    """`text` as src/file.cpp of a tree in `folder`, after PATCH; no file if `text` is None."""
    file = folder / 'tree' / 'src' / 'file.cpp'
    file.parent.mkdir(parents=True)
    if text is not None:
        file.write_text(text)
    (folder / 'mend.patch').write_text(PATCH)
    patches.apply(folder / 'tree', ['mend'], folder)
    return file.read_text()


@pytest.mark.parametrize('above', ['', 'first\n'])
def test_a_patch_changes_its_lines(tmp_path, above):
    """Wherever the lines stand in the file, the rest stays."""
    assert patched(tmp_path, f'{above}before\nold line\nafter\n') == f'{above}before\nnew line\nafter\n'


@pytest.mark.parametrize(
    'text',
    ['before\nother line\nafter\n', 'before\nnew line\nafter\n', 'beside\nold line\nafter\n', None],
    ids=['another line', 'patched already', 'other context', 'no file'],
)
def test_a_patch_that_does_not_fit_is_refused(tmp_path, text):
    """The message names the patch and the file; similar lines are not enough."""
    with pytest.raises(UserError, match=r'(?s)mend\.patch does not fit the source of Caffe.*src/file\.cpp'):
        patched(tmp_path, text)


def test_no_program_that_patches(tmp_path, monkeypatch):
    """The message names the package to install."""
    monkeypatch.setenv('PATH', '/nowhere')
    with pytest.raises(UserError, match='install the package patch'):
        patched(tmp_path, 'before\nold line\nafter\n')


@pytest.mark.parametrize('cuda_arch', ['', '90'], ids=['cpu', 'cuda'])
@pytest.mark.parametrize('im2col', ['shared', 'as-released'])
def test_patches_fit_the_archive(im2col, cuda_arch, archive, tmp_path):
    """Every patch of a variant fits the pinned archive, and the buffer is shared only in the variant of that name."""
    tree = source.unpack(archive, tmp_path)
    patches.apply(tree, Variant(im2col, cuda_arch).patches)
    header = (tree / 'include/caffe/layers/base_conv_layer.hpp').read_text()
    layer = (tree / 'src/caffe/layers/base_conv_layer.cpp').read_text()
    assert ('thread_local' in header) == (im2col == 'shared')
    assert ('col_buffer_.' in header + layer) == (im2col == 'as-released')
    assert 'SetTotalBytesLimit(kProtoReadBytesLimit)' in (tree / 'src/caffe/util/io.cpp').read_text()


def test_every_patch_is_used_and_says_why():
    """No patch is left over, and each begins with its reason."""
    names = {path.stem for path in patches.FOLDER.glob('*.patch')}
    assert names == set(patches.series(shared_im2col=True, cuda=True))
    assert all(patches.text(name).startswith('Description: ') for name in names)


def test_patch_and_memory_estimate_make_columns_in_the_same_parts():
    """The number of bytes stands in both."""
    assert COLUMN_BYTES == 1 << 28
    assert '+const size_t kColumnBytes = size_t(1) << 28;' in patches.text('convolution-in-parts')
