"""One thread of BLAS a test process: tests are small, and several may run at once. A browser for those that open pages."""

import os

import pytest

from tests.browser import browser

os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')


@pytest.fixture(scope='session')
def chromium(tmp_path_factory):
    """A Selenium driver."""
    with browser(tmp_path_factory.mktemp('profile')) as driver:
        yield driver
