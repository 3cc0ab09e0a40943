"""Chromium on a page of the studio, and what its tests do there again and again."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from browsers import chromium
from selenium.webdriver import ActionChains, Chrome
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from shown_runs import wait_until

#: Seconds that a page may take to show something.
PATIENCE = 15.0


@contextmanager
def studio_browser(folder: Path) -> Iterator[Chrome]:
    """A browser whose profile and downloads lie in a folder; a page that asks whether to leave it is left."""
    with chromium(folder / "profile", unhandledPromptBehavior="accept") as driver:
        driver.set_script_timeout(60)
        driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder / "downloads")}
        )
        yield driver


def close_window(browser: Chrome, window: str) -> None:
    """Close another window than the current one, whatever its page is doing: the driver itself would wait for that."""
    browser.execute_cdp_cmd("Target.closeTarget", {"targetId": window})


class Page:
    """A page of the studio in a browser.

    Args:
        browser: Any.
        url: Of the server, without the last slash.
    """

    def __init__(self, browser: Chrome, url: str) -> None:
        self.browser, self.url = browser, url

    def open(self, place: str, anew: bool = False) -> None:
        """Go to a place of the page and wait until it shows; `anew` loads the page again."""
        if anew or not self.browser.current_url.startswith(self.url):
            self.browser.get("about:blank")
            self.browser.get(f"{self.url}/{place}")
        else:
            self.run("location.hash = arguments[0]", place)
        self.wait("return location.hash === arguments[0]", place)
        if place.startswith("#/picture/"):
            self.ready()

    def ready(self) -> None:
        """Wait until the picture, its mask and its maps are there."""
        self.wait("return document.querySelector('.viewer')?.dataset.ready === 'yes'")

    def set_screen(self, width: int, height: int) -> None:
        """Size of the window."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script in the page."""
        return self.browser.execute_script(script, *arguments)

    def ask(self, script: str, *arguments: object) -> Any:
        """Run a script that may wait for promises and returns something."""
        wrapped = f"""
            const [finish, ...given] = [[...arguments].at(-1), ...[...arguments].slice(0, -1)];
            (async (...given) => {{ {script} }})(...given).then(finish, error => finish({{failed: String(error)}}));
        """
        found = self.browser.execute_async_script(wrapped, *arguments)
        assert not (isinstance(found, dict) and "failed" in found), found
        return found

    def wait(self, script: str, *arguments: object) -> None:
        """Wait until a script returns something true."""
        wait_until(lambda: self.run(script, *arguments), PATIENCE)

    def find(self, selector: str) -> WebElement:
        """The first element of a CSS selector, once it is there."""
        self.wait("return document.querySelector(arguments[0]) !== null", selector)
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def text(self, selector: str) -> str:
        """What an element says."""
        return str(self.run("return document.querySelector(arguments[0])?.textContent ?? ''", selector))

    def says(self, selector: str, words: str) -> None:
        """Wait until an element says something."""
        self.wait(
            "return (document.querySelector(arguments[0])?.textContent ?? '').includes(arguments[1])", selector, words
        )

    def press(self, *keys: str) -> None:
        """Press keys; a capital letter is one with shift."""
        chain = ActionChains(self.browser)
        for key in keys:
            if len(key) == 1 and key.isupper():
                chain.key_down(Keys.SHIFT).send_keys(key.lower()).key_up(Keys.SHIFT)
            else:
                chain.send_keys(key)
        chain.perform()

    def choose(self, label: str) -> None:
        """Click the button that says so."""
        script = """
            const says = face => [...face.childNodes].some(node => node.textContent === arguments[0]);
            return [...document.querySelectorAll('button')].find(face => face.checkVisibility() && says(face));
        """
        found = self.run(script, label)
        assert found, f"no button says {label}"
        found.click()

    def stroke(self, *points: tuple[float, float], layer: str = "final") -> None:
        """Draw with the mouse, over points in shares of the picture's width and height from its middle."""
        canvas = self.find(f".pane[data-layer='{layer}'] canvas")
        width, height = self.run(
            "const c = arguments[0], [w, h] = arguments[1].match(/[0-9]+/g).map(Number);"
            "const s = Math.min(c.clientWidth / w, c.clientHeight / h); return [w * s, h * s]",
            canvas, self.text(".meta"),
        )  # fmt: skip
        places = [(round(x * width), round(y * height)) for x, y in points]
        chain = ActionChains(self.browser, duration=20)
        chain.move_to_element_with_offset(canvas, *places[0]).click_and_hold()
        for before, after in pairwise(places):
            chain.move_by_offset(after[0] - before[0], after[1] - before[1])
        chain.release().perform()

    def errors(self) -> list[str]:
        """What the console has complained of since it was asked last, but for answers that tests provoke."""
        provoked = ("the server responded with a status of 4", "net::ERR_")
        return [
            entry["message"]
            for entry in self.browser.get_log("browser")
            if not any(word in entry["message"] for word in provoked)
        ]
