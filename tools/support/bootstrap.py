"""Lets `tools/test.py` be run as it stands, from any folder: hands over to the project's own Python."""

import os
import sys

from tools.support.paths import VENV


def use_project_python() -> None:
    """Start the running command again under `.venv/bin/python`, unless it already is or there is none."""
    python = VENV / 'bin' / 'python'
    if sys.prefix != str(VENV) and python.exists():
        os.execv(python, [str(python), *sys.argv])
