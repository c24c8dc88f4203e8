"""Processes that read ahead and write behind: order, errors, and the end of one of them."""

import os
import signal
import time

import joblib
import pytest

from tools.support.errors import UserError
from tools.support.pipeline import begun, read_ahead, write_behind


def slow_square(number):
    if number == 5:
        raise UserError('five is no good')
    return number * number


def note(path, number):
    if number == 2:
        raise UserError('two is no good')
    with open(path, 'a') as file:
        file.write(f'{number} {os.getpid()}\n')


def die(path, number):
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_come_in_order_from_another_process():
    with read_ahead(os.path.basename, ['a/b', 'c/d']) as names, read_ahead(os.getenv, ['HOME']) as values:
        assert list(names) == ['b', 'd'] and list(values) == [os.environ['HOME']]


def gets_ctrl_c(_):
    return signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_helping_processes_do_not_get_ctrl_c():
    """Each would print a traceback; this process does get it."""
    with read_ahead(gets_ctrl_c, [0]) as answers:
        assert not next(answers)
    tasks = [joblib.delayed(gets_ctrl_c)(number) for number in range(2)]
    assert not any(begun(joblib.Parallel(n_jobs=2, return_as='generator'), tasks))
    assert gets_ctrl_c(None)


def test_an_error_comes_in_its_place():
    """The results before it are not lost."""
    with read_ahead(slow_square, range(8)) as squares:
        assert [next(squares) for _ in range(5)] == [0, 1, 4, 9, 16]
        with pytest.raises(UserError, match='five is no good'):
            next(squares)


def test_a_reader_ends_when_nobody_wants_its_results():
    """After an error in the block, nobody waits for the rest."""
    start = time.monotonic()
    with pytest.raises(ZeroDivisionError), read_ahead(bytes, [10**6] * 10**4) as blocks:
        assert len(next(blocks)) == 10**6
        raise ZeroDivisionError
    assert time.monotonic() - start < 20


def test_everything_is_written_at_the_end_of_the_block(tmp_path):
    """In order, by one other process."""
    with write_behind(note) as write:
        for number in (0, 1, 3):
            write(tmp_path / 'notes', number)
    lines = [line.split() for line in (tmp_path / 'notes').read_text().splitlines()]
    assert [line[0] for line in lines] == ['0', '1', '3']
    assert len({line[1] for line in lines} | {str(os.getpid())}) == 2


@pytest.mark.parametrize('later', [0, 50])
def test_an_error_of_the_writer_is_raised_later_or_at_the_end(tmp_path, later):
    with pytest.raises(UserError, match='two is no good'), write_behind(note) as write:
        for number in range(3 + later):
            write(tmp_path / 'notes', number)


def test_a_killed_writer_is_an_error(tmp_path):
    """The system kills it if memory runs out."""
    with pytest.raises(ChildProcessError, match='ended before its work was done'), write_behind(die) as write:
        for number in range(50):
            write(tmp_path, number)
