"""Lets `tools/test.py` be run as it stands, from any folder, by any Python 3: hands over to the project's own."""

import os
import sys

from tools.support.paths import VENV


def use_project_python() -> None:
    """Start the running command again under `.venv/bin/python`, unless that runs it already; without one, end with what to do."""
    python = VENV / 'bin' / 'python'
    if sys.prefix == str(VENV):
        return
    if not python.exists():
        sys.exit(f'error: no {VENV}; run: make caffe')
    os.execv(python, [str(python), *sys.argv])
