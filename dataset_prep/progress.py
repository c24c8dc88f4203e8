"""A progress bar with the time left on stderr: live on a terminal, every 30 seconds in a log."""

import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar('Item')
LOG_SECONDS = 30.0  # between two lines in a log


def progress(items: Iterable[Item], title: str, total: int, unit: str = 'image', done: int = 0) -> Iterator[Item]:
    """Yield `items` and count them towards `total`; `done` were finished before."""
    seconds = 0.1 if sys.stderr.isatty() else LOG_SECONDS
    yield from tqdm(items, title, total, initial=done, unit=unit, mininterval=seconds, maxinterval=max(10.0, seconds))
