"""Caffe's log: rows of one session and of several, and why a failed session ended."""

import signal

import pytest

from tools.training.caffe_log import WORST_LOSS, LogRow, failure_lines, joined_rows
from tools.training.failure import meaning

PREFIX = 'I20260612 10:11:12.045521 14666 '  # as glog 0.6 writes it


def said(iteration: int, loss: str, seconds: str = '0.5', lr: str = '0.001') -> list[str]:
    """The lines that Caffe logs for one iteration, copied from a real log."""
    return [
        f'{PREFIX}solver.cpp:239] Iteration {iteration} (2.83286 iter/s, {seconds}s/1 iters), loss = {loss}',
        f'{PREFIX}solver.cpp:258]     Train net output #0: loss = {loss} (* 1 = {loss} loss)',
        f'{PREFIX}sgd_solver.cpp:112] Iteration {iteration}, lr = {lr}',
    ]


def session(start: int, *losses: str) -> list[str]:
    """The log of one start of Caffe from iteration `start`."""
    lines = [line for iteration, loss in enumerate(losses, start) for line in said(iteration, loss)]
    return [f'=== training from iteration {start}: caffe train', *lines]


@pytest.mark.parametrize('date', ['I2026', 'I'])
def test_row_of_an_iteration(date):
    """Loss and seconds come from one line, the learning rate from another. Before version 0.6, glog wrote no year."""
    lines = [line.replace('I2026', date) for line in said(7, '2.39', seconds='0.25', lr='1e-05')]
    assert joined_rows(lines) == [LogRow(7, 2.39, 1e-05, 0.25)]


def test_last_forward_pass_is_no_iteration():
    """After the last update Caffe logs one more loss, without a learning rate."""
    lines = [*said(0, '2'), f'{PREFIX}solver.cpp:347] Iteration 1, loss = 1.5']
    assert [row.iteration for row in joined_rows(lines)] == [0]


def test_sessions_join_without_gap_or_double():
    """Killed after iteration 4, continued from the snapshot at 2: the rows from 2 on are those of the second session."""
    lines = session(0, '5', '4', '3', '2', '1') + session(2, '3.5', '2.5')
    assert [(row.iteration, row.loss) for row in joined_rows(lines)] == [(0, 5), (1, 4), (2, 3.5), (3, 2.5)]


def test_line_torn_by_a_kill():
    """Half a line before the next session does not count."""
    torn = session(0, '5', '4')[:-2] + ['I20260612 10:11:12.045521 14666 solver.cpp:239] Iteration 1 (2.8']
    assert [row.loss for row in joined_rows(torn + session(1, '4.5'))] == [5, 4.5]


@pytest.mark.parametrize(
    ('loss', 'pixels', 'finite', 'sound'),
    [
        ('2.4', 1, True, True),
        ('87.3365', 1, True, False),
        ('-nan', 1, False, False),
        ('8000', 100, True, True),  # 80 at each pixel
        ('8733.65', 100, True, False),
    ],
)
def test_losses_that_training_does_not_recover_from(loss, pixels, finite, sound):
    """87.3365 is the largest loss of a pixel: Caffe clips at the smallest normal float, 2^-126, and 126 ln 2 = 87.34."""
    (row,) = joined_rows(said(0, loss))
    assert (row.finite, row.sound(pixels * WORST_LOSS)) == (finite, sound)


def test_failure_lines_leave_the_stack_out():
    """The lines end with the failed check, not with addresses."""
    check = 'F20260612 10:11:12.045521 1 blob.cpp:115] Check failed: data_ '
    log = ['before', check, '*** Check failure stack trace: ***', '    @     0x7f63fe045305  main', '']
    assert failure_lines(log) == ['before', check.rstrip()]


@pytest.mark.parametrize(
    ('status', 'line', 'word'),
    [
        (-signal.SIGKILL, 'I2026 solver.cpp:239] Iteration 3', 'memory'),
        (-signal.SIGABRT, 'F2026 syncedmem.cpp:78] Check failed: cudaSuccess (2 vs. 0)  out of memory', 'batch-per-pass'),
        (-signal.SIGABRT, "terminate called after throwing an instance of 'std::bad_alloc'", 'out of memory'),
        (-signal.SIGABRT, 'F2026 io.cpp:69] Check failed: proto.SerializeToOstream(&output) ', 'disk is full'),
        (-signal.SIGABRT, 'F2026 blob.cpp:115] Check failed: data_ ', 'check inside Caffe'),
        (-signal.SIGSEGV, 'I2026 net.cpp:744] Ignoring source layer fc8', 'SIGSEGV'),
        (1, 'I2026 net.cpp:744] Ignoring source layer fc8', 'status 1'),
    ],
)
def test_meaning_of_an_end(status, line, word):
    """Exit status and last lines of the log give the reason."""
    assert word in meaning(status, [line])
