"""One studio and one browser for all tests of the page; each test begins with a run that nobody has touched."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import torch
from drawn_studio_run import write_drawn_run
from page_driver import Page, close_window, studio_browser
from selenium.webdriver import Chrome
from shown_runs import served, studio_of, wait_until

import advcam
from advcam.store.corrections import Corrections
from advcam.studio.studio import Studio

SCREEN = (1366, 768)


@pytest.fixture(scope="session")
def drawn_studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """A studio over a drawn run, with a classifier of a few weights."""
    run = write_drawn_run(tmp_path_factory.mktemp("drawn run"))
    studio = studio_of(run)
    studio.live._loaded = _classifier()
    return studio


@pytest.fixture(scope="session")
def server(drawn_studio: Studio) -> Iterator[httpx.Client]:
    """The studio as a server."""
    with served(drawn_studio) as client:
        wait_until(lambda: drawn_studio.listing.done == drawn_studio.listing.total)
        yield client


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """A browser that has not seen the studio."""
    with studio_browser(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture
def corrections(drawn_studio: Studio, server: httpx.Client) -> Corrections:
    """What was said of the run: nothing yet."""
    found = drawn_studio.album.corrections
    for place, sample in enumerate(drawn_studio.album.samples):
        review = found.review(sample.id)
        if review.mask is not None:
            review = found.discard_mask(sample.id, review.revision)
        if review.status != "open":
            found.set_status(sample.id, "open", review.revision)
        drawn_studio.listing.refresh(place)
    return found


@pytest.fixture
def page(browser: Chrome, server: httpx.Client, corrections: Corrections) -> Iterator[Page]:
    """A page that was just opened; after the test nothing was complained of and nothing came from elsewhere."""
    first, *others = browser.window_handles
    browser.switch_to.window(first)
    for window in others:
        close_window(browser, window)
    page = Page(browser, str(server.base_url).rstrip("/"))
    page.set_screen(*SCREEN)
    page.open("#/pictures", anew=True)
    page.errors()
    yield page
    assert page.errors() == []
    asked = page.run("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert asked
    assert all(address.startswith((page.url, "blob:", "data:")) for address in asked)


@pytest.fixture
def modules(browser: Chrome, server: httpx.Client) -> Page:
    """A page whose modules can be imported, whatever it shows."""
    page = Page(browser, str(server.base_url).rstrip("/"))
    if not browser.current_url.startswith(page.url):
        page.open("#/pictures", anew=True)
    return page


@pytest.fixture
def downloads(browser: Chrome, tmp_path: Path) -> Path:
    """Where downloads arrive."""
    folder = tmp_path / "downloads"
    browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})
    return folder


def _classifier() -> advcam.Classifier:
    """A tiny network of three classes."""
    torch.manual_seed(0)
    body = torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3, 2, 1), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 3, 2, 1), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(8, 3),
    )  # fmt: skip
    return advcam.Classifier.from_module(body, class_names=("aeroplane", "cat", "tea cup"))
