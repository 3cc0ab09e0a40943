"""Masks as annotation tools have them: labelled regions, painted one over the other."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from advcam.export.annotated import AnnotatedPicture, Classes, ImportedMask
from advcam.export.numbering import BACKGROUND
from advcam.types import IGNORE, Mask


@dataclass(frozen=True, eq=False)
class Region:
    """Pixels of a class, those of one object where objects are known.

    Args:
        number: Of the class; 255 for undecided pixels.
        x: Column of the picture where `pixels` begins.
        y: Its row.
        pixels: (h, w), the smallest rectangle that holds them.
        score: Of the object, in [0, 1]; None for pixels that belong to none.
    """

    number: int
    x: int
    y: int
    pixels: NDArray[np.bool_]
    score: float | None = None


@dataclass(frozen=True, eq=False)
class Shape:
    """Pixels with a label, as a tool gives them back.

    Args:
        label: Name of a class.
        pixels: (h, w).
        x: Column of the picture where `pixels` begins; they lie inside of it.
        y: Its row.
    """

    label: str
    pixels: NDArray[np.bool_]
    x: int = 0
    y: int = 0


def regions(picture: AnnotatedPicture) -> Iterator[Region]:
    """All of a mask: undecided pixels, then class by class its objects and what belongs to none of them.

    An object has only the pixels that the mask gives to its class. Painted in this order the regions are the mask.
    """
    mask = picture.mask
    numbers = np.flatnonzero(np.bincount(mask.ravel())).tolist()
    if IGNORE in numbers:
        yield _region(IGNORE, mask == IGNORE)
    for number in numbers:
        if number in (0, IGNORE):
            continue
        left = mask == number
        of_class = left.copy()
        for one in picture.objects:
            if one.class_id + 1 == number:
                left &= ~one.mask
                pixels = one.mask & of_class
                if pixels.any():
                    yield _region(number, pixels, one.score)
        if left.any():
            yield _region(number, left)


def paint(name: str, size: tuple[int, int], shapes: Iterable[Shape], classes: Classes, undecided: str) -> ImportedMask:
    """The mask of a picture from what a tool gives back; of shapes that overlap the later one counts.

    Args:
        name: Of the picture in the files.
        size: (H, W) of the picture.
        shapes: In the order in which they lie over each other.
        classes: Of the run; their numbers are kept, other labels get new ones. "background" is 0 where it is no class.
        undecided: Label of undecided pixels, 255.
    """
    numbers = (
        dict.fromkeys(BACKGROUND, 0)
        | {label.strip(): number for number, label in classes.items()}
        | {undecided: IGNORE}
    )
    free = max((IGNORE, *classes)) + 1
    names: dict[int, str] = {}
    mask: Mask = np.zeros(size, dtype=np.int32)
    for shape in shapes:
        number = numbers.setdefault(shape.label.strip(), free)  # tools trim labels
        free += number == free
        if number not in (0, IGNORE):
            names[number] = shape.label
        height, width = shape.pixels.shape
        mask[shape.y : shape.y + height, shape.x : shape.x + width][shape.pixels] = number
    return ImportedMask(name, mask, names)


def _region(number: int, pixels: NDArray[np.bool_], score: float | None = None) -> Region:
    x, y, width, height = cv2.boundingRect(pixels.view(np.uint8))
    return Region(number, x, y, pixels[y : y + height, x : x + width], score)
