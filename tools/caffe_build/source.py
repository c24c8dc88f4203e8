"""Caffe's source: the archive on the Python package index that holds BVLC/caffe's last commit, or a file of one's own."""

import hashlib
import os
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tools.support.atomic import whole_file
from tools.support.errors import UserError

PROJECT = 'brocolli-caffe==3.0.0'
ARCHIVE = 'brocolli-caffe-3.0.0.tar.gz'
SHA256 = 'ad7ba487552f4343df25044a9fa14812a96add48ea2ff993b53bf2dafe8248e2'
COMMIT = '9b891540183ddc834a02b2bd81b31afae71b2153'  # of BVLC/caffe; two files differ, see AS_IN_ARCHIVE
NET = 'src/caffe/net.cpp'
OWN_FILE = 'CAFFE_SOURCE'  # the variable that names an archive of one's own
READ_BY_BUILD = ('src/', 'include/', 'python/caffe/', 'tools/')
TREE_SHA256 = 'ceb55f92fda453f5f35ac4a99913debae1dc760f6c5f4be92a97a33267996938'  # of those files of the archive, see tree_sha256

# Where the archive differs from BVLC's tree: file -> pattern of BVLC's text, and the archive's.
AS_IN_ARCHIVE = {
    'src/caffe/util/io.cpp': (rb'SetTotalBytesLimit\([^;]*\);', b'SetTotalBytesLimit(536870912);'),
    NET: (
        rb'(::CopyTrainedLayersFrom\(const string& trained_filename\) \{\n).*?\n\}\n',
        rb'\1  CopyTrainedLayersFromBinaryProto(trained_filename);\n}\n',
    ),
}


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def fetch(cache: Path, python: Path) -> Path:
    """Caffe's source archive: the file that CAFFE_SOURCE names, or one in `cache`, fetched by the pip of `python` if need be."""
    own = os.environ.get(OWN_FILE)
    if own:
        return Path(own).expanduser()
    options = ['--no-binary', ':all:', '--only-binary', 'setuptools,wheel']
    return fetch_package(cache, ARCHIVE, PROJECT, SHA256, python, options)


def fetch_package(cache: Path, name: str, project: str, digest: str, python: Path, options: list[str]) -> Path:
    """The file of `project` on the Python package index whose SHA-256 is `digest`, as `cache`/`name`.

    It is fetched by the pip of `python`, with `options`, unless it is there whole. pip checks the digest before all else.
    Raises UserError with pip's last words.
    """
    path = cache / name
    if path.is_file() and sha256(path) == digest:
        return path
    with tempfile.TemporaryDirectory(dir=cache, prefix='fetch-') as folder, whole_file(path) as temporary:
        requirement = Path(folder) / 'requirement.txt'
        requirement.write_text(f'{project} --hash=sha256:{digest}\n', encoding='utf-8')
        download = Path(folder) / 'download'
        command = [str(python), '-m', 'pip', 'download', '--no-deps', *options, '--require-hashes', '--dest', str(download)]
        finished = subprocess.run([*command, '--requirement', str(requirement)], capture_output=True, text=True)
        if finished.returncode:
            raise UserError(f'cannot fetch {project} from the Python package index:\n{finished.stderr.strip()[-2000:]}')
        next(download.iterdir()).rename(temporary)
    return path


def unpack(archive: Path, folder: Path) -> Path:
    """Write the files that the build reads into a new folder below `folder`, and return that.

    The archive may be the one on the package index or BVLC's own tree at COMMIT, packed in any way that tarfile reads. Its
    content decides. Raises UserError for any other file.
    """
    files = tree_files(archive)
    for path, (theirs, ours) in AS_IN_ARCHIVE.items():
        files[path] = re.sub(theirs, ours, files.get(path, b''), count=1, flags=re.DOTALL)
    if tree_sha256(files) != TREE_SHA256:
        raise UserError(
            f'{archive}: the files in it are not those of {PROJECT}, nor of BVLC/caffe at commit {COMMIT[:7]}; '
            f'without {OWN_FILE} the right archive is fetched'
        )
    tree = folder / 'caffe'
    for path, content in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_bytes(content)
    return tree


def tree_files(archive: Path) -> dict[str, bytes]:
    """Files of a packed Caffe that the build reads, by path below the top of the tree. Raises UserError for no such archive."""
    try:
        with tarfile.open(archive) as tar:
            members = [member for member in tar if member.isfile()]
            tops = [
                member.name.removesuffix('src/caffe/net.cpp') for member in members if member.name.endswith('src/caffe/net.cpp')
            ]
            top = min(tops, key=len, default='')
            named = {member.name.removeprefix(top): member for member in members if member.name.startswith(top)}
            return {path: tar.extractfile(member).read() for path, member in named.items() if _is_read(path)}  # type: ignore[union-attr]
    except (tarfile.TarError, EOFError) as error:
        raise UserError(f'{archive} is not an archive that tar reads ({error}); pack the source as .tar.gz') from error


def _is_read(path: str) -> bool:
    return path.startswith(READ_BY_BUILD) and '..' not in path.split('/') and '__pycache__' not in path


def tree_sha256(files: dict[str, bytes]) -> str:
    """SHA-256, in hex, of the paths and contents of some files."""
    lines = [f'{hashlib.sha256(content).hexdigest()} {path}\n' for path, content in files.items()]
    return hashlib.sha256(''.join(sorted(lines)).encode()).hexdigest()
