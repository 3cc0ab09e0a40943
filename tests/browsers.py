"""A real browser for tests of pages: chromium without a screen, which asks nothing of the network by itself."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@contextmanager
def chromium(profile: Path, **capabilities: object) -> Iterator[Chrome]:
    """A browser of its own.

    Args:
        profile: Folder of its profile.
        capabilities: Besides the log of the console, such as unhandledPromptBehavior.
    """
    if not (shutil.which("/usr/bin/chromium") and shutil.which("/usr/bin/chromedriver")):
        pytest.fail("browser tests need chromium: apt-get install chromium chromium-driver (Debian packages)")
    options = ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in (*ARGUMENTS, f"--user-data-dir={profile}"):
        options.add_argument(argument)
    asked: Mapping[str, object] = {"goog:loggingPrefs": {"browser": "ALL"}, **capabilities}
    for name, value in asked.items():
        options.set_capability(name, value)
    driver = Chrome(options=options, service=ChromeService("/usr/bin/chromedriver"))
    try:
        yield driver
    finally:
        driver.quit()
