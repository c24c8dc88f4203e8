"""The documents name every row of the tables, and nothing that is not there."""

import re
import subprocess
from pathlib import Path

import pytest

from pretrained.weights import WEIGHTS
from prototxt.experiments import NETS, STAGES
from prototxt.generate import ON_DEMAND, generate
from prototxt.tables_md import as_markdown
from tools.support.paths import PROTOTXT, ROOT

DOCUMENTS = [*ROOT.glob('*.md'), *ROOT.glob('*/*.md'), *ROOT.glob('tools/*/*.md')]
TEXT = '\n'.join(path.read_text() for path in DOCUMENTS)

TARGETS = sorted(
    set(re.findall(r'(?m)(?:`|^    |&& )make ([a-z][a-z0-9-]*[a-z0-9])(?![A-Za-z0-9-])', TEXT))
)  # in code, not in prose


def test_the_tables_are_those_of_the_code():
    """TABLES.md is what `make prototxt` writes."""
    assert (PROTOTXT / 'TABLES.md').read_text() == as_markdown()


@pytest.mark.parametrize('name', [*NETS, *STAGES])
def test_every_row_is_in_the_tables(name):
    """A network or stage that no one can read about is as good as missing."""
    assert f'`{name}`' in as_markdown()


@pytest.mark.parametrize('name', WEIGHTS)
def test_every_weight_file_is_in_its_readme(name):
    """As for networks."""
    assert f'`{name}`' in (ROOT / 'pretrained' / 'README.md').read_text()


@pytest.mark.parametrize('target', TARGETS)
def test_every_make_target_exists(target):
    """Each `make X` of the documents is known to make."""
    finished = subprocess.run(['make', '-n', target], cwd=ROOT, capture_output=True, text=True, check=False)
    assert 'No rule' not in finished.stderr, finished.stderr
    assert 'prototxt.listing unknown' not in finished.stdout, 'no stage of this name'


@pytest.mark.parametrize('script', sorted(set(re.findall(r'python3 (tools/\w+\.py)', TEXT))))
def test_every_command_exists(script):
    """Each `python tools/X.py` of the documents is a file that can be executed as it stands."""
    assert (ROOT / script).stat().st_mode & 0o100


def test_no_placeholder_is_left():
    """Numbers that were to be measured have been."""
    assert '@@' not in TEXT


CAFFE_COMMANDS = [
    line.strip()
    for path in DOCUMENTS
    for line in path.read_text().splitlines()
    if re.search(r'caffe (train|test|time) --?\w', line)
]


@pytest.mark.parametrize('command', CAFFE_COMMANDS)
def test_caffe_commands_run_as_they_are_printed(command, tmp_path):
    """In the checkout: the program is named by its path, and the prototxt is there or `make prototxt NET=` writes it."""
    assert re.match(r'(PYTHONPATH=\S+ \S+ )?\.venv/bin/caffe ', command)
    for path in map(Path, re.findall(r'\S+\.prototxt', command)):
        if path.is_relative_to(ON_DEMAND):
            written = generate(tmp_path, [path.relative_to(ON_DEMAND).parts[0]])
            assert tmp_path / path.relative_to(ON_DEMAND) in written
        else:
            assert (ROOT / path).is_file()
