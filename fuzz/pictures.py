"""Pictures of every format, masks, outlines and score maps."""

import io
import random
from pathlib import Path

import numpy as np
from PIL import Image, features

from advcam.datasets.pictures import read_picture
from advcam.datasets.sizes import stored_size
from advcam.datasets.truth import read_class_mask
from advcam.pipeline.evaluation.predictions import _read_maps
from advcam.store.masks import read_mask, write_mask
from advcam.store.reading import read_index_png
from fuzz.mutation import of_bytes, of_png
from fuzz.target import Target, dataset_files, dataset_reader, file_reader

_OUTLINE = "segmentations/002.Laysan_Albatross/Laysan_Albatross_0001.png"
_TRIMAP = "annotations/trimaps/american_bulldog_1.png"
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "WEBP", "JPEG2000", "AVIF")


def picture_files(_folder: Path) -> list[bytes]:
    """A small picture in every format and mode that Pillow writes here."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 24, 4), dtype=np.uint8)
    pictures = [Image.fromarray(noise[..., :3]), Image.fromarray(noise[..., 0]), Image.fromarray(noise)]
    deep = Image.fromarray(noise[..., 0].astype(np.uint16) * 257)
    written = [_written(picture, kind) for kind in _FORMATS for picture in [*pictures, deep, pictures[0].convert("P")]]
    return [content for content in written if content]


def _written(picture: Image.Image, kind: str) -> bytes:
    if kind == "AVIF" and not features.check("avif"):
        return b""
    exif, buffer = Image.Exif(), io.BytesIO()
    exif[0x0112] = 6
    try:
        picture.save(buffer, kind, **({"exif": exif} if kind in ("JPEG", "PNG", "TIFF", "WEBP") else {}))
    except (OSError, ValueError):  # a mode that the format has not
        return b""
    return buffer.getvalue()


def _masks(folder: Path) -> list[bytes]:
    """A palette PNG, one of 16 bits, and one of a bit."""
    small = np.arange(20, dtype=np.int32).reshape(4, 5)
    write_mask(folder / "a.png", small)
    write_mask(folder / "b.png", small * 1000)
    buffer = io.BytesIO()
    Image.fromarray(small > 9).save(buffer, "PNG")
    return [(folder / "a.png").read_bytes(), (folder / "b.png").read_bytes(), buffer.getvalue()]


def _maps(_folder: Path) -> list[bytes]:
    found = []
    for array in (np.zeros((2, 3, 4), dtype=np.float32), np.ones((3, 4)), np.zeros((1, 2, 2), dtype=np.uint8)):
        buffer = io.BytesIO()
        np.save(buffer, array)
        found.append(buffer.getvalue())
    return found


def _read_mask(path: Path) -> None:
    for read in (read_index_png, read_mask):
        assert read(path).dtype == np.int32  # noqa: S101, a finding where it fails


def _of_npy(content: bytes, draw: random.Random) -> bytes:
    """Change the words of the header, or bytes."""
    words = (
        (b"(2, 3, 4)", b"(9**9, 3)"),
        (b"(2, 3, 4)", b"(999999999, 99)"),
        (b"<f4", b"|O"),
        (b"False", b"True"),
        (b"<f4", b"<c8"),
    )
    before, after = draw.choice(words)
    changed = content.replace(before, after.ljust(len(before)))
    return changed if changed != content and draw.random() < 0.5 else of_bytes(content, draw)


def of_picture(content: bytes, draw: random.Random) -> bytes:
    """Change a chunk of a PNG, bytes of the others."""
    return of_png(content, draw) if content.startswith(b"\x89PNG") else of_bytes(content, draw)


TARGETS = (
    Target("picture", file_reader("picture", read_picture), picture_files, of_picture),
    Target("picture-size", file_reader("picture", stored_size), picture_files, of_picture),
    Target("mask", file_reader("mask.png", _read_mask), _masks, of_png),
    Target("class-mask", file_reader("mask.png", lambda path: read_class_mask(path, 20)), _masks, of_png),
    Target("outline", dataset_reader("cub200", _OUTLINE), dataset_files("cub200", _OUTLINE), of_png),
    Target("trimap", dataset_reader("pets", _TRIMAP), dataset_files("pets", _TRIMAP), of_png),
    Target("score-map", file_reader("map.npy", _read_maps), _maps, _of_npy),
)
