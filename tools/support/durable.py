"""Files that are there after a power cut."""

import os
from pathlib import Path


def to_disk(*paths: Path) -> None:
    """Wait until the content of files, and their names, are on the disk and not only in the system's memory."""
    for path in [*paths, *{path.parent for path in paths}]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
