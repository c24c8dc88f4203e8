"""Caffe's source from a file of one's own: recognised by its content, refused when that is another."""

import io
import tarfile

import pytest

from tools.caffe_build import source
from tools.caffe_build.cache import cache_folder
from tools.caffe_build.environment import PYTHON
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


@pytest.fixture(scope='module')
def files():
    """The files of the pinned archive that the build reads."""
    return source.tree_files(source.fetch(cache_folder(), PYTHON))


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
    """However it is packed, and with what else: documents, and files that lie above the tree."""
    bvlc = dict(files) | {'docs/index.md': b'# Caffe\n', 'src/../../escaped.cpp': b''}
    for path, (ours, theirs) in OF_BVLC.items():
        assert bvlc[path].count(ours) == 1
        bvlc[path] = bvlc[path].replace(ours, theirs)
    tree = source.unpack(packed(tmp_path / 'bvlc.tar.gz', bvlc, top), tmp_path / 'below')
    assert {str(path.relative_to(tree)): path.read_bytes() for path in tree.rglob('*') if path.is_file()} == files
    assert not list(tmp_path.rglob('escaped.cpp'))


def test_another_caffe_is_refused_by_name(files, tmp_path):
    """One changed byte is another source."""
    other = files | {'include/caffe/blob.hpp': files['include/caffe/blob.hpp'] + b'\n'}
    with pytest.raises(UserError, match=r'other.tar.gz: the files in it are not those of .* BVLC/caffe at commit 9b89154'):
        source.unpack(packed(tmp_path / 'other.tar.gz', other, 'caffe/'), tmp_path)


def test_a_file_that_is_no_archive_is_refused_by_name(tmp_path):
    """A web page saved under the name, say."""
    (tmp_path / 'caffe.tar.gz').write_text('<html>')
    with pytest.raises(UserError, match='caffe.tar.gz is not an archive that tar reads'):
        source.unpack(tmp_path / 'caffe.tar.gz', tmp_path)


def test_the_variable_names_the_file(monkeypatch, tmp_path):
    """Nothing is fetched then."""
    monkeypatch.setenv('CAFFE_SOURCE', str(tmp_path / 'mine.tar.gz'))
    assert source.fetch(tmp_path, PYTHON) == tmp_path / 'mine.tar.gz'
