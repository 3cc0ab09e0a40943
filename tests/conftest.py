"""Shared pictures: real photographs that scikit-image ships, small, and hostile files made on the spot."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import skimage.data
import torch
from hostile_files import UNUSABLE, USABLE
from PIL import Image

torch.set_num_threads(1)


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
