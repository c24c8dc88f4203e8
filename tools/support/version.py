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
    """The commit of this checkout; None if it is not a git checkout."""
    return _git('rev-parse', 'HEAD') or None


def uncommitted() -> list[str]:
    """The files that differ from that commit, as git names them; empty if git cannot tell."""
    return (_git('status', '--porcelain') or '').splitlines()


def _git(*words: str) -> str | None:
    """The output of git in this checkout, stripped; None without git."""
    try:
        return subprocess.run(['git', '-C', str(ROOT), *words], capture_output=True, text=True).stdout.strip()
    except FileNotFoundError:
        return None
