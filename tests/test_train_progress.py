"""What is shown while a training runs."""

import io

from tools.training import training_bar
from tools.training.caffe_log import Row


def shown(monkeypatch, seconds):
    """What a bar from iteration 100 to 200 writes to a file, `seconds` between lines, in 50 iterations; and the bar."""
    monkeypatch.setattr(training_bar, '_SECONDS_BETWEEN_LINES', seconds)
    monkeypatch.setattr('sys.stderr', io.StringIO())
    bar = training_bar.Progress('stage', 100, 200, 8)
    for iteration in range(100, 150):
        bar.show(Row(iteration, 2.5, 1e-4, 0.02))
    return training_bar.sys.stderr.getvalue(), bar


def test_bar_of_a_run_that_goes_on(monkeypatch):
    """It begins where the run does; images a second are 8 in 0.02 s."""
    text, _ = shown(monkeypatch, 0)
    assert '100/200' in text.split('\r')[1]
    assert '150/200' in text.split('\r')[-1] and 'loss 2.5, lr 0.0001, 400 img/s' in text.split('\r')[-1]


def test_lines_in_a_file_are_as_far_apart_as_they_should_be(monkeypatch):
    """None within 30 s of the first; tqdm's own watch, which looks every 10 s, would force one then."""
    text, bar = shown(monkeypatch, 30)
    assert text.count('\r') == 1
    assert bar._bar.maxinterval >= bar._bar.mininterval == 30
