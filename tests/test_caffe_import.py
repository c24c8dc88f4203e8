"""The import of real Caffe, and how a check that fails in it ends a command."""

import subprocess
import sys

from tools.support.paths import ROOT

UNKNOWN = """
import sys
from tools.support.caffe_import import import_caffe
caffe = import_caffe()
caffe.Net(sys.argv[1], caffe.TEST)
"""


def test_a_failed_check_is_a_line_and_status_1(tmp_path):
    """Not abort(), with a core dump and -6."""
    (tmp_path / 'net.prototxt').write_text('layer { name: "a" type: "Nope" top: "a" }')
    command = [sys.executable, '-c', UNKNOWN, str(tmp_path / 'net.prototxt')]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 1
    assert 'Unknown layer type: Nope' in finished.stderr
    assert finished.stderr.endswith('error: Caffe ended this; the check that failed is named above\n')
