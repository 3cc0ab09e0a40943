"""The classes of a run's masks: their numbers, their names, and how the numbers of others are turned into them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np

from advcam.errors import RunError, one_line
from advcam.store.class_file import read_class_file
from advcam.types import IGNORE, Mask


@dataclass(frozen=True)
class ClassTable:
    """The classes of masks.

    Args:
        names: Name of each class by its number in the masks, ascending.
        numbers: Number of each output of the classifier that has one.
    """

    names: Mapping[int, str] = field(default_factory=dict)
    numbers: Mapping[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, class_names: Sequence[str]) -> Self:
        """Classes in their order, numbered from 1; 255 is left out."""
        numbers = {class_id: class_id + 1 + (class_id + 1 >= IGNORE) for class_id in range(len(class_names))}
        return cls({number: class_names[class_id] for class_id, number in numbers.items()}, numbers)

    @classmethod
    def read(cls, path: Path) -> Self:
        """The classes of `classes.json`.

        Raises:
            RunError: It is damaged.
        """
        try:
            entries = sorted(read_class_file(path), key=lambda entry: entry.number)
        except (OSError, ValueError) as error:
            raise RunError(f"{path} is damaged ({one_line(error)}); run the command that made it again") from error
        return cls({e.number: e.name for e in entries}, {e.class_id: e.number for e in entries})

    @cached_property
    def _by_name(self) -> Mapping[str, int]:
        return {_folded(name): number for number, name in reversed(list(self.names.items()))}

    def number(self, name: str) -> int | None:
        """Number of a class by its name, upper and lower case alike, or by the number of its output."""
        found = self._by_name.get(_folded(name))
        return self.numbers.get(int(name)) if found is None and name.isdecimal() else found

    def renumbered(self, mask: Mask, classes: "ClassTable") -> Mask:
        """A mask in the numbers of other classes, in these; a class that is none of these becomes undecided."""
        if classes is self or classes.names == self.names:
            return mask
        return _mapped(mask, {number: self.number(name) for number, name in classes.names.items()})

    def translated(self, mask: Mask, class_names: Sequence[str]) -> Mask | None:
        """A mask of class number + 1 of a data set in these numbers; None where a class in it is none of these."""
        found = {number + 1: self.number(name) for number, name in enumerate(class_names)}
        shown = set(np.unique(mask).tolist()) - {0, IGNORE}
        return None if any(found.get(number) is None for number in shown) else _mapped(mask, found)


def _mapped(mask: Mask, numbers: Mapping[int, int | None]) -> Mask:
    values, places = np.unique(mask, return_inverse=True)
    kept = {0: 0, IGNORE: IGNORE}
    new = [kept.get(value, numbers.get(value)) for value in values.tolist()]
    table = np.array([IGNORE if number is None else number for number in new], dtype=np.int32)
    return table[places].reshape(mask.shape)


def _folded(name: str) -> str:
    return name.strip().casefold()
