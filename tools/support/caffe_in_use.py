"""Finds the build of Caffe that is in use, and its manifest."""

import json
import os
from pathlib import Path

from tools.support.paths import CAFFE

MANIFEST = 'manifest.json'  # in the folder of a build


def log_errors_only() -> None:
    """Keep Caffe's log to errors, unless GLOG_minloglevel says otherwise. It counts when Caffe's library is loaded."""
    os.environ.setdefault('GLOG_minloglevel', '2')


def in_use() -> Path | None:
    """The folder with bin/ of the build that `.venv/bin/caffe` belongs to; None if there is no such program."""
    return CAFFE.resolve().parents[1] if CAFFE.exists() else None


def manifest_in_use() -> dict:
    """The manifest of the Caffe in use; empty if there is no Caffe, or if this toolkit did not build it."""
    folder = in_use()
    return (read_manifest(folder) if folder else None) or {}


def read_manifest(folder: Path) -> dict | None:
    """The manifest of a build; None if it is missing or not readable."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return None
    return manifest if isinstance(manifest, dict) and manifest.get('files') else None
