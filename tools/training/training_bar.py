"""The progress bar of a training, and lines that do not break it."""

import sys
from contextlib import suppress

from tqdm import tqdm

from tools.training.caffe_log import LogRow

_SECONDS_BETWEEN_LINES = 30  # between updates if stderr is a file, where each update is a line


class Progress:
    """Shows iterations, time left, loss, learning rate and images per second on stderr."""

    def __init__(self, name: str, start: int, end: int, batch_size: int) -> None:
        interval = 0.1 if sys.stderr.isatty() else _SECONDS_BETWEEN_LINES
        self._bar = tqdm(
            desc=name,
            initial=start,
            total=end,
            unit='iter',
            mininterval=interval,
            maxinterval=max(interval, 10),
            dynamic_ncols=True,
        )
        self._batch_size = batch_size

    def show(self, row: LogRow) -> None:
        """Count the iteration of `row` as done."""
        rate = f'{self._batch_size / row.seconds:.3g}' if row.seconds else '?'
        self._bar.set_postfix_str(f'loss {row.loss:.4g}, lr {row.lr:g}, {rate} img/s', refresh=False)
        with suppress(OSError):  # a terminal that was closed
            self._bar.update(row.iteration + 1 - self._bar.n)

    def close(self) -> None:
        """End the bar and leave it on the screen."""
        with suppress(OSError):
            self._bar.close()


def say(text: str) -> None:
    """Print a line on stderr without breaking the progress bar. If stderr is closed, the line is lost and nothing else."""
    with suppress(OSError):
        tqdm.write(text, file=sys.stderr)
