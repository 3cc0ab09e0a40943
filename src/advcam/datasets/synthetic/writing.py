"""Files of generated data sets: JPEGs, index PNGs and texts, each whole or absent."""

import io
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from advcam.colours import voc_palette
from advcam.errors import RunError, one_line

_QUALITY = 95


def write_jpeg(path: Path, picture: Image.Image) -> None:
    """Write a picture as JPEG of quality 95; its pixels deviate a little from those of the scene.

    Raises:
        RunError: The file cannot be written.
    """
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=_QUALITY)
    write_bytes(path, buffer.getvalue())


def write_index_png(path: Path, numbers: NDArray[np.integer], palette: bool = True) -> None:
    """Write numbers (H, W) from 0 to 255 as PNG, with the VOC colours as palette or as grey levels.

    Raises:
        RunError: The file cannot be written.
    """
    image = Image.fromarray(numbers.astype(np.uint8))
    if palette:
        image.putpalette(voc_palette().tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG")
    write_bytes(path, buffer.getvalue())


def write_lines(path: Path, lines: list[str]) -> None:
    """Write a text file in UTF-8, each line with its end.

    Raises:
        RunError: The file cannot be written.
    """
    write_bytes(path, "".join(f"{line}\n" for line in lines).encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Write under a temporary name and rename; parent folders are created.

    `advcam.store` does the same for runs, but the data sets may not know that room.

    Raises:
        RunError: The file cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        raise RunError(
            f"cannot write {path} ({error.strerror or one_line(error)}); make room, change the permissions or choose "
            "another folder"
        ) from error
    finally:
        with suppress(OSError):
            partial.unlink()
