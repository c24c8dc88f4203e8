"""Opens pages in Chromium without a window, at the size of a desktop and of a phone."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

SIZES = {'desktop': (1280, 900, False), 'phone': (360, 780, True)}
FLAGS = (
    '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
    '--disable-component-update', '--disable-sync', '--disable-dev-shm-usage',
)  # fmt: skip


@contextmanager
def browser(folder) -> Iterator:
    """A Selenium driver with its profile in `folder`. Skips the test without Chromium, which `make test` installs on Debian."""
    from selenium import webdriver

    chromium, driver = shutil.which('chromium'), shutil.which('chromedriver')
    if not chromium or not driver:
        pytest.skip('no chromium and chromedriver on PATH')
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    options.set_capability('goog:loggingPrefs', {'browser': 'ALL'})
    for flag in (*FLAGS, f'--user-data-dir={folder}'):
        options.add_argument(flag)
    opened = webdriver.Chrome(options, webdriver.ChromeService(driver))
    try:
        yield opened
    finally:
        opened.quit()


def open_page(driver, path, size: str) -> None:
    """Load a file from disk at one of SIZES."""
    width, height, mobile = SIZES[size]
    metrics = {'width': width, 'height': height, 'deviceScaleFactor': 1, 'mobile': mobile}
    driver.execute_cdp_cmd('Emulation.setDeviceMetricsOverride', metrics)
    driver.get(path.as_uri())


def assert_sound(driver, size: str) -> None:
    """Check that all pictures show, nothing is wider than the window, and the browser logged nothing."""
    shown = driver.execute_script('return [...document.images].map(i => i.complete && i.naturalWidth > 0)')
    assert shown and all(shown)
    assert driver.execute_script('return innerWidth') == SIZES[size][0]
    assert driver.execute_script('return document.documentElement.scrollWidth') <= SIZES[size][0]
    assert driver.get_log('browser') == []
