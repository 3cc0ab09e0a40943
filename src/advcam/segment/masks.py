"""What a mask has to be to train with its picture, and how it is said when it is not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from advcam.datasets.pictures import FORMATS
from advcam.errors import AdvcamError, PictureError, one_line
from advcam.types import IGNORE, Mask, Sample

_NAMED = 5
#: EXIF orientations that exchange width and height.
_ORIENTATION, _ON_ITS_SIDE = 0x0112, (5, 6, 7, 8)


@dataclass(frozen=True)
class MaskProblem:
    """What is wrong with one mask.

    Args:
        kind: In general, and what to do.
        case: The picture, and how.
    """

    kind: str
    case: str


def check_mask(sample: Sample, size: tuple[int, int], mask: Mask, num_classes: int) -> None:
    """Refuse a mask that does not fit its picture.

    Args:
        sample: The picture.
        size: Its width and height as it is shown.
        mask: (H, W): 0 background, class number + 1, or 255.
        num_classes: C, background counted.

    Raises:
        PictureError: It is of another size, or holds values out of range.
    """
    if wrong := _wrong_size(mask, size):
        raise PictureError(f"{sample.id}: {wrong}; make the mask anew from the picture as it is shown")
    if wrong := _wrong_values(mask, num_classes):
        raise PictureError(f"{sample.id}: {wrong}; name all classes, or make the mask anew")


def count_pixels(
    sample: Sample, mask_of: Callable[[Sample], Mask], num_classes: int
) -> NDArray[np.int64] | MaskProblem | PictureError:
    """Known pixels of each class in one mask, int64, (C,); or what is wrong with it, or with its picture.

    The picture is not decoded.
    """
    try:
        size = _shown_size(sample)
    except PictureError as error:
        return error
    try:
        mask = mask_of(sample)
    except AdvcamError as error:
        return MaskProblem("cannot be read (write them again, or leave their pictures out)", one_line(error))
    if wrong := _wrong_size(mask, size):
        return MaskProblem("of another size (make them from the pictures as they are shown)", f"{sample.id} ({wrong})")
    if wrong := _wrong_values(mask, num_classes):
        kind = "with values of no class (name all classes, or make them anew)"
        return MaskProblem(kind, f"{sample.id} ({wrong})")
    return np.bincount(mask.ravel(), minlength=num_classes)[:num_classes].astype(np.int64)


def _wrong_size(mask: Mask, size: tuple[int, int]) -> str:
    """What is wrong with the shape of a mask for a picture of a width and height; empty where nothing is."""
    if mask.shape == size[::-1]:
        return ""
    got = " x ".join(map(str, mask.shape[::-1]))
    return f"the mask has {got} pixels, the picture {size[0]} x {size[1]}"


def _wrong_values(mask: Mask, num_classes: int) -> str:
    """What is wrong with the values of a mask for C classes; empty where nothing is."""
    outside = (mask < 0) | ((mask >= num_classes) & (mask != IGNORE))
    if not outside.any():
        return ""
    values = first_of([str(value) for value in np.unique(mask[outside])])
    return f"the mask holds {values}, but values are 0 (background) to {num_classes - 1}, or {IGNORE} (ignore)"


def first_of(cases: Sequence[str]) -> str:
    """The first few of a list, and how many more there are."""
    more = len(cases) - _NAMED
    return ", ".join(cases[:_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _shown_size(sample: Sample) -> tuple[int, int]:
    """Width and height of a picture by its header, after its EXIF orientation.

    Raises:
        PictureError: There is no such picture, or its header is damaged.
    """
    Image.init()
    try:
        with Image.open(sample.path, formats=[name for name in FORMATS if name in Image.OPEN]) as picture:
            width, height = picture.size
            turned = picture.getexif().get(_ORIENTATION) in _ON_ITS_SIDE
    except Exception as error:  # parsers raise nearly every type on damaged headers
        raise PictureError(f"{sample.id}: the picture cannot be read ({one_line(error)})") from error
    return (height, width) if turned else (width, height)
