"""Which build of Caffe is in use, and what it was made of."""

import json
from pathlib import Path

from tools.support.paths import CAFFE

MANIFEST = 'manifest.json'  # in the folder of a build


def in_use() -> Path | None:
    """The folder of the Caffe whose program `.venv/bin/caffe` is, the one that holds bin/; None without that program."""
    return CAFFE.resolve().parents[1] if CAFFE.exists() else None


def manifest_in_use() -> dict:
    """The manifest of the Caffe in use; empty if there is none, or one that this toolkit did not build."""
    folder = in_use()
    return (read_manifest(folder) if folder else None) or {}


def read_manifest(folder: Path) -> dict | None:
    """The manifest of a build; None when it is missing or not readable."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and manifest.get('files') else None
