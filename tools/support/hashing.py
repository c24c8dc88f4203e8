"""Sums of files."""

import hashlib
from pathlib import Path


def file_sum(path: Path, algorithm: str = 'sha256') -> str:
    """Sum of a file's bytes, in hexadecimal; `algorithm` as hashlib names it."""
    with Path(path).open('rb') as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
