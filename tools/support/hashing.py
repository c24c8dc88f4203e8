"""Checksums of files."""

import hashlib
from pathlib import Path


def file_sum(path: Path, algorithm: str = 'sha256') -> str:
    """Hexadecimal checksum of a file; `algorithm` is a name of hashlib."""
    with Path(path).open('rb') as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
