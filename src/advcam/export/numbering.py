"""Numbers of masks: for the classes that a file names, and for what its pixels hold."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from advcam.errors import DatasetError
from advcam.export.annotated import Classes
from advcam.export.labels import UNDECIDED
from advcam.types import IGNORE, Mask

#: Names of the background, where no class has them.
BACKGROUND = ("background", "_background_")


def number_names(names: Iterable[str], classes: Classes) -> dict[str, int]:
    """A number for each name.

    Args:
        names: Of the classes of a file.
        classes: Of the run that the masks go back to.

    Returns:
        Those of the run, for its classes; 0 for the background, 255 for "undecided", where no class is named so;
        numbers above all these for the others.
    """
    special = dict.fromkeys(BACKGROUND, 0) | {UNDECIDED: IGNORE}
    known = special | {name.strip(): number for number, name in classes.items()}
    free = max((IGNORE, *classes)) + 1
    numbers: dict[str, int] = {}
    for name in names:
        if name not in numbers:
            numbers[name] = known.get(name.strip(), free)  # tools trim names
            free += numbers[name] == free
    return numbers


def names_by_number(numbers: Mapping[str, int]) -> Classes:
    """The names of what `number_names` gave a number to, but for background and undecided."""
    return {number: name for name, number in numbers.items() if number not in (0, IGNORE)}


def renumber(pixels: NDArray[np.integer], table: Mapping[int, int], path: Path, noun: str, source: str) -> Mask:
    """A mask in other numbers.

    Args:
        pixels: (H, W).
        table: Number in the mask by what a pixel holds.
        path: Of the picture.
        noun: What a pixel holds, with a place for it: "segment {}".
        source: Where the table stands.

    Raises:
        DatasetError: A pixel is not in the table.
    """
    known = np.array(sorted(table), dtype=np.int32)
    places = np.minimum(np.searchsorted(known, pixels), len(known) - 1)
    foreign = known[places] != pixels
    if foreign.any():
        raise DatasetError(
            f"{path} holds the {noun.format(int(pixels[foreign][0]))}, which stands for nothing in {source}; mend one "
            "of the two"
        )
    mask: Mask = np.array([table[value] for value in known.tolist()], dtype=np.int32)[places]
    return mask
