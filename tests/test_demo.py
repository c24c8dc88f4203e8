"""The whole way of the data through the commands themselves, as `make demo` runs it, with a few small steps of each."""

import json
import subprocess
import sys

import cv2
import pytest

from dataset_prep.datasets import dataset
from tools import demo as command
from tools.support.paths import ROOT


def demo(out):
    """Run tools/demo.py with two training images, two test images and two iterations; its output comes back."""
    command = [sys.executable, str(ROOT / 'tools' / 'demo.py'), '--out', str(out), '--train', '2', '--test', '2', '--iters', '2']
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


def test_demo_goes_from_nothing_to_a_report_and_is_done_the_second_time(tmp_path):
    """Table, picture and page are made; run again, no snapshot and no label map is made anew."""
    out = tmp_path / 'a folder'
    text = demo(out)
    assert all(name in text for name in ('Front end', 'Front + Basic', 'Front + Large', 'mean IoU'))
    assert cv2.imread(str(out / 'picture.png')) is not None
    page = (out / 'report.html').read_text()
    assert all(f'{name}</th>' in page for name in dataset('toy').classes)
    assert cv2.imread(str(out / 'unseen' / 'val_000_color.png')).shape == (192, 384, 3)
    made = {
        path: path.stat().st_mtime_ns for path in out.rglob('*') if path.name.endswith(('.caffemodel', '.mdb', '.solverstate'))
    }
    made |= {path: path.stat().st_mtime_ns for path in (out / 'test').rglob('test_*.png') if path.parent.name != 'pictures'}
    assert len(made) > 10
    demo(out)
    assert {path: path.stat().st_mtime_ns for path in made if path.name != 'lock.mdb'} == {
        path: time for path, time in made.items() if path.name != 'lock.mdb'
    }
    _check_scores(out)


@pytest.mark.parametrize('option', ['--iters', '--train', '--test'])
def test_numbers_that_are_not_positive_are_refused(option, capsys):
    """--iters 0 was as if it were not given: the full run."""
    for number in ('0', '-1'):
        with pytest.raises(SystemExit):
            command.parse_args([option, number])
        assert f'{number} is less than 1' in capsys.readouterr().err


def _check_scores(out):
    """The page shows the mean IoU that each system's scores.json holds."""
    page = (out / 'report.html').read_text()
    for stage in ('toy-front', 'toy-basic', 'toy-large'):
        scores = json.loads((out / 'test' / stage / 'scores.json').read_text())
        assert scores['images'] == 2
        assert f'<td class="mean">{100 * scores["mean_iou"]:.1f}</td>' in page
