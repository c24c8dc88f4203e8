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
    """The archive, in `cache`; fetched by the pip of `python` when it is not there whole. pip checks the hash before all else."""
    archive = cache / ARCHIVE
    if archive.is_file() and sha256(archive) == SHA256:
        return archive
    with tempfile.TemporaryDirectory(dir=cache, prefix='fetch-') as folder, whole_file(archive) as temporary:
        requirement = Path(folder) / 'requirement.txt'
        requirement.write_text(f'{PROJECT} --hash=sha256:{SHA256}\n', encoding='utf-8')
        pip_download(python, requirement, Path(folder))
        (Path(folder) / ARCHIVE).rename(temporary)
    return archive


def pip_download(python: Path, requirement: Path, folder: Path) -> None:
    """Download the source archive that `requirement` names into `folder`. Raises UserError with pip's last words."""
    command = [str(python), '-m', 'pip', 'download', '--no-deps', '--no-binary', ':all:', '--only-binary', 'setuptools,wheel']
    command += ['--require-hashes', '--dest', str(folder), '--requirement', str(requirement)]
    finished = subprocess.run(command, capture_output=True, text=True)
    if finished.returncode:
        raise UserError(f'cannot fetch {PROJECT} from the Python package index:\n{finished.stderr.strip()[-2000:]}')


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack the archive into `folder`; the path of the source tree in it."""
    with tarfile.open(archive) as tar:
        tar.extraction_filter = getattr(tarfile, 'data_filter', None)  # newer than Debian 12's Python
        tar.extractall(folder)
    return folder / ARCHIVE.removesuffix('.tar.gz')
