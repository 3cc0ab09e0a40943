"""Odd picture files that users have: those that must be read, and those that must be named."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image


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
