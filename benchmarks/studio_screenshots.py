"""The pictures of docs/howto/studio.md: the studio in a real browser, on photographs and on drawn pictures with truth.

    advcam run recipes/tiny.yaml --out tiny
    python benchmarks/studio_screenshots.py --drawn tiny --out docs/images

`tiny` is any run of `advcam run` whose pictures have true masks. The photographs are localized first, which takes a
minute. Needs the Debian packages chromium and chromium-driver, and selenium. The last line printed is JSON: bytes of
each picture, and milliseconds that the page needs for a mask after a move of the slider.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import skimage.data
from PIL import Image
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, ChromeService
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

SCREEN = (1366, 768)
PATIENCE = 180.0  # seconds for a climb on a busy machine
#: Photographs of scikit-image and the ImageNet classes that they show.
LABELS = {
    "chelsea": "Egyptian cat",
    "coffee": "espresso;wooden spoon",
    "rocket": "missile",
    "astronaut": "space shuttle",
    "camera": "tripod",
}


def localized(folder: Path) -> Path:
    """A run of `advcam localize` on the photographs."""
    photographs = folder / "photographs"
    photographs.mkdir()
    for name in LABELS:
        Image.fromarray(np.asarray(getattr(skimage.data, name)())).convert("RGB").save(photographs / f"{name}.png")
    rows = [f"{name}.png,{labels}" for name, labels in LABELS.items()]
    (photographs / "labels.csv").write_text("\n".join(["image,labels", *rows]) + "\n")
    run = folder / "photographs-run"
    command = ["localize", str(photographs), "--labels", str(photographs / "labels.csv"), "--out", str(run)]
    subprocess.run([sys.executable, "-m", "advcam", *command], check=True)
    return run


@contextmanager
def studio(run: Path) -> Iterator[str]:
    """The address of a studio over a run."""
    command = [sys.executable, "-m", "advcam", "studio", str(run), "--port", "0", "--quiet"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        try:
            while _is_busy(json.load(urllib.request.urlopen(f"{url}api/run"))):
                time.sleep(0.5)
            yield url
        finally:
            process.terminate()


def _is_busy(run: dict[str, Any]) -> bool:
    """Whether the page would say that the run is being read, or was written a moment ago."""
    return bool(run["writing"] or not run["index"]["ready"])


class Camera:
    """A browser that photographs what it shows.

    Args:
        out: Folder of the pictures.
    """

    def __init__(self, out: Path) -> None:
        options = ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run"):
            options.add_argument(argument)
        self.browser = Chrome(options=options, service=ChromeService("/usr/bin/chromedriver"))
        width, height = SCREEN
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.out, self.bytes = out, dict[str, int]()

    def wait(self, script: str) -> None:
        """Wait until an expression is true in the page."""
        WebDriverWait(self.browser, PATIENCE).until(lambda browser: browser.execute_script(f"return {script}"))

    def open(self, url: str, ready: str, theme: str = "light") -> None:
        """Show an address."""
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.browser.get("about:blank")
        self.browser.get(url)
        self.wait(ready)

    def picture(self, url: str, name: str, theme: str = "light") -> None:
        """Show a picture of a run by its name."""
        found = json.load(urllib.request.urlopen(f"{url}api/pictures?text={name}"))["pictures"][0]
        self.open(f"{url}#/picture/{found['n']}", "document.querySelector('.viewer')?.dataset.ready === 'yes'", theme)

    def press(self, *keys: str) -> None:
        """Press keys."""
        for key in keys:
            ActionChains(self.browser).send_keys(key).perform()

    def slide(self, name: str, value: float) -> float:
        """Move a slider; returns the milliseconds that the page needed."""
        self.browser.execute_script(
            "const [s] = document.getElementsByName(arguments[0]); s.value = arguments[1];"
            "s.dispatchEvent(new Event('input'))", name, value,
        )  # fmt: skip
        return float(self.browser.execute_script("return document.querySelector('.viewer').dataset.milliseconds"))

    def shoot(self, name: str) -> None:
        """Keep what is shown now as studio-NAME.webp."""
        self.wait("[...document.images].every(image => image.complete)")
        time.sleep(0.6)  # the canvas draws in the next frame, and notices go
        path = self.out / f"studio-{name}.webp"
        Image.open(io.BytesIO(self.browser.get_screenshot_as_png())).convert("RGB").save(path, quality=82, method=6)
        self.bytes[path.name] = path.stat().st_size


def photographs(camera: Camera, url: str, folder: Path) -> list[float]:
    """What there is to see of photographs; returns the milliseconds of moves of the threshold."""
    camera.open(f"{url}#/pictures", "document.querySelectorAll('.cards > li').length > 4")
    camera.press(Keys.ARROW_RIGHT, "a", Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, "r")
    camera.wait("document.querySelectorAll('.cards .badge').length === 2")
    camera.shoot("grid")
    camera.picture(url, "rocket")
    moves = [camera.slide("threshold", 0.2 + 0.02 * step) for step in range(16)]
    camera.slide("threshold", 0.34)
    camera.shoot("threshold")
    camera.picture(url, "coffee", "dark")
    camera.press("b", "]", "]")
    canvas = camera.browser.find_element(By.CSS_SELECTOR, ".pane canvas")
    chain = ActionChains(camera.browser)
    chain.move_to_element_with_offset(canvas, -180, 150).click_and_hold().move_by_offset(90, 20).move_by_offset(60, -30)
    chain.release().perform()
    camera.shoot("paint")
    camera.press("z")  # nothing unsaved is left behind
    camera.open(f"{url}#/new", "document.querySelector('.drop')")
    camera.browser.find_element(By.CSS_SELECTOR, ".drop input").send_keys(str(folder / "photographs" / "coffee.png"))
    camera.wait("document.querySelector('.climb .primary')")
    camera.browser.find_element(By.CSS_SELECTOR, ".climb .primary").click()
    camera.wait("document.querySelector('[data-layer=\"map:live\"]')")
    camera.shoot("climb")
    camera.browser.find_element(By.ID, "export").click()
    camera.shoot("export")
    return moves


def drawn(camera: Camera, url: str) -> None:
    """What there is to see where true masks are known."""
    listed = json.load(urllib.request.urlopen(f"{url}api/pictures?sort=iou"))["pictures"]
    several = [picture["n"] for picture in listed if picture["iou"] is not None and len(picture["labels"]) > 1]
    known = [json.load(urllib.request.urlopen(f"{url}api/pictures/{n}")) for n in several]
    mapped = [picture["id"] for picture in known if picture["stages"]]
    camera.picture(url, mapped[len(mapped) // 2])
    camera.slide("threshold", 0.6)
    camera.press("v")
    camera.shoot("truth")


def main() -> None:
    """Take them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drawn", type=Path, required=True, help="a run of advcam run with true masks")
    parser.add_argument("--out", type=Path, default=Path("docs/images"))
    arguments = parser.parse_args()
    camera = Camera(arguments.out)
    try:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            with studio(localized(folder)) as url:
                moves = photographs(camera, url, folder)
        with studio(arguments.drawn) as url:
            drawn(camera, url)
    finally:
        camera.browser.quit()
    print(json.dumps({"bytes": camera.bytes, "milliseconds": {"median": float(np.median(moves)), "most": max(moves)}}))


if __name__ == "__main__":
    main()
