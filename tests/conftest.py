"""Shared pictures: real photographs that scikit-image ships, small, and hostile files made on the spot."""

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
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


def _noise(width: int, height: int, channels: int = 3) -> Image.Image:
    shape = (height, width) if channels == 1 else (height, width, channels)
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8))


def _truncated(path: Path) -> None:
    _noise(120, 90).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:700])


def _bomb(path: Path) -> None:
    """A PNG whose header promises 60,000 x 60,000 pixels."""
    _noise(20, 20).save(path, "PNG")
    data = bytearray(path.read_bytes())
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    path.write_bytes(bytes(data))


def _rotated(path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    _noise(120, 60).save(path, "JPEG", exif=exif)


def _animated(path: Path) -> None:
    _noise(60, 40).save(path, "GIF", save_all=True, append_images=[_noise(60, 40).rotate(90)])


UNUSABLE: dict[str, Callable[[Path], object]] = {
    "truncated.jpg": _truncated,
    "empty.jpg": lambda path: path.write_bytes(b""),
    "text.jpg": lambda path: path.write_text("this is no picture"),
    "one_pixel.png": lambda path: _noise(1, 1).save(path),
    "sliver.png": lambda path: _noise(20_000, 20).save(path),
    "bomb.png": _bomb,
}
USABLE: dict[str, Callable[[Path], object]] = {
    "grey.png": lambda path: _noise(70, 50, 1).save(path),
    "alpha.png": lambda path: _noise(70, 50, 4).save(path),
    "palette.png": lambda path: _noise(70, 50).convert("P").save(path),
    "cmyk.jpg": lambda path: _noise(70, 50).convert("CMYK").save(path),
    "deep.png": lambda path: Image.fromarray(np.full((50, 70), 40_000, dtype=np.uint16)).save(path),
    "rotated.jpg": _rotated,
    "animated.gif": _animated,
    "naïve name, 'quoted'.png": lambda path: _noise(70, 50).save(path),
}


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder with every usable oddity and every unusable file."""
    folder = tmp_path / "hostile"
    folder.mkdir()
    for name, make in (USABLE | UNUSABLE).items():
        make(folder / name)
    return folder
