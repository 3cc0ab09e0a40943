"""Sizes of pictures from their headers, without decoding a pixel."""

from pathlib import Path

from PIL import Image

from advcam.datasets.pictures import FORMATS
from advcam.errors import DatasetError, one_line


def stored_size(path: Path) -> tuple[int, int]:
    """(width, height) in pixels as stored; an EXIF orientation is not applied, since annotations do not know it.

    Raises:
        DatasetError: The picture is missing or its header is damaged.
    """
    Image.init()
    try:
        with Image.open(path, formats=[name for name in FORMATS if name in Image.OPEN]) as image:
            return image.size
    except Exception as error:  # parsers raise nearly every type on damaged headers
        raise DatasetError(f"the size of {path} cannot be read ({one_line(error)}); restore the picture") from error
