"""Which version of this toolkit made a file."""

import subprocess
import tomllib

from tools.support.paths import ROOT


def toolkit_version() -> str:
    """Such as '0.1.0 (3f8e1c2)': the version in pyproject.toml, and the commit of this checkout if it is one."""
    project = tomllib.loads((ROOT / 'pyproject.toml').read_text(encoding='utf-8'))['project']
    commit = git_commit()
    return f'{project["version"]} ({commit[:7]})' if commit else project['version']


def git_commit() -> str | None:
    """The commit of this checkout, if it is one."""
    try:
        answer = subprocess.run(['git', '-C', str(ROOT), 'rev-parse', 'HEAD'], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return answer.stdout.strip() or None
