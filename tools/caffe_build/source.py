"""Caffe's source: the archive on the Python package index that holds BVLC/caffe as it was last committed."""

import hashlib
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tools.support.atomic import whole_file
from tools.support.errors import UserError

PROJECT = 'brocolli-caffe==3.0.0'
ARCHIVE = 'brocolli-caffe-3.0.0.tar.gz'
SHA256 = 'ad7ba487552f4343df25044a9fa14812a96add48ea2ff993b53bf2dafe8248e2'
COMMIT = '9b891540183ddc834a02b2bd81b31afae71b2153'  # of BVLC/caffe; two files differ, see edits.py


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open('rb') as file:
        return hashlib.file_digest(file, 'sha256').hexdigest()


def fetch(cache: Path, python: Path) -> Path:
    """Caffe's source archive, in `cache`; fetched by the pip of `python` unless it is there whole."""
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
    """Unpack the archive into `folder`; the path of the source tree in it."""
    with tarfile.open(archive) as tar:
        tar.extraction_filter = getattr(tarfile, 'data_filter', None)  # newer than Debian 12's Python
        tar.extractall(folder)
    return folder / ARCHIVE.removesuffix('.tar.gz')
