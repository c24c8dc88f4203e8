"""The documents agree with the code: they name every row of the tables, and nothing that does not exist."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from pretrained.weights import WEIGHTS
from prototxt.experiments import NETS, STAGES
from prototxt.generate import ON_DEMAND, generate
from prototxt.tables_md import as_markdown
from tools.caffe_build.system import PACKAGES
from tools.support.paths import PROTOTXT, ROOT

DOCUMENTS = [*ROOT.glob('*.md'), *ROOT.glob('*/*.md'), *ROOT.glob('tools/*/*.md')]
TEXT = '\n'.join(path.read_text() for path in DOCUMENTS)
TARGETS = sorted(set(re.findall(r'(?m)(?:`|^    |&& )make ([a-z][a-z0-9-]*[a-z0-9])(?![A-Za-z0-9-])', TEXT)))  # in code only
CAFFE_COMMANDS = re.findall(r'(?m)^ *(.*caffe (?:train|test|time) --?\w.*)$', TEXT)
PYPROJECT = tomllib.loads((ROOT / 'pyproject.toml').read_text())
RENAMED = {'libglib2.0-0': 'libglib2.0-0t64'}  # Ubuntu 24.04


def test_the_tables_are_those_of_the_code():
    """TABLES.md is what `make prototxt` writes."""
    assert (PROTOTXT / 'TABLES.md').read_text() == as_markdown()


@pytest.mark.parametrize(
    ('document', 'name'),
    [*(('prototxt/TABLES.md', name) for name in (*NETS, *STAGES)), *(('pretrained/README.md', name) for name in WEIGHTS)],
)
def test_every_row_is_in_a_document(document, name):
    """A network, stage or weight file that no one can read about is as good as missing."""
    assert f'`{name}`' in (ROOT / document).read_text()


def test_every_make_target_exists():
    """Each `make X` of the documents is known to make, and `make train-X` is a stage or chain."""
    said = subprocess.run(['make', '-n', '-k', *TARGETS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert [line for line in said.stderr.splitlines() if 'No rule' in line] == []
    assert [line for line in said.stdout.splitlines() if 'prototxt.listing unknown' in line] == []


@pytest.mark.parametrize('script', sorted(set(re.findall(r'python3 (tools/\w+\.py)', TEXT))))
def test_every_command_exists(script):
    """Each `python3 tools/X.py` of the documents is an executable file."""
    assert (ROOT / script).stat().st_mode & 0o100


@pytest.mark.parametrize('command', CAFFE_COMMANDS)
def test_caffe_commands_run_as_they_are_printed(command, tmp_path):
    """They name the program by its path in the checkout. The prototxt is there, or `make prototxt NET=` writes it."""
    assert re.match(r'(PYTHONPATH=\S+ \S+ )?\.venv/bin/caffe ', command)
    for path in map(Path, re.findall(r'\S+\.prototxt', command)):
        if path.is_relative_to(ON_DEMAND):
            written = generate(tmp_path, [path.relative_to(ON_DEMAND).parts[0]])
            assert tmp_path / path.relative_to(ON_DEMAND) in written
        else:
            assert (ROOT / path).is_file()


def test_no_placeholder_is_left():
    """@@ stands for a number that is still to be measured."""
    assert '@@' not in TEXT


def test_one_version():
    """pyproject.toml, the citation, and the newest heading of the list of changes have the same version."""
    version = PYPROJECT['project']['version']
    assert f'\nversion: {version}\n' in (ROOT / 'CITATION.cff').read_text()
    assert re.search(r'^## (\S+)', (ROOT / 'CHANGELOG.md').read_text(), re.MULTILINE)[1] == version


def test_ubuntus_packages_are_those_that_the_build_needs():
    """The line to type for Ubuntu contains every package that `make caffe` installs on Debian."""
    text = (ROOT / 'tools' / 'caffe_build' / 'README.md').read_text()
    line = re.search(r'apt-get install ((?:.*\\\n)+.*)', text)[1].replace('\\\n', ' ')
    assert {RENAMED.get(name, name) for name in PACKAGES} <= set(line.split())


def test_the_import_rule_names_every_command():
    """A new command must not be imported either."""
    rules = PYPROJECT['tool']['importlinter']['contracts']
    named = next(rule['forbidden_modules'] for rule in rules if rule['type'] == 'forbidden')
    assert sorted(named) == sorted(f'tools.{path.stem}' for path in (ROOT / 'tools').glob('*.py') if path.stem != '__init__')
