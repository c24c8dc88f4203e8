"""The progress bar of a training."""

import io

from tools.training import training_bar
from tools.training.caffe_log import LogRow


def shown(monkeypatch, seconds):
    """The output of a bar from iteration 100 to 200 after 50 iterations, with `seconds` between lines; and the bar."""
    monkeypatch.setattr(training_bar, '_SECONDS_BETWEEN_LINES', seconds)
    monkeypatch.setattr('sys.stderr', io.StringIO())
    bar = training_bar.Progress('stage', 100, 200, 8)
    for iteration in range(100, 150):
        bar.show(LogRow(iteration, 2.5, 1e-4, 0.02))
    return training_bar.sys.stderr.getvalue(), bar


def test_bar_of_a_run_that_continues(monkeypatch):
    """It begins at the first iteration of the session; 8 images in 0.02 s are 400 per second."""
    text, _ = shown(monkeypatch, 0)
    assert '100/200' in text.split('\r')[1]
    assert '150/200' in text.split('\r')[-1] and 'loss 2.5, lr 0.0001, 400 img/s' in text.split('\r')[-1]


def test_lines_in_a_file_are_30_seconds_apart(monkeypatch):
    """tqdm's monitor thread would otherwise force a line after 10 s."""
    text, bar = shown(monkeypatch, 30)
    assert text.count('\r') == 1
    assert bar._bar.maxinterval >= bar._bar.mininterval == 30
