"""Masks as PNG: one class number a pixel, shown in the PASCAL VOC colours where 8 bits suffice."""

from io import BytesIO
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle

from advcam.colours import voc_palette
from advcam.errors import PictureError, RunError, SettingError, one_line
from advcam.store.files import replacing
from advcam.store.places import Place
from advcam.untrusted import MOST_PIXELS

_MAX_CLASS = 65535


def write_mask(path: Place, mask: NDArray[np.integer]) -> None:
    """Write a mask as palette PNG, or as 16-bit greyscale PNG if a value exceeds 255.

    Args:
        path: Of the PNG; its parent folders are created.
        mask: (H, W), values 0 to 65535.

    Raises:
        SettingError: The mask is not an (H, W) array of integers in that range.
        RunError: The file cannot be written.
    """
    content = mask_bytes(mask)
    with replacing(path) as file:
        file.write(content)


def mask_bytes(mask: NDArray[np.integer]) -> bytes:
    """The PNG that `write_mask` writes.

    Raises:
        SettingError: As `write_mask`.
    """
    if mask.ndim != 2 or not mask.size or not np.issubdtype(mask.dtype, np.integer):
        raise SettingError(f"a mask is an (H, W) array of integers; got shape {mask.shape} of {mask.dtype}")
    low, high = int(mask.min()), int(mask.max())
    if low < 0 or high > _MAX_CLASS:
        raise SettingError(f"a mask holds class numbers from 0 to {_MAX_CLASS}; got {low} to {high}")
    if high <= 255:
        image = Image.fromarray(mask.astype(np.uint8))
        image.putpalette(voc_palette().tobytes())
    else:
        image = Image.fromarray(mask.astype(np.uint16))
    content = BytesIO()
    image.save(content, format="PNG")
    return content.getvalue()


def run_lengths(mask: NDArray[np.bool_]) -> dict[str, object]:
    """A binary mask (H, W) as COCO writes it in JSON: `size` and compressed `counts`."""
    encoded = rle.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": encoded["size"], "counts": encoded["counts"].decode("ascii")}


def read_mask(path: Place) -> NDArray[np.int32]:
    """Read a mask: the class numbers of a palette or greyscale (8 or 16 bits) PNG.

    Returns:
        (H, W), values 0 to 65535.

    Raises:
        PictureError: The file cannot be read, or is a picture of colours.
        RunError: It lies in a store that cannot be reached.
    """
    try:
        with path.open("rb") as file:
            return parse_mask(file, str(path))
    except RunError:  # of a store that is not reached
        raise
    except OSError as error:
        raise _unreadable(str(path), error) from error


def parse_mask(file: BinaryIO, name: str) -> NDArray[np.int32]:
    """As `read_mask`, of an open file.

    Args:
        file: At its beginning.
        name: For the message.

    Raises:
        PictureError: It cannot be read, or is a picture of colours.
    """
    try:
        with Image.open(file, formats=["PNG"]) as image:
            if image.width * image.height > MOST_PIXELS:
                raise ValueError(f"more than {MOST_PIXELS:,} pixels")
            mode, pixels = image.mode, np.asarray(image)
    except RunError:  # of a store that is not reached
        raise
    except Exception as error:  # decoders raise nearly every type on damaged data
        raise _unreadable(name, error) from error
    if mode not in ("1", "L", "P") and not mode.startswith("I"):
        raise PictureError(
            f"{name} is a picture of mode {mode}; masks hold class numbers, in a palette or greyscale PNG"
        )
    return pixels.astype(np.int32)


def _unreadable(name: str, error: Exception) -> PictureError:
    return PictureError(f"{name} cannot be read as a mask ({one_line(error)}); write it again")
