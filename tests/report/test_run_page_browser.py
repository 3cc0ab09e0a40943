"""The pages of a run and of a comparison in a real browser: no error, nothing from elsewhere, no sideways scrolling."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browsers import chromium
from PIL import Image
from selenium.webdriver import Chrome
from test_chain_page import picture
from test_sections import ALL

from advcam.report.chain_page import ChainHead, write_chain_page
from advcam.report.compare_page import (
    ComparedPicture,
    ComparedRun,
    ComparedScore,
    ComparedValue,
    Comparison,
    write_compare_page,
)

pytestmark = pytest.mark.browser

BAD = "<script>alert(1)</script> a very long name " + "x" * 90


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    logs = {"browser": "ALL", "performance": "ALL"}
    with chromium(tmp_path_factory.mktemp("chromium"), **{"goog:loggingPrefs": logs}) as driver:
        yield driver


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A page of every section, and a comparison of three runs."""
    folder = tmp_path_factory.mktemp("pages")
    head = ChainHead("Title", [("Data", BAD)], ["words"], [("12.3 %", "mIoU of something")])
    write_chain_page(folder / "run.html", head, ALL, [picture(), picture(BAD, group="The worst")])
    mask = np.zeros((60, 90), np.int32)
    mask[:20] = 1
    value = ComparedValue(0.5, 0.4, 0.6, None)
    runs = [ComparedRun(name, BAD, {"pictures": "3"}) for name in ("a", "b", BAD)]
    compared = Comparison(
        runs,
        ["a note"],
        [("train.epochs", ["1", "2", BAD])],
        [
            ComparedScore(
                "localize", "mIoU", "oracle", [value, value, ComparedValue(0.25, 0.2, 0.3, -0.25)], "the same 3"
            )
        ],
        ["a sentence"],
        ["another"],
        [("train", [1.0, None, 70.0])],
    )
    shown = ComparedPicture(
        BAD, Image.new("RGB", (90, 60)), [mask, None, mask * 255], mask, {1: BAD}, "b differs in 3 %"
    )
    write_compare_page(folder / "compare.html", compared, [shown])
    return {"run": folder / "run.html", "compare": folder / "compare.html"}


def show(browser: Chrome, path: Path, width: int, scheme: str = "light") -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    for kind in ("browser", "performance"):
        browser.get_log(kind)  # what came before
    browser.get(path.as_uri())


@pytest.mark.parametrize("name", ["run", "compare"])
def test_no_error_nothing_from_elsewhere_every_picture_there(
    browser: Chrome, pages: dict[str, Path], name: str
) -> None:
    show(browser, pages[name], 1366)
    assert browser.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = {e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"}
    assert pages[name].as_uri() in asked
    assert all(url.startswith(("file://", "data:image/")) for url in asked)
    assert browser.execute_script("return document.images.length") >= 4
    broken = "return [...document.images].filter(image => !(image.complete && image.naturalWidth > 1)).length"
    assert browser.execute_script(broken) == 0
    assert browser.execute_script("return document.querySelectorAll('script').length") == 0


@pytest.mark.parametrize("name", ["run", "compare"])
@pytest.mark.parametrize("width", [420, 1366])
def test_nothing_overflows_sideways(browser: Chrome, pages: dict[str, Path], name: str, width: int) -> None:
    show(browser, pages[name], width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_colours_follow_the_system(browser: Chrome, pages: dict[str, Path]) -> None:
    """The ground, and a line of the chart, which has to stand out from it."""
    found = {}
    for scheme in ("light", "dark"):
        show(browser, pages["run"], 1366, scheme)
        ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        line = browser.execute_script("return getComputedStyle(document.querySelector('polyline')).stroke")
        found[scheme] = (ground, line)
    assert found == {
        "light": ("rgb(246, 246, 243)", "rgb(0, 114, 178)"),
        "dark": ("rgb(19, 20, 22)", "rgb(86, 180, 233)"),
    }


def test_paper_is_white_whatever_the_screen_is(browser: Chrome, pages: dict[str, Path]) -> None:
    show(browser, pages["run"], 1366, "dark")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        ink = browser.execute_script("return getComputedStyle(document.body).color")
        assert (ground, ink) == ("rgb(255, 255, 255)", "rgb(0, 0, 0)")
        assert not browser.execute_script("return document.querySelector('nav').offsetHeight")
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
