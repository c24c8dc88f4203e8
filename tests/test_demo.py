"""`make demo` with few images and iterations: all commands from drawing to the report."""

import json
import subprocess
import sys

import cv2
import pytest

from dataset_prep.datasets import dataset
from tools import demo as command
from tools.support.paths import ROOT


def demo(out):
    """Run tools/demo.py with two training images, two test images and two iterations; returns its output."""
    command = [sys.executable, str(ROOT / 'tools' / 'demo.py'), '--out', str(out), '--train', '2', '--test', '2', '--iters', '2']
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def write_times(out):
    """The times at which snapshots, LMDBs and label maps were written."""
    made = [path for path in out.rglob('*') if path.name.endswith(('.caffemodel', 'data.mdb', '.solverstate'))]
    made += [path for path in (out / 'test').rglob('test_*.png') if path.parent.name != 'pictures']
    return {path: path.stat().st_mtime_ns for path in made}


def test_demo_writes_a_report_and_does_nothing_the_second_time(tmp_path):
    """The page has each system's mean IoU. A second call makes no snapshot and no label map anew."""
    out = tmp_path / 'a folder'
    text = demo(out)
    assert all(name in text for name in ('Front end', 'Front + Basic', 'Front + Large', 'mean IoU'))
    assert cv2.imread(str(out / 'picture.png')) is not None
    assert cv2.imread(str(out / 'unseen' / 'val_000_color.png')).shape == (192, 384, 3)
    made = write_times(out)
    assert len(made) > 10
    demo(out)
    assert write_times(out) == made
    page = (out / 'report.html').read_text()
    assert all(f'{name}</th>' in page for name in dataset('toy').classes)
    for stage in ('toy-front', 'toy-basic', 'toy-large'):
        scores = json.loads((out / 'test' / stage / 'scores.json').read_text())
        assert scores['images'] == 2
        assert f'<td class="mean">{100 * scores["mean_iou"]:.1f}</td>' in page


@pytest.mark.parametrize('option', ['--iters', '--train', '--test'])
def test_numbers_that_are_not_positive_are_refused(option, capsys):
    """--iters 0 must not mean the full run."""
    for number in ('0', '-1'):
        with pytest.raises(SystemExit):
            command.parse_args([option, number])
        assert f'{number} is less than 1' in capsys.readouterr().err
