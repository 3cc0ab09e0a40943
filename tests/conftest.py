"""Shared pictures: real photographs that scikit-image ships, small, and hostile files made on the spot.

And the rule for the tests that need a browser.
"""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import skimage.data
import torch
from hostile_files import UNUSABLE, USABLE
from PIL import Image

CHROMIUM = Path("/usr/bin/chromium")

torch.set_num_threads(1)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "browser: needs the Debian packages chromium and chromium-driver; selected where chromium is "
        "installed or ADVCAM_BROWSER_TESTS=1 is set",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if CHROMIUM.exists() or os.environ.get("ADVCAM_BROWSER_TESTS") == "1":
        return
    deselected = [item for item in items if item.get_closest_marker("browser")]
    config.hook.pytest_deselected(items=deselected)
    if deselected:  # pytest-xdist does not print how many were deselected, but it does print warnings
        reason = f"{CHROMIUM} is missing: {len(deselected)} browser tests are not run"
        warnings.warn(pytest.PytestWarning(reason), stacklevel=1)
    items[:] = [item for item in items if item not in deselected]


@pytest.fixture(scope="session", autouse=True)
def no_bfloat16() -> Iterator[None]:
    """Precision "auto" is the network's own, so that a test means the same on every machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("advcam.attribution.precision.has_bfloat16", lambda _device: False)
        yield


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder with two real photographs of 180 pixels, and labels.csv."""
    folder = tmp_path / "photographs"
    folder.mkdir()
    for name in ("chelsea", "coffee"):
        picture = Image.fromarray(getattr(skimage.data, name)())
        picture.thumbnail((180, 180))
        picture.save(folder / f"{name}.png")
    (folder / "labels.csv").write_text("image,labels\nchelsea.png,Egyptian cat\ncoffee.png,espresso;cup\n")
    return folder


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with every usable oddity and every unusable file."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name, make in (USABLE | UNUSABLE).items():
        make(folder / name)
    return folder
