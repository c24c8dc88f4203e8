"""Fixtures that several test files share, and the environment of all tests.

Each test process gets one BLAS thread: tests are small, and several may run at once. A `make` that a test starts must not see the
variables of `make test`; it would print the folders that it enters.
"""

import os
from dataclasses import replace

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


@pytest.fixture(scope='session')
def toy_images(tmp_path_factory):
    """An LMDB of six images for toy-front; the shortest side has 412 pixels. Tests must not change it."""
    from tests.train_data import images_lmdb

    return images_lmdb(tmp_path_factory.mktemp('images'))


@pytest.fixture(scope='session')
def toy_maps(tmp_path_factory):
    """An LMDB of six stored score maps for toy-basic. Tests must not change it."""
    from tests.train_data import maps_lmdb

    return maps_lmdb(tmp_path_factory.mktemp('maps'))


@pytest.fixture
def basic(toy_maps, tmp_path):
    """The words of a command that trains Basic in `tmp_path`/run, one epoch per iteration."""
    return 'toy-basic', '--lmdb', toy_maps, '--batch', 6, '--run-dir', tmp_path / 'run'


@pytest.fixture(scope='session')
def front_weights(tmp_path_factory):
    """A caffemodel of front_toy with random values. Tests must not change it."""
    return toy_weights('front_toy', tmp_path_factory)


@pytest.fixture(scope='session')
def basic_weights(tmp_path_factory):
    """A caffemodel of basic_toy with random values; front_toy can use it too. Tests must not change it."""
    return toy_weights('basic_toy', tmp_path_factory)


@pytest.fixture
def narrow_nets(monkeypatch):
    """For one test, all front ends have WIDTH channels, and twice as many in fc6 and fc7."""
    from prototxt.experiments import NETS
    from tests.narrow_nets import WIDTH

    for name, row in NETS.items():
        monkeypatch.setitem(NETS, name, replace(row, front_end=replace(row.front_end, trunk=(WIDTH,) * 5, fc=2 * WIDTH)))


def toy_weights(net, tmp_path_factory):
    """Imports Caffe only for tests that need weights."""
    from tests.toy_nets import random_weights

    return random_weights(net, tmp_path_factory.mktemp('weights') / f'{net}.caffemodel')
