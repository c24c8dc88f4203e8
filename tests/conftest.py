"""One thread of BLAS a test process: tests are small, and several may run at once. A browser for those that open pages.

A `make` that a test starts does not know of the `make test` that started the tests: it would say which folder it enters.
"""

import os

import pytest

from tests.browser import browser

os.environ.setdefault('OPENBLAS_NUM_THREADS', '1')
for variable in ('MAKEFLAGS', 'MFLAGS', 'MAKELEVEL', 'MAKEOVERRIDES'):
    os.environ.pop(variable, None)


@pytest.fixture(scope='session')
def chromium(tmp_path_factory):
    """A Selenium driver."""
    with browser(tmp_path_factory.mktemp('profile')) as driver:
        yield driver
