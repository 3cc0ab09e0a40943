"""Masks of class numbers as several layouts store them: checked against the classes of the data set."""

from collections.abc import Set
from pathlib import Path, PurePosixPath

import numpy as np

from advcam.errors import DatasetError
from advcam.store.reading import inside, read_index_png
from advcam.types import IGNORE, Mask


def read_class_mask(path: Path, classes: int) -> Mask:
    """A mask of class numbers.

    Args:
        path: A palette or greyscale PNG.
        classes: Number of classes, background left out.

    Returns:
        (H, W): 0 background, class number + 1, 255 ignore.

    Raises:
        DatasetError: The file cannot be read, or holds another number.
    """
    mask = read_index_png(path)
    foreign = foreign_number(mask, {*range(classes + 1), IGNORE})
    if foreign is not None:
        raise DatasetError(
            f"{path} holds the number {foreign}; a mask of {classes} classes holds 0 to {classes} and {IGNORE}; "
            "correct the mask"
        )
    return mask


def foreign_number(mask: Mask, known: Set[int]) -> int | None:
    """The smallest number of a mask (H, W), values 0 to 65535, that is not among the known ones; None if all are."""
    present = np.flatnonzero(np.bincount(mask.ravel()))  # np.unique would sort the pixels
    return next((int(number) for number in present if int(number) not in known), None)


def mirrored_mask(root: Path, name: str, classes: int) -> Mask | None:
    """The mask of the picture ROOT/a/b.jpg lies at ROOT/masks/a/b.png; None where there is no such file.

    Raises:
        DatasetError: As `read_class_mask`, or the name leads out of the root.
    """
    inside(root, name)
    path = root / "masks" / PurePosixPath(name).with_suffix(".png")
    return read_class_mask(path, classes) if path.is_file() else None
