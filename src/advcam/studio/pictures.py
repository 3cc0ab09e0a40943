"""Pictures as JPEG for the page: as large as it shows them, with or without their mask, kept in memory for a while."""

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from advcam.colours import voc_palette
from advcam.datasets.pictures import read_picture
from advcam.errors import PictureError, one_line
from advcam.pipeline.album import Album
from advcam.types import IGNORE, Mask

#: Pixels of the longer side of a thumbnail.
THUMBNAIL = 280
#: Bytes of JPEG files that are kept in memory.
_MOST_BYTES = 128 * 2**20
_OPACITY = 0.55
#: EXIF orientations that turn a picture by a quarter (Exif 3.0, 4.6.5, tag 0x0112).
_SIDEWAYS = (5, 6, 7, 8)
_UNDECIDED = (255, 255, 255)
_LIGHT, _DARK = (255, 255, 255), (24, 24, 24)


class Renderer:
    """Makes the pictures that pages ask for, and keeps what was asked for last.

    Args:
        most_bytes: Of results that are kept.
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._kept = ByteCache(most_bytes)

    def picture(self, album: Album, id_: str, side: int) -> tuple[str, Callable[[], bytes]]:
        """A picture.

        Args:
            album: Of the picture.
            id_: The picture.
            side: Pixels of its longer side at most.

        Returns:
            An ETag, another one when the file has changed, and what makes the JPEG.

        Raises:
            PictureError: (When it is made.) It is gone or damaged.
        """
        path = album.sample(id_).path
        key = _digest(id_, _state(path), side)
        return key, lambda: self._kept.get(key, lambda: jpeg(shrunk(read_picture(path, side), side)))

    def thumbnail(self, album: Album, id_: str, set_: str) -> tuple[str, Callable[[], bytes]]:
        """A small picture with a mask over it.

        Args:
            album: Of the picture.
            id_: The picture.
            set_: "final", "truth", "none", or one of the album's sets of masks.

        Returns:
            As `picture`; the ETag changes with the mask too.
        """
        path = album.sample(id_).path
        key = _digest(id_, _state(path), set_, album.fingerprint(id_))

        def make() -> bytes:
            small = shrunk(read_picture(path, THUMBNAIL), THUMBNAIL)
            mask = None if set_ == "none" else mask_of(album, set_, id_)
            return jpeg(small if mask is None else tinted(small, mask))

        return key, lambda: self._kept.get(key, make)


class ByteCache:
    """What was used last, so many bytes of it.

    Args:
        most: Bytes.
    """

    def __init__(self, most: int) -> None:
        self.most, self.size = most, 0
        self._kept: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str, make: Callable[[], bytes]) -> bytes:
        """What is kept under a key, made where nothing is."""
        with self._lock:
            found = self._kept.get(key)
            if found is not None:
                self._kept.move_to_end(key)
                return found
        made = make()
        with self._lock:
            if key not in self._kept and len(made) <= self.most:
                self._kept[key] = made
                self.size += len(made)
            while self.size > self.most:
                self.size -= len(self._kept.popitem(last=False)[1])
        return made


def mask_of(album: Album, set_: str, id_: str) -> Mask | None:
    """A mask by the name of its set: "final", "corrected", "truth", or one of the run's.

    Raises:
        AdvcamError: It is damaged.
    """
    if set_ == "final":
        return album.final_mask(id_)
    if set_ == "corrected":
        return album.corrections.mask(id_)
    return album.truth(id_) if set_ == "truth" else album.mask(set_, id_)


def tinted(picture: Image.Image, mask: Mask) -> Image.Image:
    """The picture in the colours of the classes of a mask (H, W), which has any size; undecided parts are pale.

    Classes end in a light line beside a dark one: whatever colour the picture has there, one of the two is seen.
    """
    numbers = np.asarray(cv2.resize(mask, picture.size, interpolation=cv2.INTER_NEAREST), np.int32)
    pixels = np.asarray(picture)
    colours = class_colours(numbers)
    colours[numbers == IGNORE] = _UNDECIDED
    over = cv2.addWeighted(pixels, 1 - _OPACITY, colours, _OPACITY, 0)
    found = np.where(numbers[..., None] > 0, over, pixels)
    outer = _edge(numbers, 3)
    found[_edge(numbers, 5) & ~outer], found[outer] = _DARK, _LIGHT
    return Image.fromarray(found)


def _edge(numbers: NDArray[np.int32], reach: int) -> NDArray[np.bool_]:
    """Pixels of a class with pixels of another kind in a square of so many pixels around them."""
    square, values = np.ones((reach, reach), np.uint8), numbers.astype(np.uint16)
    differs = cv2.dilate(values, square) != cv2.erode(values, square)
    edge: NDArray[np.bool_] = np.asarray(differs) & (numbers > 0) & (numbers != IGNORE)
    return edge


def class_colours(numbers: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Colours (..., 3), RGB, of class numbers: those of PASCAL VOC, from the first on again where they end."""
    colours: NDArray[np.uint8] = voc_palette()[np.where(numbers > 0, (numbers - 1) % 254 + 1, 0)]
    return colours


def seen_size(path: Path) -> tuple[int, int]:
    """(width, height) of a picture as a person sees it, by its header.

    Raises:
        PictureError: It is gone or damaged.
    """
    try:
        with Image.open(path) as picture:
            sideways = picture.getexif().get(ExifTags.Base.Orientation, 1) in _SIDEWAYS
            return picture.size[::-1] if sideways else picture.size
    except Exception as error:  # parsers raise nearly every type on damaged headers
        raise PictureError(f"the size of {path} cannot be read ({one_line(error)}); put the picture back") from error


def shrunk(picture: Image.Image, side: int) -> Image.Image:
    """The picture, its longer side at most so many pixels; it is never enlarged."""
    smaller = picture.copy() if max(picture.size) <= side else picture
    smaller.thumbnail((side, side), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return smaller


def jpeg(picture: Image.Image) -> bytes:
    """The picture as a JPEG file."""
    buffer = io.BytesIO()
    picture.save(buffer, format="JPEG", quality=85)
    return buffer.getvalue()


def _state(path: Path) -> str:
    """Changes with a file; raises `PictureError` where it is gone."""
    with suppress(OSError):
        found = path.stat()
        return f"{found.st_size} {found.st_mtime_ns}"
    raise PictureError(f"{path} is not there any more; put the picture back")


def _digest(*facts: object) -> str:
    return hashlib.sha256(repr(facts).encode("utf-8", "surrogatepass")).hexdigest()[:24]
