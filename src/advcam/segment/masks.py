"""What a mask has to be to train with its picture, and how it is said when it is not."""

from collections.abc import Sequence

import numpy as np

from advcam.errors import PictureError
from advcam.types import IGNORE, Mask, Sample

_NAMED = 5


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
    if wrong := wrong_size(mask, size):
        raise PictureError(f"{sample.id}: {wrong}; make the mask anew from the picture as it is shown")
    if wrong := wrong_values(mask, num_classes):
        raise PictureError(f"{sample.id}: {wrong}; name all classes, or make the mask anew")


def wrong_size(mask: Mask, size: tuple[int, int]) -> str:
    """What is wrong with the shape of a mask for a picture of a width and height; empty where nothing is."""
    if mask.shape == size[::-1]:
        return ""
    got = " x ".join(map(str, mask.shape[::-1]))
    return f"the mask has {got} pixels, the picture {size[0]} x {size[1]}"


def wrong_values(mask: Mask, num_classes: int) -> str:
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
