"""The page in a real browser: no errors, an animation for mouse and keyboard, narrow screens are enough."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from browsers import chromium
from selenium.webdriver import Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from advcam.report import ReportPicture, ReportSummary, write_report

pytestmark = pytest.mark.browser

READOUT = "return document.querySelector('.stage output').textContent"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    with chromium(tmp_path_factory.mktemp("chromium")) as driver:
        yield driver


@pytest.fixture
def page(browser: Chrome, tmp_path: Path, summary: ReportSummary, make_picture: Callable[..., ReportPicture]) -> Chrome:
    pictures = [
        make_picture("<script>alert(1)</script>.jpg", names=("tabby cat", "dog"), steps=5),
        make_picture("a_long_name_" * 12 + ".jpg", steps=28),
        make_picture("no climb.jpg", steps=None),
        make_picture("zero.jpg", zero=True),
        make_picture("unlabelled.jpg", names=()),
    ]
    write_report(tmp_path / "report.html", summary, pictures)
    set_screen(browser, width=1280)
    browser.get_log("browser")  # what earlier tests left
    browser.get((tmp_path / "report.html").as_uri())
    return browser


def set_screen(browser: Chrome, width: int) -> None:
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def frame_at(page: Chrome) -> int:
    """The step whose frame the first player shows, found by comparing it with the frames of its strip."""
    script = """
        const climb = document.querySelector(".climb");
        const shown = climb.querySelector(".player img").src;
        return [...climb.querySelectorAll(".strip img")].findIndex(frame => frame.src === shown);
    """
    return int(page.execute_script(script))


def dot_is_at(page: Chrome) -> int:
    """The step at whose point of the first plot the moving dot lies."""
    script = """
        const [line, dot] = [document.querySelector("polyline"), document.querySelector(".dot")];
        const [x, y] = [dot.cx.baseVal.value, dot.cy.baseVal.value];
        return [...line.points].findIndex(point => Math.hypot(point.x - x, point.y - y) < 0.01);
    """
    return int(page.execute_script(script))


def test_the_console_stays_empty(page: Chrome):
    page.find_element(By.CSS_SELECTOR, ".controls button").click()
    assert page.get_log("browser") == []
    assert page.title == "advcam localize"


def test_every_image_is_decoded(page: Chrome):
    broken = "return [...document.images].filter(image => !(image.complete && image.naturalWidth > 1)).length"
    assert page.execute_script("return document.images.length") > 40
    assert page.execute_script(broken) == 0


def test_the_slider_moves_frame_dot_and_text_by_keyboard(page: Chrome):
    assert (frame_at(page), dot_is_at(page)) == (0, 0)
    slider = page.find_element(By.CSS_SELECTOR, ".controls input")
    assert slider.accessible_name == "Step of the climb of tabby cat"
    slider.send_keys(Keys.ARROW_RIGHT)
    slider.send_keys(Keys.ARROW_RIGHT)
    assert (frame_at(page), dot_is_at(page)) == (2, 2)
    assert page.execute_script(READOUT) == "t = 2, class score 7.25"
    slider.send_keys(Keys.END)
    assert (frame_at(page), dot_is_at(page)) == (4, 4)


def test_a_player_moves_only_its_own_class(page: Chrome):
    first, second, *_ = page.find_elements(By.CSS_SELECTOR, ".controls input")
    second.send_keys(Keys.END)
    assert (first.get_property("value"), second.get_property("value")) == ("0", "4")
    assert frame_at(page) == 0


def test_play_runs_to_the_end_by_itself(page: Chrome):
    button = page.find_element(By.CSS_SELECTOR, ".controls button")
    assert (button.text, frame_at(page)) == ("Play", 0)
    button.click()
    WebDriverWait(page, 30).until(lambda driver: frame_at(driver) == 4)
    assert (button.text, dot_is_at(page)) == ("Play", 4)


def hold_the_clock(page: Chrome) -> None:
    """Let the animation step only when the test says `tick()`, so that no assertion races with it."""
    page.execute_script(
        "window.setInterval = step => { window.tick = step; return 1; };"
        "window.clearInterval = () => { window.tick = () => {}; };"
    )


def test_nothing_moves_until_play_and_play_at_the_end_starts_again(page: Chrome):
    hold_the_clock(page)
    button = page.find_element(By.CSS_SELECTOR, ".controls button")
    page.find_element(By.CSS_SELECTOR, ".controls input").send_keys(Keys.END)
    assert (button.text, frame_at(page)) == ("Play", 4)
    button.click()
    assert (button.text, frame_at(page)) == ("Pause", 0)
    page.execute_script("tick()")
    assert (button.text, frame_at(page), dot_is_at(page)) == ("Pause", 1, 1)


def test_pause_and_the_slider_stop_the_animation(page: Chrome):
    hold_the_clock(page)
    button = page.find_element(By.CSS_SELECTOR, ".controls button")
    button.click()
    page.execute_script("tick()")
    button.click()
    page.execute_script("tick()")
    assert (button.text, frame_at(page)) == ("Play", 1)
    button.click()
    page.execute_script("tick()")
    assert (button.text, frame_at(page)) == ("Pause", 2)
    page.find_element(By.CSS_SELECTOR, ".controls input").send_keys(Keys.HOME)
    page.execute_script("tick()")
    assert (button.text, frame_at(page)) == ("Play", 0)


@pytest.mark.parametrize("width", [400, 700, 1280])
def test_nothing_overflows_sideways(page: Chrome, width: int):
    set_screen(page, width)
    assert page.execute_script("return window.innerWidth") == width
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


def test_the_colours_follow_the_system(page: Chrome):
    def background(scheme: str) -> str:
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        return str(page.execute_script("return getComputedStyle(document.body).backgroundColor"))

    assert background("light") == "rgb(246, 246, 243)"
    assert background("dark") == "rgb(19, 20, 22)"


def test_without_javascript_only_the_animation_is_missing(page: Chrome):
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.refresh()
        assert page.find_elements(By.CSS_SELECTOR, ".player") == []
        assert len(page.find_elements(By.CSS_SELECTOR, "article")) == 5
        assert page.find_element(By.CSS_SELECTOR, ".strip img").is_displayed()
        assert page.find_element(By.CSS_SELECTOR, ".plot polyline").is_displayed()
    finally:
        page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
