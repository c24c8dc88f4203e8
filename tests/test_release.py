"""The files for those who cite, build or change the toolkit agree with the code."""

import re
import tomllib

from tools.caffe_build.system import PACKAGES
from tools.support.paths import ROOT

RENAMED = {'libglib2.0-0': 'libglib2.0-0t64'}  # Ubuntu 24.04


def test_one_version():
    """pyproject.toml, the citation and the newest heading of the list of changes."""
    version = tomllib.loads((ROOT / 'pyproject.toml').read_text())['project']['version']
    assert f'\nversion: {version}\n' in (ROOT / 'CITATION.cff').read_text()
    assert re.search(r'^## (\S+)', (ROOT / 'CHANGELOG.md').read_text(), re.MULTILINE)[1] == version


def test_ubuntus_packages_are_those_that_the_build_needs():
    """Nothing that `make caffe` installs on Debian is left out of the line to type."""
    text = (ROOT / 'tools' / 'caffe_build' / 'README.md').read_text()
    line = re.search(r'apt-get install ((?:.*\\\n)+.*)', text)[1].replace('\\\n', ' ')
    assert {RENAMED.get(name, name) for name in PACKAGES} <= set(line.split())


def test_the_import_rule_names_every_command():
    """A new one is not to be imported either."""
    rules = tomllib.loads((ROOT / 'pyproject.toml').read_text())['tool']['importlinter']['contracts']
    named = next(rule['forbidden_modules'] for rule in rules if rule['type'] == 'forbidden')
    assert sorted(named) == sorted(f'tools.{path.stem}' for path in (ROOT / 'tools').glob('*.py') if path.stem != '__init__')
